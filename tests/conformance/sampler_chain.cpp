// A replica that took a long chain of deltas between tokens is the model that the chain
// materializes to: the same bits, and the same greedy answers as a fresh load of that directory.

#include <array>
#include <map>
#include <random>

#include <boost/test/unit_test.hpp>

#include "actors/engine_io/replica_weights.hpp"
#include "apps/support/checkpoint_export.hpp"
#include "gpu/make_engine.hpp"
#include "gpu/models/parameter_layout.hpp"
#include "storage/chain_fold.hpp"
#include "storage/open_store.hpp"
#include "tests/conformance/engine_memory.hpp"
#include "tests/support/random_tensors.hpp"
#include "tests/support/scratch_folder.hpp"
#include "tests/support/weight_publisher.hpp"

namespace troupe {
namespace {

constexpr int num_deltas = 500;

struct output {
  std::vector<token_id> tokens;
  std::vector<float> logprobs;
  bool operator==(const output&) const = default;
};
using outputs = std::map<std::uint64_t, output>;

/// Moves few weights to neighbouring values, some to the other zero and some to denormals; values
/// stay those of a model.
void train_a_little(std::vector<std::uint16_t>& bits, std::mt19937& random) {
  constexpr std::array<std::uint16_t, 6> small = {0x0000, 0x8000, 0x0001, 0x8001, 0x007f, 0x807f};
  for (auto& value : bits) {
    const auto dice = random() % 1000;
    if (dice < 20 && (value & 0x7fffU) < 0x3f80U) value = static_cast<std::uint16_t>(value ^ 1U);
    if (dice == 20) value = small[random() % small.size()];
  }
}

struct serving {
  serving(gpu::engine_factory& engines, storage::blob_store& blobs, const std::string& directory)
      : weights(engines, blobs) {
    auto opened = weights.open(model_source{directory});
    BOOST_REQUIRE(opened.has_value());
    engine = std::move(*opened);
  }

  void sync(std::uint64_t version, std::vector<checkpoint_record> chain) {
    const auto staged = weights.stage({version, std::move(chain)});
    BOOST_REQUIRE(staged.has_value());
    BOOST_REQUIRE(engine->commit(*(*staged)->weights, gpu::cache_policy::keep).has_value());
    weights.adopt(**staged);
  }

  outputs greedy() {
    for (std::uint32_t i = 0; i < 6; ++i) {
      gpu::sequence_start start;
      start.sequence = i;
      for (std::uint32_t t = 0; t < 3 + 17 * i; ++t)
        start.prompt.push_back(static_cast<token_id>((11 * t + i) % 71));
      start.params.max_tokens = 40;
      start.params.temperature = 0;
      BOOST_REQUIRE(engine->admit(std::move(start)).has_value());
    }
    outputs out;
    while (engine->num_active() > 0) {
      const auto step = engine->step();
      BOOST_REQUIRE(step.has_value());
      for (const auto& token : *step) {
        out[token.sequence].tokens.push_back(token.chosen.token);
        out[token.sequence].logprobs.push_back(token.chosen.logprob);
      }
    }
    return out;
  }

  actors::replica_weights weights;
  std::shared_ptr<gpu::sampler_engine> engine;
};

}  // namespace

BOOST_AUTO_TEST_CASE(a_long_chain_serves_what_it_materializes_to) {
  const tests::scratch_folder folder;
  storage::hf_export target;
  target.directory = folder.path() + "/model";
  target.config = test::small_sampler_model(400);
  tests::random_tensors values(5, 0.3F);
  BOOST_REQUIRE(storage::write_hf_directory(target, gpu::parameter_layout(target.config), values));
  const auto engines = gpu::make_engine_factory({}).value();
  const auto blobs = storage::make_memory_blob_store();
  auto model = actors::open_model({target.directory}).value();
  tests::weight_publisher trainer(model, *blobs);
  serving live(*engines, *blobs, target.directory);
  const outputs at_first = live.greedy();
  std::vector<checkpoint_record> chain{trainer.base()};
  chain.front().manifest.model_directory = target.directory;
  live.sync(1, {chain.front()});
  std::mt19937 random(3);
  for (int i = 0; i < num_deltas; ++i) {
    chain.push_back(trainer.delta([&](auto& bits) { train_a_little(bits, random); }));
    chain.back().manifest.model_directory = target.directory;
    live.sync(chain.size(), {chain.back()});
  }
  const outputs answers = live.greedy();
  BOOST_TEST((answers != at_first));

  const std::string directory = folder.path() + "/materialized";
  BOOST_REQUIRE(apps::export_checkpoint(*blobs, chain, directory));
  serving fresh(*engines, *blobs, directory);
  BOOST_TEST((fresh.weights.state() == chain.back().manifest.state));
  BOOST_TEST((fresh.greedy() == answers));

  auto again = actors::open_model({directory}).value();
  BOOST_TEST((tests::weight_publisher(again, *blobs).bits() == trainer.bits()));

  // Who comes late, along the chain and along its fold.
  const auto fold = storage::fold_chain(*blobs, chain);
  BOOST_REQUIRE(fold.has_value());
  const std::vector<checkpoint_record> folded{chain.front(), {chain.back().id, *fold}};
  for (const auto& path : {chain, folded}) {
    serving late(*engines, *blobs, target.directory);
    late.sync(1, path);
    BOOST_TEST((late.greedy() == answers));
  }
}

}  // namespace troupe
