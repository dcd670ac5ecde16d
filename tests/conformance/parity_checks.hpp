#pragma once

// How far an engine may be from the goldens, the same for every kind of training.
//
// Threading: of the running test, whose checks these are.

#include <algorithm>
#include <cmath>
#include <span>
#include <string>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "gpu/trainer_engine.hpp"
#include "tests/conformance/golden_case.hpp"

namespace troupe::test {

/// Steps and parameters of make_goldens.py.
inline constexpr std::size_t golden_steps = 20;
[[nodiscard]] inline adam_params golden_adam() {
  return {.learning_rate = 1e-3,
          .beta1 = 0.9,
          .beta2 = 0.95,
          .eps = 1e-8,
          .weight_decay = 0.1,
          .grad_clip_norm = 2.0};
}

/// Trains as make_goldens.py did; the norm that each step reports.
inline std::vector<float> take_golden_steps(const golden_case& golden,
                                            gpu::trainer_engine& trainer) {
  std::vector<float> norms;
  for (std::size_t step = 0; step < golden_steps; ++step) {
    const auto& batch = golden.batches[step % golden.batches.size()];
    BOOST_REQUIRE(
        trainer.forward_backward(step + 1, batch, loss_fn::cross_entropy, {}).has_value());
    const auto done = trainer.optim_step(golden_adam());
    BOOST_REQUIRE(done.has_value());
    for (const auto& [key, value] : done->metrics)
      if (key == "grad_norm:max") norms.push_back(static_cast<float>(value));
  }
  return norms;
}

/// Each norm by itself, because the largest would hide the others.
inline void check_norms(const std::string& name, const std::vector<float>& norms) {
  const auto expected = read_golden_floats(name, "norms.f32");
  BOOST_REQUIRE(expected.size() == golden_steps);
  BOOST_REQUIRE(norms.size() == golden_steps);
  for (std::size_t step = 0; step < golden_steps; ++step)
    BOOST_TEST(std::abs(norms[step] - expected[step]) <= 1e-4F * expected[step],
               name << ", step " << step << ": " << norms[step] << " and " << expected[step]);
}

[[nodiscard]] inline std::vector<float> joined(const std::vector<std::vector<float>>& parts) {
  std::vector<float> out;
  for (const auto& part : parts)
    out.insert(out.end(), part.begin(), part.end());
  return out;
}

inline void check_logprobs(const std::string& name, const golden_case& golden,
                           gpu::trainer_engine& trainer) {
  const auto forward = trainer.forward(1, golden.batches[0], retention::discard);
  BOOST_REQUIRE(forward.has_value());
  const double distance = relative_distance(joined(forward->logprobs), golden.logprobs);
  BOOST_TEST_MESSAGE(name << ": logprobs " << distance);
  BOOST_TEST(distance <= 1e-5);
}

/// One check per parameter of `layout`, in whose order both lists are.
inline void check_gradients(const std::string& name, const std::vector<parameter_spec>& layout,
                            const std::vector<float>& gradients, const golden_case& golden) {
  BOOST_REQUIRE(gradients.size() == golden.gradients.size());
  std::size_t at = 0;
  double worst = 0;
  for (const parameter_spec& spec : layout) {
    const auto mine = std::span(gradients).subspan(at, spec.num_elements());
    const auto theirs = std::span(golden.gradients).subspan(at, spec.num_elements());
    const double distance = relative_distance(mine, theirs);
    BOOST_TEST(distance <= 1e-4, spec.name << " differs by " << distance);
    worst = std::max(worst, distance);
    at += spec.num_elements();
  }
  BOOST_TEST_MESSAGE(name << ": worst gradient " << worst);
}

}  // namespace troupe::test
