#include "apps/gateway/training_model.hpp"

#include <utility>

#include "apps/gateway/names.hpp"
#include "config/deadlines.hpp"
#include "messages/wire/codec.hpp"

namespace troupe::gateway {
namespace {

/// A run that still takes its nodes, or a snapshot, cannot give them back yet.
constexpr std::chrono::milliseconds park_retry{50};
constexpr auto park_attempts_max =
    static_cast<std::uint32_t>(std::chrono::milliseconds(deadlines::capacity) / park_retry);

}  // namespace

training_model::training_model(cluster_link& link, model_record record)
    : link_(link), record_(std::move(record)), pause_(link.loop()) {}

void training_model::enqueue(task next) {
  queue_.push_back(std::move(next));
  if (is_busy_) return;
  is_busy_ = true;
  queue_.front()();
}

std::uint64_t training_model::promise_number() {
  const std::uint64_t ahead = num_submitted_ + num_promised_++;
  return next_number_ == 0 ? 0 : next_number_ + ahead;
}

void training_model::skip() {
  if (num_promised_ > 0) --num_promised_;
}

void training_model::enqueue_op(task next) {
  skip();
  ++num_submitted_;
  enqueue(std::move(next));
}

/// Whether a refused operation used up its number is not told.
void training_model::op_ended(const result<op_reply>& reply) {
  --num_submitted_;
  next_number_ = reply ? reply->seq_id + 1 : 0;
  finished();
}

void training_model::finished() {
  queue_.pop_front();
  if (queue_.empty()) {
    is_busy_ = false;
  } else {
    boost::asio::post(link_.loop(), [self = shared_from_this()] { self->queue_.front()(); });
  }
}

void training_model::start(std::uint32_t ranks) {
  enqueue([self = shared_from_this(), ranks] {
    create_run_request request;
    request.name = self->record_.run.value;
    request.model.directory = self->record_.directory;
    request.world_size = ranks;
    request.lora = self->record_.adapters();
    request.tenant = key_of(self->record_.model_id);
    using taken_run = std::pair<run_info, actors::training_run_actor>;
    self->link_.ask_manager_for<run_info, actors::training_run_actor>(
        deadlines::op, request, [self](result<taken_run> run) {
          if (run || run.error().code != errc::already_exists) return self->taken(std::move(run));
          self->link_.ask_manager_for<run_info, actors::training_run_actor>(
              deadlines::op, attach_run_request{self->record_.run},
              [self](result<taken_run> again) { self->taken(std::move(again)); });
        });
  });
}

void training_model::await_start(std::function<void(result<void>)> then) {
  enqueue([self = shared_from_this(), then = std::move(then)] {
    self->failure_ ? then(fail(*self->failure_)) : then({});
    self->finished();
  });
}

void training_model::taken(result<std::pair<run_info, actors::training_run_actor>> run) {
  if (run) {
    next_number_ = run->first.next_seq_id;
    session_ = client::training_session::start(link_.link(), run->first, run->second);
  } else {
    failure_ = run.error();
  }
  finished();
}

result<void> training_model::check(const op_body& body) const {
  if (failure_) return fail(*failure_);
  // A node drops what it cannot decode, and the client would wait for nothing.
  return wire::validate(op_request{record_.run, 1, 1, body, ""});
}

void training_model::run_op(op_body body, run_place place, answer then) {
  if (const auto ok = check(body); !ok) {
    then(fail(ok.error()));
    return op_ended(fail(ok.error()));
  }
  const auto deliver = link_.into_loop<op_reply>(
      [self = shared_from_this(), then = std::move(then)](result<op_reply> reply) {
        then(reply);
        self->op_ended(reply);
      });
  session_->submit({std::move(body), "",
                    [deliver](std::uint64_t, const result<op_reply>& reply) {
                      deliver(reply);
                      return std::optional<client::submission>();
                    },
                    place.run_seq, std::move(place.placed)});
}

void training_model::submit(op_body body, run_place place, answer then) {
  enqueue_op([self = shared_from_this(), body = std::move(body), place = std::move(place),
              then = std::move(then)]() mutable {
    self->run_op(std::move(body), std::move(place), std::move(then));
  });
}

void training_model::load(std::function<result<checkpoint_id>()> find, optimizer_state optimizer,
                          run_place place, answer then) {
  enqueue_op([self = shared_from_this(), find = std::move(find), optimizer,
              place = std::move(place), then = std::move(then)] {
    const auto found = find();
    if (found) return self->run_op(load_state_op{*found, optimizer}, place, then);
    then(fail(found.error()));
    self->op_ended(fail(found.error()));
  });
}

void training_model::park(std::function<void(result<run_info>)> then) {
  enqueue([self = shared_from_this(), then = std::move(then)] {
    if (self->failure_) {
      then(fail(*self->failure_));
      return self->finished();
    }
    self->ask_to_park(then, 1);
  });
}

void training_model::ask_to_park(const std::function<void(result<run_info>)>& then,
                                 std::uint32_t attempt) {
  link_.ask_once<run_info>(
      session_->run(), deadlines::op, park_run_request{record_.run},
      [self = shared_from_this(), then, attempt](result<run_info> parked) {
        const bool is_busy = !parked && parked.error().code == errc::busy;
        if (!is_busy || attempt >= park_attempts_max) {
          then(std::move(parked));
          return self->finished();
        }
        self->pause_.expires_after(park_retry);
        self->pause_.async_wait([self, then, attempt](boost::system::error_code problem) {
          if (!problem) self->ask_to_park(then, attempt + 1);
        });
      });
}

}  // namespace troupe::gateway
