// Accumulated gradients are divided by what was counted, then measured, then clipped: on any number
// of ranks, over several passes, in one phase or two, with one target per position or several.

#include <algorithm>
#include <cmath>
#include <functional>
#include <span>
#include <utility>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "tests/conformance/golden_case.hpp"
#include "tests/conformance/trainer_fixture.hpp"

namespace {

using namespace troupe;
using gpu::state_part;
using test::fixture;
using test::gradient_of;
using test::metric_of;
using test::on_ranks;
using test::part_of;
using test::relative_distance;
using test::saved;

/// Adds the gradients of some datums; `seq_id` is new.
using accumulation =
    std::function<bool(gpu::trainer_engine&, std::uint64_t seq_id, std::span<const datum>)>;

bool in_one_phase(gpu::trainer_engine& trainer, std::uint64_t seq_id, std::span<const datum> part) {
  return trainer.forward_backward(seq_id, part, loss_fn::cross_entropy, {}).has_value();
}

bool in_two_phases(gpu::trainer_engine& trainer, std::uint64_t seq_id,
                   std::span<const datum> part) {
  return trainer.forward(seq_id, part, retention::keep_for_backward).has_value() &&
         trainer.backward(seq_id, gradient_of(part)).has_value();
}

/// What a step used: without learning rate and with beta1 = 0 the first moments are its gradients.
struct used_gradients {
  std::vector<float> values;
  std::vector<double> norms;  ///< as each rank reported it
};

struct step_options {
  gradient_normalization kind = gradient_normalization::none;
  double grad_clip_norm = 0;
};

/// Two passes of all ranks, the last of which has nothing when there are several, and a step.
used_gradients take_step(fixture& f, std::uint32_t world_size, const accumulation& accumulate,
                         const step_options& options) {
  auto trainers = f.ranks(world_size, f.memory);
  adam_params adam{.learning_rate = 0, .beta1 = 0};
  adam.normalization = options.kind;
  adam.grad_clip_norm = options.grad_clip_norm;
  used_gradients used;
  used.norms.resize(world_size);
  const std::size_t with_rows = std::max(1U, world_size - 1);
  on_ranks(world_size, [&](std::size_t rank) {
    const auto part = rank < with_rows ? part_of(f.batch, rank, with_rows) : std::vector<datum>{};
    const std::size_t half = part.size() / 2;
    if (!accumulate(*trainers[rank], 1, std::span(part).first(half))) return;
    if (!accumulate(*trainers[rank], 2, std::span(part).subspan(half))) return;
    const auto step = trainers[rank]->optim_step(adam);
    if (step) used.norms[rank] = metric_of(step->metrics, "grad_norm:max");
  });
  used.values = saved(f.model, trainers).flat(state_part::exp_avg);
  return used;
}

double norm_of(std::span<const float> values) {
  double sum = 0;
  for (const float value : values)
    sum += static_cast<double>(value) * static_cast<double>(value);
  return std::sqrt(sum);
}

/// Positions with a weight, and sequences with such a position.
std::pair<double, double> counted(const std::vector<datum>& batch) {
  double positions = 0;
  double sequences = 0;
  for (const datum& data : batch) {
    const std::size_t targets = data.weights.size() / data.tokens.size();
    double of_this = 0;
    for (std::size_t i = 0; i < data.tokens.size(); ++i) {
      const auto weights = std::span(data.weights).subspan(i * targets, targets);
      if (std::ranges::any_of(weights, [](float w) { return w != 0.0F; })) ++of_this;
    }
    positions += of_this;
    if (of_this > 0) ++sequences;
  }
  return {positions, sequences};
}

/// `divided` is the gradient times 1 / count. Norms below and above what clips it: clipping the sum
/// first would make both gradients smaller than they are.
void check_order(fixture& f, const accumulation& accumulate) {
  const auto sums = take_step(f, 1, accumulate, {});
  const double norm = norm_of(sums.values);
  const auto [positions, sequences] = counted(f.batch);
  BOOST_TEST_REQUIRE(sequences > 4);
  BOOST_TEST_REQUIRE(positions > 2 * sequences);
  for (const std::uint32_t world_size : {1U, 3U})
    for (const auto& [kind, count] : {std::pair{gradient_normalization::none, 1.0},
                                      std::pair{gradient_normalization::num_loss_tokens, positions},
                                      std::pair{gradient_normalization::num_sequences, sequences}})
      for (const double clip : {0.0, 0.5 * norm / count, 2 * norm / count}) {
        auto step = take_step(f, world_size, accumulate, {kind, clip});
        for (const double reported : step.norms)
          BOOST_TEST(std::abs(reported - norm / count) <= 1e-6 * norm / count);
        const bool is_clipped = clip > 0 && clip < norm / count;
        const double scale = is_clipped ? clip / norm : 1.0 / count;
        std::vector<float> expected = sums.values;
        for (float& value : expected)
          value *= static_cast<float>(scale);
        BOOST_TEST(relative_distance(step.values, expected) <= 1e-5);
      }
}

/// One sequence without weights at all, and positions without any in the others.
void take_weights_away(std::vector<datum>& batch) {
  for (std::size_t d = 0; d < batch.size(); ++d) {
    datum& data = batch[d];
    const std::size_t targets = data.weights.size() / data.tokens.size();
    for (std::size_t i = 0; i < data.weights.size(); ++i)
      if (d == 3 || i / targets % 5 == 4) data.weights[i] = 0.0F;
  }
}

BOOST_FIXTURE_TEST_CASE(gradients_are_divided_before_they_are_clipped, fixture) {
  take_weights_away(batch);
  check_order(*this, in_one_phase);
}

BOOST_FIXTURE_TEST_CASE(two_phases_count_what_one_does, fixture) {
  take_weights_away(batch);
  check_order(*this, in_two_phases);
}

BOOST_FIXTURE_TEST_CASE(a_position_with_several_targets_counts_once, fixture) {
  batch = test::with_three_targets(batch, static_cast<token_id>(model.vocab_size)).joined;
  take_weights_away(batch);
  check_order(*this, in_one_phase);
  check_order(*this, in_two_phases);
}

}  // namespace
