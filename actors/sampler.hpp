#pragma once

// One replica: decodes many sequences together, one token each per step, and takes new weights only
// between two steps. Each step is one message to itself, so requests and commits get their turn
// after every token. Its weight_stager prepares weights and adapters beside it, so a commit only
// swaps.
//
// A stream's tokens wait here for its reader, up to a bound; then its sequences are held, and it is
// the deployment's business to cancel a stream that nobody reads. Adapters are loaded when a
// request first names them and stay while there is room.
//
// Owner: node_agent. Deadlines: sample, stage, commit. Threading: an actor on a thread of its own
// (it owns an engine). Errors: errc::busy (queue full, no room for an adapter, or the version asked
// for is not live yet); engine errors answer every open request; errc::wrong_base for an adapter of
// other weights than the live ones; errc::aborted when newer weights went live than a request
// allows, or others than its adapter stands on; errc::cancelled; a commit of weights that are not
// staged, or were staged from others than the live ones, changes nothing.
// Invariants: SAMPLER-1 a token comes from exactly one version, which its sequence names.
//             SAMPLER-2 what a cancelled request held is free before the next step.

#include <map>
#include <memory>
#include <optional>
#include <vector>

#include <caf/all.hpp>

#include "actors/logic/adapter_shelf.hpp"
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
  /// A request from its arrival until its answer, or the last chunk of it, has left.
  struct open_request {
    sample_request request;
    caf::typed_response_promise<sample_reply> answer;  ///< unless it is a stream
    std::shared_ptr<logic::sample_stream> stream;
    caf::typed_response_promise<done> opened;  ///< of a stream
    std::optional<caf::typed_response_promise<sample_chunk>> reader;
    std::vector<std::uint64_t> held;  ///< sequences
    std::optional<error> failure;     ///< what the next reader is told
  };
  struct waiting_commit {
    commit_weights_request request;
    caf::typed_response_promise<commit_weights_reply> promise;
    time_point since;
  };

  // -- requests (sampler_requests.cpp) --
  caf::result<sample_reply> sample(const sample_request& request);
  caf::result<done> open_stream(const stream_sample_request& request);
  caf::result<sample_chunk> read(const read_sample_request& request);
  caf::result<done> cancel(const cancel_sample_request& request);
  [[nodiscard]] std::optional<error> refusal(const sample_request& request) const;
  void accept(open_request open);
  void take_in(open_request open);
  void load(const sample_request& request);
  void loaded(const checkpoint_id& adapter, const adapter_loaded& ready);
  void load_failed(const checkpoint_id& adapter, const error& reason);
  static void refuse(open_request& open, const error& reason);
  void unpin(const sample_request& request);
  void note_token(std::uint64_t request, const gpu::decoded_token& token);
  void serve_readers();
  void serve(std::uint64_t request);
  void finish(std::uint64_t request, sample_reply reply);
  void give_up(std::uint64_t request, const error& reason);
  void forget(std::uint64_t request);

  // -- steps and weights (sampler.cpp) --
  caf::result<stage_weights_reply> stage(const stage_weights_request& request);
  caf::result<commit_weights_reply> commit(const commit_weights_request& request);
  [[nodiscard]] replica_status status() const;
  void step();
  void admit_waiting();
  [[nodiscard]] bool can_go_on() const;
  result<commit_weights_reply> commit_now(const commit_weights_request& request);
  void take_new_base(const state_digest& base);
  void commit_when_idle();
  void go_on();

  sampler_self::pointer self_;
  node_id node_;
  std::shared_ptr<gpu::sampler_engine> engine_;
  weight_stager_actor stager_;
  std::shared_ptr<staged_version> staged_;
  std::optional<waiting_commit> ending_;  ///< waits until no sequence is decoded on the old weights
  std::uint64_t version_ = 0;
  checkpoint_id checkpoint_;
  state_digest state_;  ///< base and deployed adapter
  state_digest base_;
  std::uint64_t deployed_adapter_bytes_ = 0;
  logic::sample_queue queue_;
  std::map<std::uint64_t, open_request> open_;                  ///< by number in the queue
  std::map<std::uint64_t, std::uint64_t> tickets_;              ///< to the same number
  std::map<checkpoint_id, std::vector<open_request>> loading_;  ///< wait for their adapter
  logic::adapter_shelf shelf_;
  std::map<checkpoint_id, std::shared_ptr<const gpu::sampler_adapter>> adapters_;
  std::uint64_t sampled_tokens_ = 0;
  bool ticking_ = false;
};

[[nodiscard]] sampler_actor spawn_sampler(caf::actor_system& system, const node_context& context,
                                          opened_engine opened, weight_stager_actor stager);

}  // namespace troupe::actors
