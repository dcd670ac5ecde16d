#include "actors/engine_io/state_copy.hpp"

#include <chrono>
#include <new>

#include "config/deadlines.hpp"

namespace troupe::actors {
namespace {

using steady = std::chrono::steady_clock;

double seconds_since(steady::time_point begun) {
  return std::chrono::duration<double>(steady::now() - begun).count();
}

}  // namespace

void state_copy::begin(std::uint64_t seq_id, const state_digest& weights,
                       std::uint64_t optimizer_steps) {
  const std::lock_guard lock(mutex_);
  seq_id_ = seq_id;
  weights_ = weights;
  optimizer_steps_ = optimizer_steps;
  progress_ = progress::wanted;
  copying_s_ = 0;
  waited_s_ = 0;
}

result<void> state_copy::copy(const gpu::trainer_engine& engine) {
  try {
    state_.start_again();
    return engine.save(state_);
  } catch (const std::bad_alloc&) {
    return fail(errc::engine, "there is no memory to copy a rank's state aside",
                "the node holds too much", "give it more memory, or use more ranks");
  }
}

result<void> state_copy::make(const gpu::trainer_engine& engine) {
  std::unique_lock lock(mutex_);
  if (progress_ == progress::wanted) {
    progress_ = progress::under_way;
    lock.unlock();
    const auto begun = steady::now();
    auto copied = copy(engine);
    lock.lock();
    copying_s_ = seconds_since(begun);
    outcome_ = std::move(copied);
    progress_ = progress::ended;
    changed_.notify_all();
    return outcome_;
  }
  const bool has_ended = changed_.wait_for(lock, deadlines::shard_work,
                                           [this] { return progress_ == progress::ended; });
  if (!has_ended)
    return fail(errc::timeout, "a copy of the state is never whole", "the node is starved",
                "the set is started again");
  return outcome_;
}

result<void> state_copy::settle(const gpu::trainer_engine& engine) {
  const auto begun = steady::now();
  const auto made = make(engine);
  if (!made && made.error().code == errc::timeout) return made;
  const std::lock_guard lock(mutex_);
  waited_s_ += seconds_since(begun);
  return {};
}

result<storage::blob_info> state_copy::write_to(storage::blob_store& blobs) const {
  return state_.write_to(blobs);
}

double state_copy::copying_s() const {
  const std::lock_guard lock(mutex_);
  return copying_s_;
}

double state_copy::waited_s() const {
  const std::lock_guard lock(mutex_);
  return waited_s_;
}

}  // namespace troupe::actors
