#include "apps/gateway/training_model.hpp"

#include <utility>

#include "apps/gateway/checkpoint_search.hpp"
#include "config/deadlines.hpp"

namespace troupe::gateway {

training_model::training_model(cluster_link& link, model_record record)
    : link_(link), record_(std::move(record)) {}

void training_model::enqueue(task next) {
  queue_.push_back(std::move(next));
  if (is_busy_) return;
  is_busy_ = true;
  queue_.front()();
}

void training_model::finished() {
  queue_.pop_front();
  if (queue_.empty()) {
    is_busy_ = false;
  } else {
    boost::asio::post(link_.loop(), [self = shared_from_this()] { self->queue_.front()(); });
  }
}

void training_model::start(std::uint32_t ranks, std::function<void(result<run_info>)> then) {
  enqueue([self = shared_from_this(), ranks, then = std::move(then)] {
    create_run_request request;
    request.name = self->record_.run.value;
    request.model.directory = self->record_.directory;
    request.world_size = ranks;
    const auto& manager = self->link_.link()->manager();
    using taken_run = std::pair<run_info, actors::training_run_actor>;
    self->link_.ask_for_handle<run_info, actors::training_run_actor>(
        manager, deadlines::op, request, [self, then, manager](result<taken_run> run) {
          if (run || run.error().code != errc::already_exists) {
            return self->taken(std::move(run), then);
          }
          self->link_.ask_for_handle<run_info, actors::training_run_actor>(
              manager, deadlines::op, attach_run_request{self->record_.run},
              [self, then](result<taken_run> again) { self->taken(std::move(again), then); });
        });
  });
}

void training_model::taken(result<std::pair<run_info, actors::training_run_actor>> run,
                           const std::function<void(result<run_info>)>& then) {
  if (run) {
    session_ = std::make_shared<client::training_session>(link_.link(), run->first, run->second);
    then(run->first);
  } else {
    failure_ = run.error();
    then(fail(run.error()));
  }
  finished();
}

void training_model::run_op(op_body body, answer then) {
  if (failure_) {
    then(fail(*failure_));
    return finished();
  }
  const auto deliver = link_.into_loop<op_reply>(
      [self = shared_from_this(), then = std::move(then)](result<op_reply> reply) {
        then(std::move(reply));
        self->finished();
      });
  session_->submit({std::move(body), "", [deliver](std::uint64_t, const result<op_reply>& reply) {
                      deliver(reply);
                      return std::optional<client::submission>();
                    }});
}

void training_model::submit(op_body body, answer then) {
  enqueue([self = shared_from_this(), body = std::move(body), then = std::move(then)]() mutable {
    self->run_op(std::move(body), std::move(then));
  });
}

void training_model::load(const run_id& source, const std::string& name, optimizer_state optimizer,
                          answer then) {
  enqueue([self = shared_from_this(), source, name, optimizer, then = std::move(then)] {
    find_checkpoint(self->link_, source, checkpoint_kind::training, name,
                    [self, optimizer, then](result<checkpoint_record> found) {
                      if (found) return self->run_op(load_state_op{found->id, optimizer}, then);
                      then(fail(found.error()));
                      self->finished();
                    });
  });
}

void training_model::park(std::function<void(result<run_info>)> then) {
  enqueue([self = shared_from_this(), then = std::move(then)] {
    if (self->failure_) {
      then(fail(*self->failure_));
      return self->finished();
    }
    self->link_.ask<run_info>(self->session_->run(), deadlines::op,
                              park_run_request{self->record_.run},
                              [self, then](result<run_info> parked) {
                                then(std::move(parked));
                                self->finished();
                              });
  });
}

}  // namespace troupe::gateway
