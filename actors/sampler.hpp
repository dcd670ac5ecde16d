#pragma once

// One replica: decodes many sequences together, one token each per step, and takes new weights only
// between two steps. Each step is one message to itself, so requests and commits get their turn
// after every token. Its weight_stager prepares the next weights beside it, so a commit only swaps.
//
// Owner: node_agent. Deadlines: sample, stage, commit. Threading: an actor on a thread of its own
// (it owns an engine). Errors: errc::busy (queue full, or the version asked for is not live yet);
// engine errors answer every open request; errc::aborted when newer weights went live than a
// request allows; a commit of weights that are not staged, or were staged from others than the live
// ones, changes nothing. Invariants: SAMPLER-1 a token comes from exactly one version, which its
// sequence names.

#include <map>
#include <memory>
#include <optional>

#include <caf/all.hpp>

#include "actors/logic/sample_queue.hpp"
#include "actors/node_context.hpp"
#include "actors/protocol/type_ids.hpp"
#include "actors/runtime/clock.hpp"
#include "actors/weight_stager.hpp"

namespace troupe::actors {

using sampler_self = sampler_actor::extend<caf::result<void>(tick)>;

class sampler_state {
 public:
  static constexpr const char* name = "sampler";

  sampler_state(sampler_self::pointer self, node_id node, opened_engine opened,
                weight_stager_actor stager);
  /// The stager ends with its sampler.
  ~sampler_state();
  sampler_self::behavior_type make_behavior();

 private:
  caf::result<sample_reply> sample(const sample_request& request);
  caf::result<stage_weights_reply> stage(const stage_weights_request& request);
  caf::result<commit_weights_reply> commit(const commit_weights_request& request);
  [[nodiscard]] replica_status status() const;
  void step();
  void admit_waiting();
  result<commit_weights_reply> commit_now(const commit_weights_request& request);
  void commit_when_idle();
  void finish(std::uint64_t request, sample_reply reply);
  void give_up(std::uint64_t request, const error& reason);
  void go_on();

  sampler_self::pointer self_;
  node_id node_;
  std::shared_ptr<gpu::sampler_engine> engine_;
  weight_stager_actor stager_;
  std::shared_ptr<staged_version> staged_;
  struct waiting_commit {
    commit_weights_request request;
    caf::typed_response_promise<commit_weights_reply> promise;
    time_point since;
  };
  std::optional<waiting_commit> ending_;  ///< waits until no sequence is decoded on the old weights
  std::uint64_t version_ = 0;
  checkpoint_id checkpoint_;
  state_digest state_;
  logic::sample_queue queue_;
  std::map<std::uint64_t, caf::typed_response_promise<sample_reply>> open_;
  std::uint64_t sampled_tokens_ = 0;
  bool ticking_ = false;
};

[[nodiscard]] sampler_actor spawn_sampler(caf::actor_system& system, const node_context& context,
                                          opened_engine opened, weight_stager_actor stager);

}  // namespace troupe::actors
