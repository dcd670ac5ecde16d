// What experts must not change: phases, packing, ranks and adapters work as for dense models.

#include <algorithm>
#include <cmath>
#include <functional>
#include <iterator>
#include <thread>
#include <utility>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "gpu/comm/thread_comm.hpp"
#include "gpu/models/adapters.hpp"
#include "gpu/models/parameter_layout.hpp"
#include "tests/conformance/engine_memory.hpp"
#include "tests/conformance/golden_case.hpp"
#include "tests/conformance/trainer_fixture.hpp"

namespace {

using namespace troupe;
using gpu::state_part;
using test::relative_distance;

struct fixture {
  model_config model;
  std::unique_ptr<test::model_memory> memory;
  std::vector<datum> batch;

  fixture() {
    model.family = model_family::qwen3_moe;
    model.vocab_size = 53;
    model.hidden_size = 20;
    model.intermediate_size = 37;
    model.num_layers = 2;
    model.num_heads = 4;
    model.num_kv_heads = 2;
    model.head_dim = 6;
    model.max_positions = 256;
    model.experts = {11, 3, 14, true};
    memory = std::make_unique<test::model_memory>(model);
    test::fill_randomly(*memory, model, 3);
    batch = test::random_batch(model, {1, 90, 13, 40, 7, 66, 2, 30}, 4);
  }

  std::unique_ptr<gpu::trainer_engine> alone(const gpu::engine_resources& kept = {}) {
    return test::make_loaded_trainer(model, *memory, std::move(gpu::make_thread_comms(1).front()),
                                     optimizer_state::reset, 0, kept);
  }
};

void must(bool held) {
  if (!held) throw std::runtime_error("a call of the engine failed");
}

template <class T>
void must(const result<T>& outcome) {
  if (!outcome) throw std::runtime_error(to_string(outcome.error()));
}

BOOST_FIXTURE_TEST_CASE(phases_and_recomputation_give_the_same_bits, fixture) {
  gpu::engine_resources little;
  little.kept_activation_bytes = 0;
  little.kept_logit_bytes = 0;
  auto one_shot = alone();
  auto phased = alone(little);
  must(one_shot->forward_backward(1, batch, loss_fn::cross_entropy, {}).has_value());
  must(phased->forward(7, batch, retention::keep_for_backward).has_value());
  must(phased->backward(7, test::gradient_of(batch)).has_value());
  const adam_params adam{.learning_rate = 1e-2, .eps = 1e-8};
  BOOST_TEST((one_shot->optim_step(adam)->weights == phased->optim_step(adam)->weights));
}

BOOST_FIXTURE_TEST_CASE(packing_does_not_matter, fixture) {
  auto packed = alone();
  auto single = alone();
  const auto all = packed->forward_backward(1, batch, loss_fn::cross_entropy, {});
  must(all.has_value());
  for (std::size_t i = 0; i < batch.size(); ++i) {
    const auto one =
        single->forward_backward(2 + i, std::span(batch).subspan(i, 1), loss_fn::cross_entropy, {});
    must(one.has_value());
    BOOST_TEST((one->logprobs.front() == all->logprobs[i]));
  }
  BOOST_TEST(relative_distance(test::take_gradient(model, *single),
                               test::take_gradient(model, *packed)) <= 1e-6);
}

BOOST_FIXTURE_TEST_CASE(world_size_does_not_matter, fixture) {
  auto one = alone();
  must(one->forward_backward(1, batch, loss_fn::cross_entropy, {}).has_value());
  const auto expected = test::take_gradient(model, *one);
  std::vector<test::model_memory> saved(3, test::model_memory(model));
  auto comms = gpu::make_thread_comms(3);
  {
    std::vector<std::jthread> threads;
    for (std::size_t rank = 0; rank < 3; ++rank)
      threads.emplace_back([&, rank] {
        auto trainer = test::make_loaded_trainer(model, *memory, std::move(comms[rank]));
        // The last rank has no rows at all.
        std::vector<datum> part;
        for (std::size_t i = rank; rank < 2 && i < batch.size(); i += 2)
          part.push_back(batch[i]);
        must(trainer->forward_backward(1, part, loss_fn::cross_entropy, {}));
        must(trainer->optim_step({.learning_rate = 0, .beta1 = 0, .eps = 1e-8}));
        must(trainer->save(saved[rank]));
      });
  }
  std::vector<float> gradient(expected.size());
  for (const auto& part : saved) {
    const auto mine = part.flat(state_part::exp_avg);
    for (std::size_t i = 0; i < gradient.size(); ++i)
      gradient[i] += mine[i];
  }
  BOOST_TEST(relative_distance(gradient, expected) <= 1e-5);
}

/// As every rank reports them; nothing where some rank does not.
struct router_metrics {
  std::vector<double> balance_losses;
  std::vector<double> busiest_shares;
};

/// `used` ranks have datums, in turn.
router_metrics metrics_of(fixture& f, std::uint32_t world_size, std::size_t used) {
  router_metrics out{std::vector<double>(world_size), std::vector<double>(world_size)};
  auto comms = gpu::make_thread_comms(world_size);
  test::on_ranks(world_size, [&](std::size_t rank) {
    const auto trainer = test::make_loaded_trainer(f.model, *f.memory, std::move(comms[rank]));
    const auto part = rank < used ? test::part_of(f.batch, rank, used) : std::vector<datum>{};
    const auto done = trainer->forward_backward(1, part, loss_fn::cross_entropy, {});
    must(done);
    out.balance_losses[rank] = test::metric_of(done->metrics, "router_balance_loss:mean");
    out.busiest_shares[rank] = test::metric_of(done->metrics, "busiest_expert_share:max");
  });
  return out;
}

BOOST_FIXTURE_TEST_CASE(routers_are_measured_over_the_whole_batch, fixture) {
  for (const std::size_t num_datums : {batch.size(), std::size_t{3}, std::size_t{1}}) {
    batch.resize(num_datums);
    const router_metrics whole = metrics_of(*this, 1, 1);
    const double balance_loss = whole.balance_losses.front();
    const double busiest_share = whole.busiest_shares.front();
    // Perfect balance gives k; no expert has more than its one pick per row.
    BOOST_TEST(balance_loss > 2.9);
    BOOST_TEST(balance_loss < 11.0);
    BOOST_TEST(busiest_share >= 1.0 / 11);
    BOOST_TEST(busiest_share <= 1.0 / 3);
    for (const std::uint32_t world_size : {2U, 4U}) {
      const router_metrics parts =
          metrics_of(*this, world_size, std::min<std::size_t>(world_size, num_datums));
      for (const double value : parts.balance_losses)
        BOOST_TEST(std::abs(value - balance_loss) <= 1e-12 * balance_loss);
      for (const double value : parts.busiest_shares)
        BOOST_TEST(value == busiest_share);
    }
  }
}

/// Weights and first moments of all adapters after two steps, and what is published then.
struct adapter_outcome {
  std::vector<float> moments;
  std::vector<float> weights;
  std::vector<float> published;
  std::vector<state_digest> digests;  ///< of all ranks, by step
};

adapter_outcome train_adapters(fixture& f, const lora_config& lora, test::model_memory& start,
                               std::uint32_t world_size, std::uint32_t shard_size) {
  test::trainer_list trainers;
  for (auto& comm : gpu::make_thread_comms(world_size))
    trainers.push_back(test::make_adapter_trainer(f.model, lora, start,
                                                  gpu::rank_set(std::move(comm), shard_size)));
  adapter_outcome out;
  for (int step = 0; step < 2; ++step)
    out.digests.push_back(test::step_together(trainers, f.batch, world_size));
  test::model_memory end(f.model, lora);
  for (const auto& trainer : trainers)
    must(trainer->save(end));
  test::on_ranks(world_size, [&](std::size_t rank) { must(trainers[rank]->publish(end)); });
  const std::size_t first = gpu::parameter_layout(f.model).size();
  out.moments = end.flat(state_part::exp_avg, first);
  out.weights = end.flat(state_part::weights, first);
  for (std::size_t p = 0; p < first; ++p)
    std::ranges::copy(end.published(p), std::back_inserter(out.published));
  return out;
}

/// The model's weights, and adapters as they begin.
test::model_memory with_fresh_adapters(fixture& f, const lora_config& lora) {
  test::model_memory start(f.model, lora);
  auto& values = start.parameters(state_part::weights);
  std::ranges::copy(f.memory->parameters(state_part::weights), values.begin());
  gpu::initial_adapters first(f.model, lora);
  for (const gpu::adapter& each : gpu::adapters_of(f.model, lora))
    must(first.read(state_part::weights, {each.a, 0, values[each.a].size()}, values[each.a]));
  return start;
}

BOOST_FIXTURE_TEST_CASE(ranks_and_copies_of_adapters_do_not_matter, fixture) {
  const lora_config lora{.rank = 2, .alpha = 6};
  auto start = with_fresh_adapters(*this, lora);
  const auto one = train_adapters(*this, lora, start, 1, 0);
  for (const auto& [world_size, shard_size] : {std::pair{2U, 0U}, {2U, 1U}, {4U, 2U}}) {
    const auto many = train_adapters(*this, lora, start, world_size, shard_size);
    BOOST_TEST(relative_distance(many.moments, one.moments) <= 1e-5);
    BOOST_TEST(relative_distance(many.weights, one.weights) <= 1e-4);
    // Rounding to bf16 goes the other way here and there.
    BOOST_TEST(relative_distance(many.published, one.published) <= 1e-3);
    const auto again = train_adapters(*this, lora, start, world_size, shard_size);
    BOOST_TEST((many.digests == again.digests));
  }
}

/// Gradient of an adapter's B is scale * dW A^T, with dW the gradient of the whole matrix.
BOOST_FIXTURE_TEST_CASE(adapters_of_experts_have_the_gradient_of_their_matrix, fixture) {
  const lora_config lora{.rank = 2, .alpha = 6, .train_attn = false, .train_unembed = false};
  auto start = with_fresh_adapters(*this, lora);
  const auto adapters = gpu::adapters_of(model, lora);
  BOOST_REQUIRE(adapters.size() == 2U * 11 * 3);
  auto whole = alone();
  must(whole->forward_backward(1, batch, loss_fn::cross_entropy, {}).has_value());
  auto adapted =
      test::make_adapter_trainer(model, lora, start, std::move(gpu::make_thread_comms(1).front()));
  must(adapted->forward_backward(1, batch, loss_fn::cross_entropy, {}).has_value());
  const adam_params only_moments{.learning_rate = 0, .beta1 = 0, .eps = 1e-8};
  test::model_memory matrix_moments(model);
  test::model_memory adapter_moments(model, lora);
  must(whole->optim_step(only_moments).has_value() && whole->save(matrix_moments).has_value());
  must(adapted->optim_step(only_moments).has_value() && adapted->save(adapter_moments).has_value());
  double norm = 0;
  for (const gpu::adapter& each : adapters) {
    const auto& dw = matrix_moments.parameters(state_part::exp_avg)[each.matrix];
    const auto& a = start.parameters(state_part::weights)[each.a];
    const auto& db = adapter_moments.parameters(state_part::exp_avg)[each.b];
    std::vector<float> expected(db.size());
    for (std::size_t row = 0; row < each.outputs; ++row)
      for (std::size_t r = 0; r < 2; ++r)
        for (std::size_t i = 0; i < each.inputs; ++i)
          expected[row * 2 + r] += 3 * dw[row * each.inputs + i] * a[r * each.inputs + i];
    BOOST_TEST(relative_distance(db, expected) <= 1e-4);
    for (const float value : expected)
      norm += static_cast<double>(value) * static_cast<double>(value);
  }
  BOOST_TEST(norm > 0.0);
}

}  // namespace
