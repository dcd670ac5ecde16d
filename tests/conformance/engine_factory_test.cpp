// The factory as a node uses it: what it refuses, and ranks that meet over sockets and train.

#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "gpu/make_engine.hpp"
#include "tests/conformance/engine_memory.hpp"
#include "tests/conformance/golden_case.hpp"
#include "tests/support/small_model.hpp"

namespace {

using namespace troupe;
using tests::small_model;

struct trained {
  state_digest weights;
  std::string failure;
};

/// One step of one rank, from listening to the digest of its slices.
trained train_rank(gpu::engine_factory& engines, gpu::comm_listener& listener,
                   const std::vector<std::string>& addresses, test::model_memory& memory,
                   const std::vector<datum>& part) {
  auto ranks = listener.connect(addresses);
  if (!ranks) return {{}, to_string(ranks.error())};
  auto trainer = engines.make_trainer(small_model(), std::move(*ranks));
  if (!trainer) return {{}, to_string(trainer.error())};
  if (auto ok = (*trainer)->load(memory, optimizer_state::reset, 0); !ok)
    return {{}, to_string(ok.error())};
  const auto done = (*trainer)->forward_backward(1, part, loss_fn::cross_entropy, {});
  if (!done) return {{}, to_string(done.error())};
  const auto step = (*trainer)->optim_step({.learning_rate = 1e-2, .eps = 1e-8});
  if (!step) return {{}, to_string(step.error())};
  if (auto ok = (*trainer)->save(memory); !ok) return {{}, to_string(ok.error())};
  return {step->weights, {}};
}

/// Weights after one step on `world_size` ranks that meet over sockets.
std::vector<float> train(std::uint32_t world_size) {
  auto engines = gpu::make_engine_factory({});
  BOOST_REQUIRE(engines.has_value());
  const model_config model = small_model();
  test::model_memory start(model);
  test::fill_randomly(start, model, 2);
  const auto batch = test::random_batch(model, {20, 7, 33, 12}, 3);
  std::vector<std::unique_ptr<gpu::comm_listener>> listeners;
  std::vector<std::string> addresses;
  for (std::uint32_t rank = 0; rank < world_size; ++rank) {
    listeners.push_back(std::move(*(*engines)->listen(rank, world_size, "token")));
    addresses.push_back(listeners.back()->address());
  }
  std::vector<test::model_memory> memories(world_size, start);
  std::vector<trained> results(world_size);
  {
    std::vector<std::jthread> threads;
    for (std::uint32_t rank = 0; rank < world_size; ++rank)
      threads.emplace_back([&, rank] {
        std::vector<datum> part;
        for (std::size_t i = rank; i < batch.size(); i += world_size)
          part.push_back(batch[i]);
        results[rank] = train_rank(**engines, *listeners[rank], addresses, memories[rank], part);
      });
  }
  for (const trained& result : results)
    BOOST_REQUIRE_MESSAGE(result.failure.empty(), result.failure);
  // Each rank saved its own slices over the common start; moments are zero elsewhere.
  std::vector<float> moments = memories[0].flat(gpu::state_part::exp_avg);
  for (std::uint32_t rank = 1; rank < world_size; ++rank) {
    const auto other = memories[rank].flat(gpu::state_part::exp_avg);
    for (std::size_t i = 0; i < moments.size(); ++i)
      moments[i] += other[i];
  }
  return moments;
}

BOOST_AUTO_TEST_CASE(ranks_over_sockets_sum_their_gradients) {
  const auto alone = train(1);
  BOOST_TEST(test::relative_distance(train(2), alone) <= 1e-6);
  BOOST_TEST(test::relative_distance(train(3), alone) <= 1e-6);
}

BOOST_AUTO_TEST_CASE(unknown_devices_and_models_are_refused) {
  gpu::engine_options options;
  options.device = "cuda:60";
  const auto missing = gpu::make_engine_factory(options);
  BOOST_REQUIRE(!missing.has_value());
  BOOST_TEST((missing.error().code == errc::engine_not_built));
  BOOST_TEST(missing.error().what.find("GPU 60") != std::string::npos);
  options.device = "tpu";
  BOOST_TEST((gpu::make_engine_factory(options).error().code == errc::invalid_argument));
  // No machine has as many.
  options.device = "auto:60";
  BOOST_TEST(gpu::make_engine_factory(options).has_value());
  options = {};
  options.num_threads = 0;
  BOOST_TEST((gpu::make_engine_factory(options).error().code == errc::invalid_argument));

  auto engines = gpu::make_engine_factory({});
  BOOST_REQUIRE(engines.has_value());
  model_config odd = small_model();
  odd.num_kv_heads = 3;
  BOOST_TEST(((*engines)->make_sampler(odd).error().code == errc::bad_model));
  auto listener = (*engines)->listen(0, 1, "");
  BOOST_REQUIRE(listener.has_value());
  auto ranks = (*listener)->connect({});
  BOOST_REQUIRE(ranks.has_value());
  BOOST_TEST(((*engines)->make_trainer(odd, std::move(*ranks)).error().code == errc::bad_model));
}

BOOST_AUTO_TEST_CASE(a_gpu_is_refused_where_its_products_would_not_repeat) {
  constexpr const char* variable = "CUBLAS_WORKSPACE_CONFIG";
  const char* const before = std::getenv(variable);
  const std::string kept = before == nullptr ? "" : before;
  setenv(variable, ":8:8", 1);
  const auto refused = gpu::make_engine_factory({.device = "auto"});
  BOOST_REQUIRE(!refused.has_value());
  BOOST_TEST((refused.error().code == errc::invalid_argument));
  BOOST_TEST(refused.error().what.starts_with("CUBLAS_WORKSPACE_CONFIG is \":8:8\""));
  setenv(variable, ":16:8", 1);
  BOOST_TEST(gpu::make_engine_factory({.device = "auto"}).has_value());
  BOOST_TEST(std::getenv(variable) == std::string(":16:8"));
  unsetenv(variable);
  BOOST_TEST(gpu::make_engine_factory({.device = "auto"}).has_value());
  BOOST_TEST(std::getenv(variable) == std::string(":4096:8"));
  if (before != nullptr) setenv(variable, kept.c_str(), 1);
}

}  // namespace
