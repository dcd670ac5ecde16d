// The sampler against Hugging Face transformers and against the trainer.

#include <map>
#include <string>
#include <vector>

#include <boost/test/data/test_case.hpp>
#include <boost/test/unit_test.hpp>

#include "gpu/bf16.hpp"
#include "gpu/comm/thread_comm.hpp"
#include "gpu/models/parameter_layout.hpp"
#include "gpu/torch/sampler.hpp"
#include "storage/hf_directory.hpp"
#include "tests/conformance/engine_memory.hpp"
#include "tests/conformance/golden_case.hpp"

namespace {

using namespace troupe;

const auto cases = boost::unit_test::data::make({"tied", "untied", "odd", "wide_heads", "wide",
                                                 "llama", "llama_plain", "qwen2", "qwen2_untied",
                                                 "experts", "experts_plain"});

struct loaded_case {
  test::golden_case golden;
  model_config model;
  std::unique_ptr<test::model_memory> memory;  ///< weights rounded to bf16
  std::unique_ptr<gpu::sampler_engine> sampler;
};

loaded_case load_case(const std::string& name) {
  loaded_case c{test::read_golden_case(name), {}, {}, {}};
  auto directory = storage::open_hf_directory(c.golden.model_directory);
  BOOST_REQUIRE(directory.has_value());
  c.model = (*directory)->config();
  c.memory = std::make_unique<test::model_memory>(c.model);
  const auto layout = gpu::parameter_layout(c.model);
  for (std::uint32_t p = 0; p < layout.size(); ++p) {
    auto& values = c.memory->parameters(gpu::state_part::weights)[p];
    BOOST_REQUIRE((*directory)->read(layout[p].name, 0, values).has_value());
    std::vector<std::uint16_t> bits;
    for (float& value : values) {
      bits.push_back(gpu::to_bf16(value));
      value = gpu::from_bf16(bits.back());
    }
    BOOST_REQUIRE(c.memory->write({p, 0, bits.size()}, bits).has_value());
  }
  c.sampler = std::move(*gpu::make_torch_sampler(c.model));
  BOOST_REQUIRE(c.sampler->load(*c.memory).has_value());
  return c;
}

using sequences = std::map<std::uint64_t, std::pair<std::vector<token_id>, std::vector<float>>>;

sequences decode_all(gpu::sampler_engine& sampler) {
  sequences out;
  while (sampler.num_active() > 0) {
    const auto step = sampler.step();
    BOOST_REQUIRE(step.has_value());
    for (const gpu::decoded_token& token : *step) {
      out[token.sequence].first.push_back(token.chosen.token);
      out[token.sequence].second.push_back(token.chosen.logprob);
    }
  }
  return out;
}

/// Logprobs the trainer gives the decoded tokens.
std::vector<float> trained_logprobs(loaded_case& c, const std::vector<token_id>& prompt,
                                    const std::vector<token_id>& tokens) {
  auto trainer =
      test::make_loaded_trainer(c.model, *c.memory, std::move(gpu::make_thread_comms(1).front()));
  datum data;
  data.tokens = prompt;
  data.tokens.insert(data.tokens.end(), tokens.begin(), tokens.end());
  data.target_tokens.assign(data.tokens.begin() + 1, data.tokens.end());
  data.tokens.pop_back();
  const auto forward = trainer->forward(1, {&data, 1}, retention::discard);
  BOOST_REQUIRE(forward.has_value());
  const auto& all = forward->logprobs.front();
  return {all.end() - static_cast<std::ptrdiff_t>(tokens.size()), all.end()};
}

BOOST_DATA_TEST_CASE(greedy_tokens_agree, cases, name) {
  loaded_case c = load_case(name);
  for (std::size_t i = 0; i < c.golden.greedy.size(); ++i) {
    gpu::sequence_start start;
    start.sequence = i;
    start.prompt = c.golden.greedy[i].prompt;
    start.params.temperature = 0;
    start.params.max_tokens = static_cast<std::uint32_t>(c.golden.greedy[i].tokens.size());
    BOOST_REQUIRE(c.sampler->admit(start).has_value());
  }
  const sequences decoded = decode_all(*c.sampler);
  for (std::size_t i = 0; i < c.golden.greedy.size(); ++i)
    BOOST_TEST(decoded.at(i).first == c.golden.greedy[i].tokens, boost::test_tools::per_element());
}

BOOST_DATA_TEST_CASE(logprobs_are_the_trainers, cases, name) {
  loaded_case c = load_case(name);
  gpu::sequence_start start;
  start.prompt = c.golden.greedy.back().prompt;
  start.params.max_tokens = 60;
  start.params.seed = 11;
  BOOST_REQUIRE(c.sampler->admit(start).has_value());
  const sequences decoded = decode_all(*c.sampler);
  const auto& [tokens, logprobs] = decoded.at(0);
  BOOST_REQUIRE(tokens.size() == 60U);
  const double distance =
      test::relative_distance(logprobs, trained_logprobs(c, start.prompt, tokens));
  BOOST_TEST_MESSAGE(name << ": sampler to trainer " << distance);
  BOOST_TEST(distance <= 1e-5);
}

}  // namespace
