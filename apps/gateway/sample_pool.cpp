#include "apps/gateway/sample_pool.hpp"

#include <algorithm>

#include "apps/gateway/key_file.hpp"
#include "config/deadlines.hpp"
#include "messages/wire/codec.hpp"

namespace troupe::gateway {
namespace {

constexpr std::chrono::milliseconds sync_retry{200};
/// A deployment may need to open a replica first.
constexpr auto sync_attempts_max =
    static_cast<std::uint32_t>(std::chrono::milliseconds(deadlines::shard_open) / sync_retry);

constexpr std::size_t id_digits = 16;

}  // namespace

sample_pool::sample_pool(cluster_link& link, std::string directory)
    : link_(link),
      directory_(std::move(directory)),
      id_{"tinker-" + sha256_text(directory_).substr(0, id_digits)},
      pause_(link.loop()) {}

void sample_pool::sample(const checkpoint_id& weights, sample_request request, answer then) {
  request.deployment = id_;
  // A node drops what it cannot decode, and the client would wait for nothing.
  if (const auto ok = wire::validate(request); !ok) return then(fail(ok.error()));
  const std::uint64_t number = ++next_job_;
  jobs_.emplace(number, job{std::move(request), std::move(then)});
  rotation_.add(weights.value, number);
  go_on();
}

void sample_pool::go_on() {
  const auto decision = rotation_.next();
  for (const std::uint64_t number : decision.start)
    start(number);
  if (decision.switch_to) switch_to(*decision.switch_to);
}

void sample_pool::start(std::uint64_t number) {
  link_.ask<sample_reply>(*deployment_, deadlines::sample, jobs_.at(number).request,
                          [self = shared_from_this(), number](result<sample_reply> reply) {
                            auto node = self->jobs_.extract(number);
                            node.mapped().then(std::move(reply));
                            self->rotation_.ended();
                            self->go_on();
                          });
}

void sample_pool::switch_to(const std::string& weights) {
  if (deployment_) return sync(weights, 1);
  const auto& manager = link_.link()->manager();
  link_.ask_for_handle<deployment_info, handle>(
      manager, deadlines::control, deployment_status_request{id_},
      [self = shared_from_this(), weights](found_deployment found) {
        const bool is_new = !found && found.error().code == errc::not_found;
        if (is_new) return self->create(weights);
        self->opened(weights, std::move(found));
      });
}

void sample_pool::create(const std::string& weights) {
  const auto& manager = link_.link()->manager();
  link_.ask<cluster_status>(
      manager, deadlines::control, cluster_status_request{},
      [self = shared_from_this(), weights, manager](result<cluster_status> status) {
        if (!status) return self->switch_ended(weights, fail(status.error()));
        const bool has_idle =
            std::any_of(status->nodes.begin(), status->nodes.end(), [](const node_status& node) {
              return node.role == node_role::sampler && node.hosting.empty();
            });
        if (!has_idle) {
          return self->switch_ended(
              weights, fail(errc::no_capacity, "no sampler node is idle",
                            "each base model that is sampled from needs one of its own",
                            "raise count in [samplers] of the cluster file"));
        }
        self->link_.ask_for_handle<deployment_info, handle>(
            manager, deadlines::control,
            create_deployment_request{self->id_.value, {self->directory_}},
            [self, weights](found_deployment made) { self->opened(weights, std::move(made)); });
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
  link_.ask<sync_reply>(
      *deployment_, deadlines::sync, sync_request{id_, checkpoint_id{weights}},
      [self = shared_from_this(), weights, attempt](result<sync_reply> reply) {
        if (!reply && reply.error().code == errc::busy && attempt < sync_attempts_max) {
          self->pause_.expires_after(sync_retry);
          return self->pause_.async_wait([self, weights, attempt](boost::system::error_code bad) {
            if (!bad) self->sync(weights, attempt + 1);
          });
        }
        if (!reply) return self->switch_ended(weights, fail(reply.error()));
        self->live_ = checkpoint_id{weights};
        self->switch_ended(weights, {});
      });
}

/// A deployment starts with its base's own weights and never comes back to them.
void sample_pool::start_over() {
  deployment_.reset();
  link_.ask<done>(link_.link()->manager(), deadlines::control, remove_deployment_request{id_},
                  [self = shared_from_this()](const result<done>& removed) {
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
    for (const std::uint64_t number : rotation_.switch_failed(weights)) {
      auto node = jobs_.extract(number);
      node.mapped().then(fail(outcome.error()));
    }
  }
  go_on();
}

}  // namespace troupe::gateway
