// What a trainer promises whatever the model: phases, packing, ranks, recovery of state, refusals.

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <utility>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "config/limits.hpp"
#include "gpu/comm/thread_comm.hpp"
#include "messages/state_digest.hpp"
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
using test::small_model;
using test::some_adam;
using test::step_together;
using test::trainer_list;
using test::with_three_targets;

BOOST_FIXTURE_TEST_CASE(two_phases_equal_one_shot, fixture) {
  auto one_shot = alone();
  auto two_phase = alone();
  for (int repeat = 0; repeat < 2; ++repeat) {
    const auto direct = one_shot->forward_backward(1, batch, loss_fn::cross_entropy, {});
    const auto forward = two_phase->forward(7, batch, retention::keep_for_backward);
    BOOST_REQUIRE((direct.has_value() && forward.has_value()));
    BOOST_TEST((direct->logprobs == forward->logprobs));
    std::vector<std::vector<float>> gradients;
    for (const datum& data : batch) {
      gradients.emplace_back();
      for (const float weight : data.weights)
        gradients.back().push_back(-weight);
    }
    BOOST_REQUIRE(two_phase->backward(7, gradients).has_value());
    BOOST_TEST((two_phase->backward(7, gradients).error().code == errc::not_found));
  }
  BOOST_TEST((test::take_gradient(model, *one_shot) == test::take_gradient(model, *two_phase)));
}

BOOST_FIXTURE_TEST_CASE(recomputation_gives_the_same_bits, fixture) {
  auto keeping = alone();
  auto frugal = alone({.threads = {}, .kept_activation_bytes = 0, .kept_logit_bytes = 0});
  for (auto* trainer : {keeping.get(), frugal.get()})
    BOOST_REQUIRE(trainer->forward_backward(1, batch, loss_fn::cross_entropy, {}).has_value());
  BOOST_TEST((test::take_gradient(model, *keeping) == test::take_gradient(model, *frugal)));
}

BOOST_FIXTURE_TEST_CASE(thread_count_does_not_matter, fixture) {
  auto expected = alone();
  BOOST_REQUIRE(expected->forward_backward(1, batch, loss_fn::cross_entropy, {}).has_value());
  const state_digest digest = expected->optim_step(some_adam())->weights;
  for (const std::size_t num_threads : {2U, 3U, 5U}) {
    auto threaded = alone({.threads = std::make_shared<gpu::thread_pool>(num_threads)});
    BOOST_REQUIRE(threaded->forward_backward(1, batch, loss_fn::cross_entropy, {}).has_value());
    const auto step = threaded->optim_step(some_adam());
    BOOST_REQUIRE(step.has_value());
    BOOST_TEST((step->weights == digest));
  }
}

BOOST_FIXTURE_TEST_CASE(packing_does_not_matter, fixture) {
  // More rows than one task of a product and one chunk of the head take.
  batch = test::random_batch(model, {250, 256, 241, 7, 255, 200, 256, 256, 131, 256, 255}, 6);
  auto packed = alone();
  auto single = alone();
  const auto all = packed->forward_backward(1, batch, loss_fn::cross_entropy, {});
  BOOST_REQUIRE(all.has_value());
  double loss = 0;
  for (std::size_t i = 0; i < batch.size(); ++i) {
    const auto one =
        single->forward_backward(2 + i, std::span(batch).subspan(i, 1), loss_fn::cross_entropy, {});
    BOOST_REQUIRE(one.has_value());
    BOOST_TEST((one->logprobs.front() == all->logprobs[i]));
    BOOST_REQUIRE(one->metrics.front().first == "loss:sum");
    loss += one->metrics.front().second;
  }
  BOOST_TEST(std::abs(loss - all->metrics.front().second) <= 1e-9 * std::abs(loss));
  BOOST_TEST(relative_distance(test::take_gradient(model, *single),
                               test::take_gradient(model, *packed)) <= 1e-6);
}

BOOST_FIXTURE_TEST_CASE(world_size_does_not_matter, fixture) {
  auto one = ranks(1, memory);
  step_together(one, batch, 1);
  const auto expected = saved(model, one);
  for (const std::uint32_t world_size : {2U, 3U, 4U}) {
    auto many = ranks(world_size, memory);
    // The last rank gets nothing and still takes part.
    step_together(many, batch, world_size - 1);
    const auto actual = saved(model, many);
    for (const state_part part : {state_part::exp_avg, state_part::exp_avg_sq})
      BOOST_TEST(relative_distance(actual.flat(part), expected.flat(part)) <= 1e-6);
    // AdamW divides rounding noise by itself where a gradient is almost zero.
    BOOST_TEST(relative_distance(actual.flat(state_part::weights),
                                 expected.flat(state_part::weights)) <= 1e-5);
  }
}

BOOST_FIXTURE_TEST_CASE(state_moves_between_world_sizes, fixture) {
  auto two = ranks(2, memory);
  step_together(two, batch, 2);
  step_together(two, batch, 2);
  auto checkpoint = saved(model, two);
  const state_digest after_two = step_together(two, batch, 2);
  const auto expected = saved(model, two);
  for (const std::uint32_t world_size : {1U, 2U, 3U}) {
    auto resumed = ranks(world_size, checkpoint, optimizer_state::restore, 2);
    for (const state_part part : {state_part::weights, state_part::exp_avg, state_part::exp_avg_sq})
      BOOST_TEST((saved(model, resumed).flat(part) == checkpoint.flat(part)));
    const state_digest digest = step_together(resumed, batch, world_size);
    BOOST_TEST(resumed.front()->optimizer_steps() == 3U);
    if (world_size == 2) BOOST_TEST((digest == after_two));
    BOOST_TEST(relative_distance(saved(model, resumed).flat(state_part::weights),
                                 expected.flat(state_part::weights)) <= 1e-5);
  }
}

BOOST_FIXTURE_TEST_CASE(runs_repeat_bit_for_bit, fixture) {
  for (const std::uint32_t world_size : {1U, 3U}) {
    auto first = ranks(world_size, memory);
    auto second = ranks(world_size, memory);
    for (int step = 0; step < 3; ++step)
      BOOST_TEST((step_together(first, batch, 2) == step_together(second, batch, 2)));
  }
}

BOOST_FIXTURE_TEST_CASE(digest_is_that_of_the_weights, fixture) {
  for (const std::uint32_t world_size : {1U, 3U}) {
    auto trainers = ranks(world_size, memory);
    state_digest total;
    for (const auto& trainer : trainers)
      total += trainer->weights_digest();
    state_digest expected;
    std::uint32_t parameter = 0;
    for (const auto& values : memory.parameters(state_part::weights))
      add_elements(expected, parameter++, 0, std::span<const float>(values));
    BOOST_TEST((total == expected));
  }
}

BOOST_FIXTURE_TEST_CASE(infinite_gradient_changes_nothing, fixture) {
  for (const std::uint32_t world_size : {1U, 2U}) {
    auto trainers = ranks(world_size, memory);
    auto untouched = ranks(world_size, memory);
    auto broken = batch;
    broken[1].weights.assign(broken[1].weights.size(), 3e38F);
    std::vector<errc> codes(world_size, errc::none);
    on_ranks(world_size, [&](std::size_t rank) {
      auto& trainer = *trainers[rank];
      const auto part = part_of(broken, rank, world_size);
      if (!trainer.forward_backward(1, part, loss_fn::cross_entropy, {})) return;
      if (const auto step = trainer.optim_step(some_adam()); !step) codes[rank] = step.error().code;
    });
    for (const errc code : codes)
      BOOST_TEST((code == errc::not_finite));
    BOOST_TEST(trainers.front()->optimizer_steps() == 0U);
    BOOST_TEST(
        (saved(model, trainers).flat(state_part::weights) == memory.flat(state_part::weights)));
    BOOST_TEST((step_together(trainers, batch, world_size) ==
                step_together(untouched, batch, world_size)));
  }
}

BOOST_FIXTURE_TEST_CASE(damaged_weights_give_no_logprobs, fixture) {
  memory.parameters(state_part::weights).front().front() = std::numeric_limits<float>::quiet_NaN();
  for (datum& data : batch)
    data.tokens.front() = 0;
  for (const std::uint32_t world_size : {1U, 3U}) {
    auto trainers = ranks(world_size, memory);
    std::vector<error> errors(world_size);
    const auto refused = [&](const auto& call) {
      on_ranks(world_size, [&](std::size_t rank) {
        // Two ranks have datums.
        const auto part = part_of(batch, rank, std::min(world_size, 2U));
        const auto done = call(*trainers[rank], part);
        errors[rank] = done ? error{} : done.error();
      });
      for (const error& e : errors)
        BOOST_TEST((e.code == errc::not_finite && e == errors.front()));
    };
    for (const retention keep : {retention::discard, retention::keep_for_backward})
      refused([&](auto& trainer, const auto& part) { return trainer.forward(5, part, keep); });
    refused([](auto& trainer, const auto& part) {
      return trainer.forward_backward(6, part, loss_fn::cross_entropy, {});
    });
    on_ranks(world_size, [&](std::size_t rank) {
      const auto done = trainers[rank]->backward(5, {});
      errors[rank] = done ? error{} : done.error();
    });
    for (const error& e : errors)
      BOOST_TEST((e.code == errc::not_found));
  }
}

BOOST_FIXTURE_TEST_CASE(refusals_are_shared_and_change_nothing, fixture) {
  auto trainers = ranks(2, memory);
  auto untouched = ranks(2, memory);
  const auto refused = [&](std::vector<datum> second_part) {
    std::vector<error> errors(2);
    on_ranks(2, [&](std::size_t rank) {
      const auto part = rank == 1 ? second_part : part_of(batch, 0, 2);
      const auto done = trainers[rank]->forward_backward(1, part, loss_fn::cross_entropy, {});
      if (!done) errors[rank] = done.error();
    });
    BOOST_TEST((errors[0] == errors[1]));
    BOOST_TEST(errors[0].what.starts_with("rank 1: "));
    return errors[0].code;
  };
  auto broken = part_of(batch, 1, 2);
  broken[0].tokens[0] = static_cast<token_id>(model.vocab_size);
  BOOST_TEST((refused(broken) == errc::invalid_argument));
  broken = part_of(batch, 1, 2);
  broken[0].weights.pop_back();
  BOOST_TEST((refused(broken) == errc::invalid_argument));
  broken = test::random_batch(model, {model.max_positions + 1}, 5);
  BOOST_TEST((refused(broken) == errc::invalid_argument));
  broken = part_of(batch, 1, 2);
  broken[0].weights[3] = std::numeric_limits<float>::quiet_NaN();
  BOOST_TEST((refused(broken) == errc::not_finite));
  BOOST_TEST((step_together(trainers, batch, 2) == step_together(untouched, batch, 2)));
}

BOOST_FIXTURE_TEST_CASE(kept_forwards_are_bounded_and_die_with_their_weights, fixture) {
  auto trainer = alone();
  const std::vector<std::vector<float>> gradient{{0.5F}};
  const auto part = std::span(batch).first(1);
  for (std::uint64_t seq_id = 1; seq_id <= limits::kept_forwards_max + 1; ++seq_id)
    BOOST_REQUIRE(trainer->forward(seq_id, part, retention::keep_for_backward).has_value());
  BOOST_TEST((trainer->backward(1, gradient).error().code == errc::not_found));
  const std::vector<std::vector<float>> wrong{{0.5F, 0.5F}};
  BOOST_TEST((trainer->backward(2, wrong).error().code == errc::invalid_argument));
  const std::vector<std::vector<float>> infinite{{std::numeric_limits<float>::infinity()}};
  BOOST_TEST((trainer->backward(2, infinite).error().code == errc::not_finite));
  BOOST_TEST(trainer->backward(2, gradient).has_value());
  BOOST_REQUIRE(trainer->optim_step(some_adam()).has_value());
  BOOST_TEST((trainer->backward(3, gradient).error().code == errc::not_found));
  BOOST_REQUIRE(trainer->forward(9, part, retention::keep_for_backward).has_value());
  BOOST_REQUIRE(trainer->load(memory, optimizer_state::reset, 0).has_value());
  BOOST_TEST((trainer->backward(9, gradient).error().code == errc::not_found));
  BOOST_REQUIRE(trainer->forward(10, part, retention::discard).has_value());
  BOOST_TEST((trainer->backward(10, gradient).error().code == errc::not_found));
}

BOOST_FIXTURE_TEST_CASE(any_budget_gives_the_same_bits, fixture) {
  auto keeping = alone();
  BOOST_REQUIRE(keeping->forward_backward(1, batch, loss_fn::cross_entropy, {}).has_value());
  const auto expected = test::take_gradient(model, *keeping);
  std::vector<double> held;
  // From nothing to more than all: budgets at which some blocks are kept and others are not.
  for (std::size_t budget = 0; budget <= 600'000; budget += 60'000) {
    const gpu::engine_resources some{
        .threads = {}, .kept_activation_bytes = budget, .kept_logit_bytes = 0};
    auto direct = alone(some);
    BOOST_REQUIRE(direct->forward_backward(1, batch, loss_fn::cross_entropy, {}).has_value());
    BOOST_TEST((test::take_gradient(model, *direct) == expected));
    auto phased = alone(some);
    const auto forward = phased->forward(1, batch, retention::keep_for_backward);
    BOOST_REQUIRE(forward.has_value());
    held.push_back(metric_of(forward->metrics, "held_bytes:sum"));
    BOOST_TEST(held.back() <= static_cast<double>(budget));
    BOOST_REQUIRE(phased->backward(1, gradient_of(batch)).has_value());
    BOOST_TEST((test::take_gradient(model, *phased) == expected));
  }
  BOOST_TEST(std::ranges::is_sorted(held));
  BOOST_TEST(std::set<double>(held.begin(), held.end()).size() >= 4);
}

/// One step over the whole batch in `num_open` forwards that are all open before the first
/// backward; the digest, and how many forwards had to be repeated.
std::pair<state_digest, double> step_over_open_forwards(fixture& f, std::size_t budget) {
  auto trainer = f.alone({.threads = {}, .kept_activation_bytes = budget, .kept_logit_bytes = 0});
  const std::span<const datum> all(f.batch);
  for (std::size_t i = 0; i < all.size(); ++i) {
    const auto done = trainer->forward(1 + i, all.subspan(i, 1), retention::keep_for_backward);
    BOOST_REQUIRE(done.has_value());
    BOOST_TEST(metric_of(done->metrics, "held_bytes:sum") <= static_cast<double>(budget));
  }
  double repeated = 0;
  for (std::size_t i = 0; i < all.size(); ++i) {
    const auto done = trainer->backward(1 + i, gradient_of(all.subspan(i, 1)));
    BOOST_REQUIRE(done.has_value());
    repeated += metric_of(*done, "forward_repeated:max");
  }
  return {trainer->optim_step(some_adam())->weights, repeated};
}

BOOST_FIXTURE_TEST_CASE(open_forwards_share_a_budget, fixture) {
  const auto [expected, none] = step_over_open_forwards(*this, 64 * limits::mebibyte);
  BOOST_TEST(none == 0.0);
  // 249 rows: some 620 kB of states, 80 kB of inputs.
  const auto [inputs, some_inputs] = step_over_open_forwards(*this, 100'000);
  BOOST_TEST(some_inputs == 0.0);
  BOOST_TEST((inputs == expected));
  const auto [mixed, some] = step_over_open_forwards(*this, 40'000);
  BOOST_TEST((some > 0 && some < 8));
  BOOST_TEST((mixed == expected));
  const auto [tokens, all] = step_over_open_forwards(*this, 0);
  BOOST_TEST(all == 8.0);
  BOOST_TEST((tokens == expected));
}

BOOST_FIXTURE_TEST_CASE(ranks_repeat_a_forward_together, fixture) {
  std::vector<state_digest> digests;
  for (const std::size_t budget : {std::size_t{64} * limits::mebibyte, std::size_t{20'000}}) {
    auto comms = gpu::make_thread_comms(2);
    trainer_list trainers;
    for (auto& comm : comms)
      trainers.push_back(test::make_loaded_trainer(
          model, memory, std::move(comm), optimizer_state::reset, 0,
          {.threads = {}, .kept_activation_bytes = budget, .kept_logit_bytes = 0}));
    std::vector<state_digest> parts(2);
    on_ranks(2, [&](std::size_t rank) {
      // One rank has next to nothing to hold, and repeats for the sake of the other.
      const std::size_t size = rank == 0 ? 7 : 1;
      const auto part = rank == 0 ? std::span(batch).subspan(1, size) : std::span(batch).first(1);
      if (!trainers[rank]->forward(1, part, retention::keep_for_backward)) return;
      if (!trainers[rank]->backward(1, gradient_of(part))) return;
      if (auto done = trainers[rank]->optim_step(some_adam())) parts[rank] = done->weights;
    });
    digests.push_back(parts[0]);
    digests.back() += parts[1];
  }
  BOOST_TEST((digests[0] == digests[1]));
  BOOST_TEST((digests[0] != state_digest{}));
}

BOOST_FIXTURE_TEST_CASE(several_targets_are_the_sum_of_single_ones, fixture) {
  const auto targets = with_three_targets(batch, static_cast<token_id>(model.vocab_size));
  for (const loss_fn loss : {loss_fn::cross_entropy, loss_fn::importance_sampling, loss_fn::ppo}) {
    auto joined = alone();
    auto parted = alone();
    const auto all = joined->forward_backward(1, targets.joined, loss, {});
    BOOST_REQUIRE(all.has_value());
    double sum = 0;
    for (std::size_t k = 0; k < 3; ++k) {
      const auto one = parted->forward_backward(2 + k, targets.parts[k], loss, {});
      BOOST_REQUIRE(one.has_value());
      sum += metric_of(one->metrics, "loss:sum");
      for (std::size_t d = 0; d < batch.size(); ++d)
        for (std::size_t i = 0; i < batch[d].tokens.size(); ++i)
          BOOST_TEST_REQUIRE((one->logprobs[d][i] == all->logprobs[d][3 * i + k]));
    }
    const double loss_sum = metric_of(all->metrics, "loss:sum");
    BOOST_TEST(std::abs(loss_sum - sum) <= 1e-6 * std::abs(sum));
    BOOST_TEST(relative_distance(test::take_gradient(model, *joined),
                                 test::take_gradient(model, *parted)) <= 1e-5);
  }
}

BOOST_FIXTURE_TEST_CASE(targets_of_several_ranks_and_phases, fixture) {
  const auto targets = with_three_targets(batch, static_cast<token_id>(model.vocab_size));
  auto one_shot = alone();
  auto phased = alone();
  BOOST_REQUIRE(
      one_shot->forward_backward(1, targets.joined, loss_fn::cross_entropy, {}).has_value());
  BOOST_REQUIRE(phased->forward(1, targets.joined, retention::keep_for_backward).has_value());
  BOOST_TEST((phased->backward(1, gradient_of(batch)).error().code == errc::invalid_argument));
  BOOST_REQUIRE(phased->backward(1, gradient_of(targets.joined)).has_value());
  BOOST_TEST(
      (one_shot->optim_step(some_adam())->weights == phased->optim_step(some_adam())->weights));

  auto uneven = targets.joined;
  uneven[1].target_tokens.pop_back();
  BOOST_TEST(
      (phased->forward(2, uneven, retention::discard).error().code == errc::invalid_argument));
}

BOOST_FIXTURE_TEST_CASE(a_batch_that_cannot_fit_is_refused_with_the_number, fixture) {
  auto trainer = alone({.threads = {}, .batch_activation_bytes = 300'000});
  const auto before = trainer->weights_digest();
  const auto refused = trainer->forward_backward(1, batch, loss_fn::cross_entropy, {});
  BOOST_REQUIRE(!refused.has_value());
  BOOST_TEST((refused.error().code == errc::invalid_argument));
  BOOST_TEST(refused.error().what.find("249 tokens") != std::string::npos);
  BOOST_TEST(refused.error().what.find("300000") != std::string::npos);
  BOOST_TEST(
      (trainer->forward(2, batch, retention::discard).error().code == errc::invalid_argument));
  BOOST_TEST((trainer->weights_digest() == before));
  const auto small = std::span(batch).first(1);
  BOOST_TEST(trainer->forward_backward(3, small, loss_fn::cross_entropy, {}).has_value());
}

BOOST_FIXTURE_TEST_CASE(impossible_optimizers_are_refused, fixture) {
  auto trainer = alone();
  const state_digest before = trainer->weights_digest();
  for (const double bad : {-1.0, std::numeric_limits<double>::quiet_NaN()})
    for (auto field :
         {&adam_params::learning_rate, &adam_params::beta1, &adam_params::beta2, &adam_params::eps,
          &adam_params::weight_decay, &adam_params::grad_clip_norm}) {
      adam_params adam;
      adam.*field = bad;
      BOOST_TEST((trainer->optim_step(adam).error().code == errc::invalid_argument));
    }
  BOOST_TEST((trainer->weights_digest() == before));
}

}  // namespace
