// The trainer against Hugging Face transformers, on the goldens of make_goldens.py.

#include <algorithm>
#include <iterator>
#include <string>
#include <vector>

#include <boost/test/data/test_case.hpp>
#include <boost/test/unit_test.hpp>

#include "gpu/comm/thread_comm.hpp"
#include "gpu/models/parameter_layout.hpp"
#include "tests/conformance/engine_memory.hpp"
#include "tests/conformance/golden_model.hpp"
#include "tests/conformance/parity_checks.hpp"
#include "tests/conformance/trainer_fixture.hpp"

namespace {

using namespace troupe;
using test::relative_distance;

const auto cases = boost::unit_test::data::make(
    {"tied", "untied", "odd", "wide_heads", "wide", "llama", "llama_plain", "qwen2", "qwen2_untied",
     "experts", "experts_plain", "shards_tied", "shards_llama", "shards_qwen2", "shards_experts"});

const auto expert_cases = boost::unit_test::data::make({"experts", "experts_plain"});

struct loaded_case {
  test::golden_case golden;
  model_config model;
  std::unique_ptr<gpu::trainer_engine> trainer;
};

loaded_case load_case(const std::string& name) {
  auto [golden, model, weights] = test::read_golden_model(name);
  auto trainer =
      test::make_loaded_trainer(model, weights, std::move(gpu::make_thread_comms(1).front()));
  return {std::move(golden), model, std::move(trainer)};
}

BOOST_DATA_TEST_CASE(logprobs_agree, cases, name) {
  loaded_case c = load_case(name);
  test::check_logprobs(name, c.golden, *c.trainer);
}

BOOST_DATA_TEST_CASE(router_metrics_agree, expert_cases, name) {
  loaded_case c = load_case(name);
  const auto& batch = c.golden.batches[0];
  const auto expected = test::read_golden_floats(name, "routers.f32");
  const auto forward = c.trainer->forward(1, batch, retention::discard);
  const auto both = c.trainer->forward_backward(2, batch, loss_fn::cross_entropy, {});
  BOOST_REQUIRE((forward.has_value() && both.has_value()));
  for (const auto& pass : {*forward, *both}) {
    const double loss = test::metric_of(pass.metrics, "router_balance_loss:mean");
    const double share = test::metric_of(pass.metrics, "busiest_expert_share:max");
    BOOST_TEST(loss == static_cast<double>(expected[0]), boost::test_tools::tolerance(1e-5));
    BOOST_TEST(share == static_cast<double>(expected[1]), boost::test_tools::tolerance(1e-6));
  }
}

/// Tokens whose logprobs are this close may change places.
constexpr float tie = 1e-4F;
/// Of make_goldens.py.
constexpr std::uint32_t golden_topk = 5;

BOOST_DATA_TEST_CASE(details_agree, cases, name) {
  loaded_case c = load_case(name);
  const auto& batch = c.golden.batches[0];
  const auto pass = c.trainer->forward(1, batch, retention::discard,
                                       {golden_topk, true, embedding_kind::per_token});
  BOOST_REQUIRE(pass.has_value());
  BOOST_REQUIRE(pass->details.size() == batch.size());
  datum_details all;
  for (std::size_t i = 0; i < batch.size(); ++i) {
    const datum_details& each = pass->details[i];
    BOOST_TEST(each.entropies.size() == batch[i].tokens.size());
    BOOST_TEST(each.embedding.size() == batch[i].tokens.size() * c.model.hidden_size);
    std::ranges::copy(each.entropies, std::back_inserter(all.entropies));
    std::ranges::copy(each.embedding, std::back_inserter(all.embedding));
    std::ranges::copy(each.topk.tokens, std::back_inserter(all.topk.tokens));
    std::ranges::copy(each.topk.logprobs, std::back_inserter(all.topk.logprobs));
  }
  const auto best = test::read_golden_floats(name, "topk.f32");
  BOOST_TEST(relative_distance(all.embedding, test::read_golden_floats(name, "hidden.f32")) <=
             1e-5);
  BOOST_TEST(relative_distance(all.entropies, test::read_golden_floats(name, "entropies.f32")) <=
             1e-5);
  BOOST_TEST(relative_distance(all.topk.logprobs, best) <= 1e-5);
  const auto tokens = test::read_golden_tokens(name, "topk.i32");
  BOOST_REQUIRE(tokens.size() == all.topk.tokens.size());
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    const bool ties_above = i % golden_topk != 0 && best[i - 1] - best[i] < tie;
    const bool ties_below = i % golden_topk == golden_topk - 1 || best[i] - best[i + 1] < tie;
    if (!ties_above && !ties_below) BOOST_TEST(all.topk.tokens[i] == tokens[i]);
  }
}

BOOST_DATA_TEST_CASE(pooled_embeddings_are_of_the_same_states, cases, name) {
  loaded_case c = load_case(name);
  const auto& batch = c.golden.batches[0];
  const auto told = [&](embedding_kind kind) {
    auto pass = c.trainer->forward(1, batch, retention::discard, {0, false, kind});
    BOOST_REQUIRE(pass.has_value());
    return std::move(pass->details);
  };
  const auto rows = told(embedding_kind::per_token);
  const auto last = told(embedding_kind::last);
  const auto mean = told(embedding_kind::mean);
  const auto width = static_cast<std::ptrdiff_t>(c.model.hidden_size);
  for (std::size_t i = 0; i < batch.size(); ++i) {
    BOOST_TEST((last[i].embedding ==
                std::vector<float>(rows[i].embedding.end() - width, rows[i].embedding.end())));
    std::vector<float> expected(c.model.hidden_size);
    for (std::size_t at = 0; at < rows[i].embedding.size(); ++at)
      expected[at % expected.size()] +=
          rows[i].embedding[at] / static_cast<float>(batch[i].tokens.size());
    BOOST_TEST(relative_distance(mean[i].embedding, expected) <= 1e-5);
  }
}

BOOST_DATA_TEST_CASE(every_gradient_agrees, cases, name) {
  loaded_case c = load_case(name);
  BOOST_REQUIRE(
      c.trainer->forward_backward(1, c.golden.batches[0], loss_fn::cross_entropy, {}).has_value());
  test::check_gradients(name, gpu::parameter_layout(c.model),
                        test::take_gradient(c.model, *c.trainer), c.golden);
}

BOOST_DATA_TEST_CASE(training_agrees, cases, name) {
  loaded_case c = load_case(name);
  test::check_norms(name, test::take_golden_steps(c.golden, *c.trainer));
  test::model_memory memory(c.model);
  BOOST_REQUIRE(c.trainer->save(memory).has_value());
  const double distance =
      relative_distance(memory.flat(gpu::state_part::weights), c.golden.trained);
  BOOST_TEST_MESSAGE(name << ": parameters after " << test::golden_steps << " steps " << distance);
  BOOST_TEST(distance <= 1e-4);
}

}  // namespace
