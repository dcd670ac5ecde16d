#pragma once

// Everything one rank does, without actors: opens its engine, answers shard work with it, and turns
// its state into blobs. The engine_worker only carries messages to and from it.
//
// Threading: one thread (the worker's), except that a captured state is copied and written on
// another, beside ops that do not change it. Errors: user errors leave the engine as it was;
// errc::engine, errc::peer_lost and errc::timeout mean that the host must be thrown away.
// Invariants: HOST-1 the published baseline moves only when the commit of a sampler checkpoint is
//             confirmed, so a failed publish never poisons the next delta.

#include <atomic>
#include <memory>
#include <mutex>

#include "actors/engine_io/parameter_files.hpp"
#include "actors/engine_io/state_copy.hpp"
#include "gpu/engine_factory.hpp"
#include "messages/shard.hpp"

namespace troupe::actors {

class trainer_host {
 public:
  trainer_host(gpu::engine_factory& engines, storage::blob_store& blobs);

  result<open_shard_reply> open(const open_shard_request& request);
  result<start_shard_reply> start(const start_shard_request& request);
  result<shard_work_reply> run(const shard_work& work);

  /// After errc::engine: whether this process can still compute.
  [[nodiscard]] result<void> check_device() { return engines_.check_device(); }

  /// Makes a collective that waits for a dead peer fail; callable from any thread.
  void abort();

 private:
  result<void> load_weights(const start_shard_request& request);
  result<void> load_published(const start_shard_request& request);
  result<void> load_training(const checkpoint_manifest& checkpoint, optimizer_state optimizer);

  result<void> work(const shard_backward& body, shard_work_reply& reply);
  result<void> work(const shard_optim_step& body, shard_work_reply& reply);
  result<void> work(const shard_save_state& body, shard_work_reply& reply);
  result<void> work(const shard_load_state& body, shard_work_reply& reply);
  result<void> work(const shard_save_weights& body, shard_work_reply& reply);
  /// Every rank takes part; the first one learns the logprobs.
  result<std::vector<float>> probe(std::uint64_t seq_id);
  result<void> work(const shard_published& body, shard_work_reply& reply);
  result<void> work(const shard_capture_state& body, shard_work_reply& reply);
  result<void> work(const shard_write_captured& body, shard_work_reply& reply);

  [[nodiscard]] std::shared_ptr<state_copy> captured();
  /// Before the state changes.
  result<void> settle_copy();

  result<void> save_adapters(shard_work_reply& reply);
  result<storage::blob_info> write_base(const bf16_state& state);
  result<storage::blob_info> write_delta(const bf16_state& state);

  gpu::engine_factory& engines_;
  storage::blob_store& blobs_;
  open_shard_request opened_;
  std::unique_ptr<gpu::comm_listener> listener_;
  std::atomic<gpu::comm*> comm_ = nullptr;  ///< owned by the engine
  opened_model model_;
  std::unique_ptr<gpu::trainer_engine> engine_;
  bf16_state published_;
  bf16_state unconfirmed_;
  std::mutex captured_mutex_;
  std::shared_ptr<state_copy> captured_;  ///< guarded by captured_mutex_
  std::shared_ptr<state_copy> spare_;     ///< guarded by captured_mutex_
  state_digest weights_;                  ///< after the last op that changed them
};

}  // namespace troupe::actors
