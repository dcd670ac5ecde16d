// Ranks that hold several copies of the state between them: the sums, checkpoints and digests are
// those of ranks that share one.

#include <atomic>
#include <memory>
#include <optional>
#include <span>
#include <tuple>
#include <utility>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "config/limits.hpp"
#include "gpu/torch/trainer.hpp"
#include "messages/state_digest.hpp"
#include "tests/conformance/golden_case.hpp"
#include "tests/conformance/trainer_fixture.hpp"

namespace {

using namespace troupe;
using gpu::state_part;
using test::fixture;
using test::model_memory;
using test::on_ranks;
using test::part_of;
using test::relative_distance;
using test::saved;
using test::small_model;
using test::step_together;
using test::trainer_list;

BOOST_FIXTURE_TEST_CASE(copies_do_not_matter, fixture) {
  auto one = ranks(1, memory);
  const auto several_steps = [&](trainer_list& trainers, std::size_t used) {
    // Gradients of two passes add up before the step.
    on_ranks(trainers.size(), [&](std::size_t rank) {
      const auto part = part_of(batch, rank, used);
      std::ignore = trainers[rank]->forward_backward(1, part, loss_fn::cross_entropy, {});
    });
    return step_together(trainers, batch, used);
  };
  several_steps(one, 1);
  const auto expected = saved(model, one);
  for (const auto& [world_size, shard_size] :
       {std::pair{4U, 2U}, {2U, 1U}, {3U, 1U}, {4U, 1U}, {6U, 3U}}) {
    auto many = groups(world_size, shard_size, memory);
    auto again = groups(world_size, shard_size, memory);
    const state_digest digest = several_steps(many, world_size - 1);
    BOOST_TEST((digest == several_steps(again, world_size - 1)));
    const auto actual = saved(model, many);
    for (const state_part part : {state_part::exp_avg, state_part::exp_avg_sq})
      BOOST_TEST(relative_distance(actual.flat(part), expected.flat(part)) <= 1e-6);
    BOOST_TEST(relative_distance(actual.flat(state_part::weights),
                                 expected.flat(state_part::weights)) <= 1e-5);
    state_digest whole;
    std::uint32_t parameter = 0;
    for (const auto& values : std::as_const(actual).parameters(state_part::weights))
      add_elements(whole, parameter++, 0, std::span<const float>(values));
    BOOST_TEST((digest == whole));
  }
}

BOOST_FIXTURE_TEST_CASE(one_copy_is_what_all_ranks_share, fixture) {
  auto shared = ranks(4, memory);
  auto named = groups(4, 4, memory);
  for (int step = 0; step < 2; ++step)
    BOOST_TEST((step_together(shared, batch, 3) == step_together(named, batch, 3)));
}

BOOST_FIXTURE_TEST_CASE(when_blocks_are_gathered_does_not_matter, fixture) {
  for (const std::size_t kept_bytes : {limits::kept_activation_bytes_max, std::size_t{0}})
    for (const auto& [world_size, shard_size] : {std::pair{2U, 2U}, {4U, 2U}, {3U, 3U}}) {
      const auto trainers = [&, size = world_size, shards = shard_size](gpu::gathering gathers) {
        gpu::engine_resources kept;
        kept.kept_activation_bytes = kept_bytes;
        kept.gathers = gathers;
        return groups(size, shards, memory, optimizer_state::reset, 0, kept);
      };
      auto ahead = trainers(gpu::gathering::ahead);
      auto on_demand = trainers(gpu::gathering::on_demand);
      for (int step = 0; step < 2; ++step)
        BOOST_TEST((step_together(ahead, batch, world_size) ==
                    step_together(on_demand, batch, world_size)));
    }
}

/// Counts how often gradients are summed over ranks.
class counting_comm final : public gpu::comm {
 public:
  counting_comm(std::unique_ptr<gpu::comm> inner, std::atomic<int>& sums)
      : inner_(std::move(inner)), sums_(sums) {}

  std::uint32_t rank() const override { return inner_->rank(); }
  std::uint32_t world_size() const override { return inner_->world_size(); }
  result<void> all_gather(std::span<const float> mine, std::span<float> all) override {
    return inner_->all_gather(mine, all);
  }
  result<void> reduce_scatter(std::span<const float> all, std::span<float> mine) override {
    ++sums_;
    return inner_->reduce_scatter(all, mine);
  }
  result<void> all_reduce(std::span<double> values) override { return inner_->all_reduce(values); }
  void abort() override { inner_->abort(); }

 private:
  const std::unique_ptr<gpu::comm> inner_;
  std::atomic<int>& sums_;
};

BOOST_FIXTURE_TEST_CASE(a_small_model_sums_gradients_once_a_step, fixture) {
  constexpr int num_passes = 3;
  const int num_groups = 1 + static_cast<int>(model.num_layers);
  for (const std::uint32_t world_size : {2U, 3U}) {
    std::vector<model_memory> after;
    for (const std::size_t whole_bytes : {limits::whole_gradient_bytes_max, std::size_t{0}}) {
      std::atomic<int> sums = 0;
      gpu::engine_resources kept;
      kept.whole_gradient_bytes = whole_bytes;
      trainer_list trainers;
      for (auto& comm : gpu::make_thread_comms(world_size))
        trainers.push_back(test::make_loaded_trainer(
            model, memory, gpu::rank_set(std::make_unique<counting_comm>(std::move(comm), sums), 0),
            optimizer_state::reset, 0, kept));
      const auto pass = [&] {
        on_ranks(world_size, [&](std::size_t rank) {
          const auto part = part_of(batch, rank, world_size);
          std::ignore = trainers[rank]->forward_backward(1, part, loss_fn::cross_entropy, {});
        });
      };
      const int ranks = static_cast<int>(world_size);
      for (int i = 1; i < num_passes; ++i)
        pass();
      BOOST_TEST(sums == (whole_bytes > 0 ? 0 : (num_passes - 1) * num_groups * ranks));
      step_together(trainers, batch, world_size);
      BOOST_TEST(sums == (whole_bytes > 0 ? 1 : num_passes) * num_groups * ranks);
      after.push_back(saved(model, trainers));
    }
    for (const state_part part : {state_part::exp_avg, state_part::exp_avg_sq})
      BOOST_TEST(relative_distance(after[0].flat(part), after[1].flat(part)) <= 1e-6);
  }
}

/// Sums over ranks are the same ones when only one pass is summed.
BOOST_FIXTURE_TEST_CASE(where_gradients_wait_does_not_matter_to_one_pass, fixture) {
  for (const auto& [world_size, shard_size] : {std::pair{2U, 2U}, {4U, 2U}, {3U, 3U}}) {
    const auto trainers = [&, size = world_size, shards = shard_size](std::size_t whole_bytes) {
      gpu::engine_resources kept;
      kept.whole_gradient_bytes = whole_bytes;
      return groups(size, shards, memory, optimizer_state::reset, 0, kept);
    };
    auto whole = trainers(limits::whole_gradient_bytes_max);
    auto scattered = trainers(0);
    for (int step = 0; step < 2; ++step)
      BOOST_TEST(
          (step_together(whole, batch, world_size) == step_together(scattered, batch, world_size)));
  }
}

BOOST_FIXTURE_TEST_CASE(state_moves_between_numbers_of_copies, fixture) {
  auto first = groups(4, 2, memory);
  step_together(first, batch, 4);
  auto checkpoint = saved(model, first);
  const state_digest after = step_together(first, batch, 4);
  const auto expected = saved(model, first);
  for (const auto& [world_size, shard_size] : {std::pair{2U, 1U}, {1U, 1U}, {4U, 2U}, {3U, 3U}}) {
    auto resumed = groups(world_size, shard_size, checkpoint, optimizer_state::restore, 1);
    for (const state_part part : {state_part::weights, state_part::exp_avg, state_part::exp_avg_sq})
      BOOST_TEST((saved(model, resumed).flat(part) == checkpoint.flat(part)));
    const state_digest digest = step_together(resumed, batch, world_size);
    if (world_size == 4) BOOST_TEST((digest == after));
    BOOST_TEST(relative_distance(saved(model, resumed).flat(state_part::weights),
                                 expected.flat(state_part::weights)) <= 1e-5);
  }
}

BOOST_AUTO_TEST_CASE(groups_divide_the_ranks) {
  const auto made = gpu::make_torch_trainer(small_model(), std::nullopt,
                                            {std::move(gpu::make_thread_comms(4).front()), 3});
  BOOST_TEST((made.error().code == errc::invalid_argument));
}

}  // namespace
