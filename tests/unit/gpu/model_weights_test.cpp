// Weights that go while a gather of them is under way, as when an op fails in its middle.

#include "gpu/torch/model_weights.hpp"

#include <algorithm>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <optional>

#include <boost/test/unit_test.hpp>

namespace {

using namespace troupe;

/// What a test sees of a gather.
struct gather_log {
  std::mutex mutex;
  std::condition_variable changed;
  bool has_begun = false;
  bool is_aborted = false;
  bool has_written = false;
};

/// One of two ranks. The other comes to a gather only in the moment in which this one aborts.
class late_comm final : public gpu::comm {
 public:
  explicit late_comm(gather_log& log) : log_(log) {}

  std::uint32_t rank() const override { return 0; }
  std::uint32_t world_size() const override { return 2; }

  result<void> all_gather(std::span<const float> mine, std::span<float> all) override {
    std::unique_lock lock(log_.mutex);
    log_.has_begun = true;
    log_.changed.notify_all();
    log_.changed.wait(lock, [this] { return log_.is_aborted; });
    std::ranges::copy(mine, all.begin());
    std::ranges::copy(mine, all.subspan(mine.size()).begin());
    log_.has_written = true;
    return {};
  }
  result<void> reduce_scatter(std::span<const float>, std::span<float>) override { return {}; }
  result<void> all_reduce(std::span<double>) override { return {}; }

  void abort() override {
    const std::lock_guard lock(log_.mutex);
    log_.is_aborted = true;
    log_.changed.notify_all();
  }

 private:
  gather_log& log_;
};

/// Its buffers are so large that they go back to the system when they are freed: to write to them
/// after that is the end of the process, with sanitizers or without.
model_config wide_model() {
  model_config m;
  m.vocab_size = 16;
  m.hidden_size = 1024;
  m.intermediate_size = 2048;
  m.num_layers = 1;
  m.num_heads = 8;
  m.num_kv_heads = 8;
  m.head_dim = 128;
  m.max_positions = 16;
  return m;
}

BOOST_AUTO_TEST_CASE(a_gather_ends_before_what_it_writes_to) {
  gather_log log;
  {
    auto ranks = gpu::rank_groups::form(gpu::rank_set(std::make_unique<late_comm>(log)));
    BOOST_REQUIRE(ranks.has_value());
    gpu::model_weights weights(wide_model(), std::nullopt, std::move(*ranks), std::size_t{0});
    weights.prefetch_block(0);
    std::unique_lock lock(log.mutex);
    log.changed.wait(lock, [&] { return log.has_begun; });
  }
  BOOST_TEST(log.is_aborted);
  BOOST_TEST(log.has_written);
}

}  // namespace
