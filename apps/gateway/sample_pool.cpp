#include "apps/gateway/sample_pool.hpp"

#include "apps/gateway/idle_nodes.hpp"
#include "apps/gateway/key_file.hpp"
#include "config/deadlines.hpp"
#include "config/limits.hpp"
#include "messages/wire/codec.hpp"

namespace troupe::gateway {
namespace {

constexpr std::chrono::milliseconds sync_retry{200};
/// A deployment may need to open a replica first.
constexpr auto sync_attempts_max =
    static_cast<std::uint32_t>(std::chrono::milliseconds(deadlines::shard_open) / sync_retry);

constexpr std::size_t id_digits = 16;

error cancelled() {
  return {errc::cancelled, "the request was cancelled", "", ""};
}

/// What one sampler decodes at once, and some more that take the places of those that end.
constexpr std::uint64_t window_sequences = limits::sampler_active_max + 64;

/// The most that a request can cost.
double num_tokens_of(const sample_request& request) {
  return static_cast<double>(request.prompt.size()) +
         static_cast<double>(request.num_samples) * request.params.max_tokens;
}

}  // namespace

sample_pool::sample_pool(cluster_link& link, std::string directory,
                         std::function<void(const sync_reply&)> synced)
    : link_(link),
      directory_(std::move(directory)),
      synced_(std::move(synced)),
      id_{"tinker-" + sha256_text(directory_).substr(0, id_digits)},
      pause_(link.loop()),
      queue_(window_sequences) {}

void sample_pool::sample(asker who, const checkpoint_id& weights, sample_request request,
                         answer then) {
  request.deployment = id_;
  // A node drops what it cannot decode, and the client would wait for nothing.
  if (const auto ok = wire::validate(request); !ok) return then(fail(ok.error()));
  const std::uint64_t number = ++next_job_;
  numbers_[who.request_id] = number;
  jobs_.emplace(number, job{std::move(who), weights.value, std::move(request), std::move(then)});
  if (weights.empty() || is_adapter_.contains(weights.value)) {
    add(number);
    return go_on();
  }
  auto& waiting = unknown_[weights.value];
  waiting.push_back(number);
  if (waiting.size() == 1) learn_kind(weights.value);
}

void sample_pool::learn_kind(const std::string& weights) {
  link_.ask_store<checkpoint_record>(
      deadlines::store, get_checkpoint_request{checkpoint_id{weights}},
      [self = shared_from_this(), weights](const result<checkpoint_record>& record) {
        const auto waiting = std::exchange(self->unknown_[weights], {});
        self->unknown_.erase(weights);
        if (self->is_adapter_.size() >= limits::checkpoint_list_max) self->is_adapter_.clear();
        if (record)
          self->is_adapter_[weights] = record->manifest.kind == checkpoint_kind::sampler_adapter;
        for (const std::uint64_t number : waiting) {
          if (record) {
            self->add(number);
          } else if (self->jobs_.contains(number)) {
            self->end(number, fail(record.error()));
          }
        }
        self->go_on();
      });
}

/// Its weights' kind is known: an adapter needs the base's own weights live, and names itself.
void sample_pool::add(std::uint64_t number) {
  const auto found = jobs_.find(number);
  if (found == jobs_.end()) return;
  job& open = found->second;
  if (!open.weights.empty() && is_adapter_.at(open.weights)) {
    open.request.adapter.value = std::exchange(open.weights, {});
  }
  queue_.add(open.who.key_id, {number, open.request.num_samples, num_tokens_of(open.request)});
  let_in();
}

void sample_pool::let_in() {
  for (const std::uint64_t number : queue_.next()) {
    job& entering = jobs_.at(number);
    entering.has_entered = true;
    rotation_.add(entering.weights, number);
  }
}

void sample_pool::end(std::uint64_t number, result<sample_reply> outcome) {
  auto node = jobs_.extract(number);
  numbers_.erase(node.mapped().who.request_id);
  queue_.ended(number);
  node.mapped().then(std::move(outcome));
}

bool sample_pool::cancel(const std::string& request_id) {
  const auto known = numbers_.find(request_id);
  if (known == numbers_.end()) return false;
  cancel(known->second);
  let_in();
  go_on();
  return true;
}

void sample_pool::cancel_session(const std::string& session_id) {
  std::vector<std::uint64_t> of_it;
  for (const auto& [number, open] : jobs_)
    if (open.who.session_id == session_id) of_it.push_back(number);
  for (const std::uint64_t number : of_it)
    cancel(number);
  let_in();
  go_on();
}

/// What waits here ends at once; what is decoded ends by the deployment's answer.
void sample_pool::cancel(std::uint64_t number) {
  job& open = jobs_.at(number);
  const std::uint64_t ticket = open.request.ticket;
  if (ticket != 0) {
    open.is_cancelled = true;
    return link_.ask_once<done>(*deployment_, deadlines::control,
                                cancel_sample_request{id_, ticket}, [](const result<done>&) {});
  }
  queue_.withdraw(open.who.key_id, number);
  rotation_.withdraw(number);
  end(number, fail(cancelled()));
}

void sample_pool::control_lost() {
  ++generation_;
  is_held_ = true;
  deployment_.reset();
  live_ = {};
  rotation_ = {};
  std::vector<std::uint64_t> given_up;
  for (auto& [number, open] : jobs_) {
    open.request.ticket = 0;
    if (open.is_cancelled) {
      given_up.push_back(number);
    } else if (open.has_entered) {
      rotation_.add(open.weights, number);
    }
  }
  for (const std::uint64_t number : given_up)
    end(number, fail(cancelled()));
}

void sample_pool::control_restored(const result<void>& outcome) {
  is_held_ = false;
  if (outcome) return go_on();
  rotation_ = {};
  queue_ = fair_queue(window_sequences);
  numbers_.clear();
  for (auto& [number, open] : std::exchange(jobs_, {}))
    open.then(fail(outcome.error()));
}

void sample_pool::go_on() {
  if (is_held_) return;
  const auto decision = rotation_.next();
  for (const std::uint64_t number : decision.start)
    start(number);
  if (decision.switch_to) switch_to(*decision.switch_to);
}

void sample_pool::start(std::uint64_t number) {
  job& open = jobs_.at(number);
  open.request.ticket = ++last_ticket_;
  link_.ask_once<sample_reply>(
      *deployment_, deadlines::sample, open.request,
      [self = shared_from_this(), number, at = generation_](result<sample_reply> reply) {
        // What a lost control node left open is asked again.
        if (at != self->generation_) return;
        self->end(number, std::move(reply));
        self->rotation_.ended();
        self->let_in();
        self->go_on();
      });
}

void sample_pool::switch_to(const std::string& weights) {
  if (deployment_) return sync(weights, 1);
  link_.ask_manager_for<deployment_info, handle>(
      deadlines::control, deployment_status_request{id_},
      [self = shared_from_this(), weights, at = generation_](found_deployment found) {
        if (at != self->generation_) return;
        const bool is_new = !found && found.error().code == errc::not_found;
        if (is_new) return self->create(weights);
        self->opened(weights, std::move(found));
      });
}

void sample_pool::create(const std::string& weights) {
  await_idle_nodes(link_, node_role::sampler, node_share::whole, 1,
                   [self = shared_from_this(), weights, at = generation_](result<void> idle) {
                     if (at != self->generation_) return;
                     if (!idle) return self->switch_ended(weights, idle);
                     self->create_now(weights);
                   });
}

void sample_pool::create_now(const std::string& weights) {
  link_.ask_manager_for<deployment_info, handle>(
      deadlines::control, create_deployment_request{id_.value, {directory_}},
      [self = shared_from_this(), weights, at = generation_](found_deployment made) {
        if (at != self->generation_) return;
        // An answer may have been lost: then it was made by the earlier attempt.
        const bool is_there = !made && made.error().code == errc::already_exists;
        if (is_there) return self->switch_to(weights);
        self->opened(weights, std::move(made));
      });
}

void sample_pool::opened(const std::string& weights, found_deployment found) {
  if (!found) return switch_ended(weights, fail(found.error()));
  deployment_ = std::move(found->second);
  live_ = found->first.checkpoint;
  sync(weights, 1);
}

void sample_pool::sync(const std::string& weights, std::uint32_t attempt) {
  if (live_.value == weights) return switch_ended(weights, {});
  if (weights.empty()) return start_over();
  link_.ask_once<sync_reply>(
      *deployment_, deadlines::sync, sync_request{id_, checkpoint_id{weights}},
      [self = shared_from_this(), weights, attempt, at = generation_](result<sync_reply> reply) {
        if (at != self->generation_) return;
        // No replica takes a sync now, or it died in the middle: another one takes its place.
        const bool again = !reply && is_retryable(reply.error().code);
        if (again && attempt < sync_attempts_max) {
          self->pause_.expires_after(sync_retry);
          return self->pause_.async_wait([self, weights, attempt, at](boost::system::error_code) {
            if (at == self->generation_) self->sync(weights, attempt + 1);
          });
        }
        if (!reply) return self->switch_ended(weights, fail(reply.error()));
        self->synced_(*reply);
        self->live_ = checkpoint_id{weights};
        self->switch_ended(weights, {});
      });
}

/// A deployment starts with its base's own weights and never comes back to them.
void sample_pool::start_over() {
  deployment_.reset();
  link_.ask_manager<done>(
      deadlines::control, remove_deployment_request{id_},
      [self = shared_from_this(), at = generation_](const result<done>& removed) {
        if (at != self->generation_) return;
        if (!removed && removed.error().code != errc::not_found) {
          return self->switch_ended({}, fail(removed.error()));
        }
        self->create({});
      });
}

void sample_pool::switch_ended(const std::string& weights, const result<void>& outcome) {
  if (outcome) {
    rotation_.switched(weights);
  } else {
    for (const std::uint64_t number : rotation_.switch_failed(weights))
      end(number, fail(outcome.error()));
    let_in();
  }
  go_on();
}

}  // namespace troupe::gateway
