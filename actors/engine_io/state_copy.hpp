#pragma once

// The copy of a rank's state that a snapshot is written from. Only a step or a load overwrites that
// state, so the copy is made beside whatever comes before the next of them: ops wait for it only
// when a step arrives while it is not whole.
//
// Its memory is kept for the next copy: fresh pages cost more than the copying itself.
//
// Units: seconds. Threading: `begin` by the engine's thread; `make` and `settle` by any, one of
// them copies and the others wait. The engine must not change the state before `settle` returned.
// Errors: errc::engine when there is no memory; errc::timeout from settle after
// deadlines::shard_work: then the state must not be touched.

#include <condition_variable>
#include <cstdint>
#include <mutex>

#include "actors/engine_io/parameter_files.hpp"
#include "gpu/trainer_engine.hpp"

namespace troupe::actors {

class state_copy {
 public:
  /// Announces a copy of the state after op `seq_id`, in place of an earlier one.
  void begin(std::uint64_t seq_id, const state_digest& weights, std::uint64_t optimizer_steps);

  /// Copies, unless that is done or under way elsewhere; returns when it is whole.
  result<void> make(const gpu::trainer_engine& engine);

  /// The same for an op that is about to change the state, which counts its waiting. A copy that
  /// failed does not keep it from going on.
  result<void> settle(const gpu::trainer_engine& engine);

  [[nodiscard]] std::uint64_t seq_id() const { return seq_id_; }
  [[nodiscard]] const state_digest& weights() const { return weights_; }
  [[nodiscard]] std::uint64_t optimizer_steps() const { return optimizer_steps_; }

  /// Requires: make() succeeded.
  [[nodiscard]] result<storage::blob_info> write_to(storage::blob_store& blobs) const;
  [[nodiscard]] double copying_s() const;
  /// How long an op waited for it.
  [[nodiscard]] double waited_s() const;

 private:
  enum class progress : std::uint8_t { wanted, under_way, ended };

  result<void> copy(const gpu::trainer_engine& engine);

  std::uint64_t seq_id_ = 0;
  state_digest weights_;
  std::uint64_t optimizer_steps_ = 0;
  memory_sink state_;  ///< of whoever set under_way

  mutable std::mutex mutex_;  ///< guards what follows
  std::condition_variable changed_;
  progress progress_ = progress::ended;
  result<void> outcome_;
  double copying_s_ = 0;
  double waited_s_ = 0;
};

}  // namespace troupe::actors
