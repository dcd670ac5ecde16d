#pragma once

// Messages between actors of one process: they carry handles or shared payloads and can never be
// sent to another node (CAF refuses them on the wire).
//
// Threading: values; shared payloads are immutable.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "messages/shard.hpp"
#include "messages/status.hpp"

namespace troupe::gpu {
class sampler_adapter;
class sampler_engine;
}  // namespace troupe::gpu

namespace troupe::actors {

struct staged_version;

/// An engine that serves the model directory it was opened with.
struct opened_engine {
  std::shared_ptr<gpu::sampler_engine> engine;
  state_digest state;
};

/// The next weights of a replica, ready to be committed.
struct weights_staged {
  std::shared_ptr<staged_version> version;
  double stage_ms = 0;
};

/// Asks for an adapter to be read and laid out for the engine.
struct load_adapter {
  checkpoint_record record;
};

struct adapter_loaded {
  std::shared_ptr<const gpu::sampler_adapter> adapter;
  state_digest base;  ///< of the weights it stands on
};

/// The engine serves these now.
struct weights_live {
  std::shared_ptr<staged_version> version;
};

/// What an actor sends to itself to go on after the messages that wait already.
struct tick {};

/// A set of shards broke: a rank went away, answered late, or reported a broken engine.
struct group_lost {
  std::uint64_t incarnation = 0;
  error reason;
};

/// Asks a trainer_group for a new set of shards in `incarnation`; the old set is fenced first.
struct form_group {
  std::uint64_t incarnation = 0;
  run_id run;
  model_source model;
  std::uint32_t world_size = 1;
  std::uint64_t seed = 0;
  std::vector<checkpoint_record> resume;
  checkpoint_id published;
  std::vector<checkpoint_record> published_chain;
  std::optional<lora_config> lora;
  std::string tenant;
  std::uint32_t shard_size = 0;
};

struct group_formed {
  std::uint64_t incarnation = 0;
  model_config model;
  state_digest weights;
};

/// One piece of work for every rank, by rank.
struct group_work {
  std::uint64_t incarnation = 0;
  std::uint64_t seq_id = 0;
  std::vector<shard_body> bodies;
};

/// Answers by rank.
struct group_reply {
  std::vector<shard_work_reply> ranks;
};

/// Tells a run that a node of its set will go: it takes a snapshot and forms a new set elsewhere.
struct move_away {
  std::string reason;
};

/// Tells a run that nobody uses it: it gives its nodes back, unless an op is under way.
struct park_idle {
  std::string reason;
};

/// A node's lease ran out: it may be paused or cut off, and its link may still look alive.
struct node_silent {
  node_id node;
};

/// Tells a node's agent that its process was asked to end.
struct leave_notice {};

/// Tells a node's agent that no engine of its process can compute any more.
struct device_lost {
  error reason;
};

/// Asks for these blobs to be read back and compared with their names.
struct verify_blobs {
  std::vector<blob_id> blobs;
};

/// Asks for the last checkpoint of a complete chain to be folded against its base.
struct fold_chain {
  std::vector<checkpoint_record> chain;
};

/// Tells the store to go on collecting garbage.
struct garbage_slice {};

/// Ends the shards of a group and gives their nodes back.
struct close_group {};

/// Asks the job manager for nodes of a role; waits up to deadlines::capacity for them.
struct acquire_nodes {
  node_role role = node_role::trainer;
  std::uint32_t count = 1;
  std::string hosting;            ///< shown in status
  std::uint64_t incarnation = 0;  ///< of the set; makes its ranks' token unlike any before
  node_share share = node_share::whole;
};

struct release_nodes {
  std::string hosting;
};

/// Asks the job manager whether an op may work on nodes that other runs use, too; waits up to
/// deadlines::turn for it. `end_turn`, or giving the nodes back, ends it.
struct take_turn {
  std::string hosting;
  std::string tenant;
  std::vector<node_id> nodes;
};

struct end_turn {
  std::string hosting;
};

/// What a training run tells the job manager when it changes, for status.
struct run_changed {
  run_info info;
};

struct deployment_changed {
  deployment_info info;
};

}  // namespace troupe::actors
