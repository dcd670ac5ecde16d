// What a trainer of adapters promises whatever the model: phases, ranks, recovery, merging.

#include <atomic>
#include <functional>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "gpu/comm/thread_comm.hpp"
#include "gpu/make_engine.hpp"
#include "gpu/models/adapters.hpp"
#include "gpu/models/parameter_layout.hpp"
#include "tests/conformance/engine_memory.hpp"
#include "tests/conformance/golden_case.hpp"
#include "tests/conformance/trainer_fixture.hpp"

namespace {

using namespace troupe;
using gpu::state_part;
using test::on_ranks;
using test::relative_distance;
using test::some_adam;
using test::trainer_list;

struct fixture {
  model_config model;
  lora_config lora;
  std::vector<datum> batch;
  std::unique_ptr<test::model_memory> memory;

  explicit fixture(const lora_config& wanted = {.rank = 3, .alpha = 6, .seed = 9}) : lora(wanted) {
    model.vocab_size = 53;
    model.hidden_size = 20;
    model.intermediate_size = 37;
    model.num_layers = 2;
    model.num_heads = 4;
    model.num_kv_heads = 2;
    model.head_dim = 6;
    model.max_positions = 256;
    memory = std::make_unique<test::model_memory>(model, lora);
    test::fill_randomly(*memory, model, 3);
    gpu::initial_adapters first(model, lora);
    const auto layout = gpu::adapter_layout(model, lora);
    for (std::uint32_t i = 0; i < layout.size(); ++i) {
      auto& values = memory->parameters(state_part::weights)[first_adapter() + i];
      const auto parameter = static_cast<std::uint32_t>(first_adapter() + i);
      BOOST_REQUIRE(first.read(state_part::weights, {parameter, 0, values.size()}, values));
    }
    batch = test::random_batch(model, {1, 90, 13, 40, 7, 66, 2, 30}, 4);
  }

  [[nodiscard]] std::size_t first_adapter() const { return gpu::parameter_layout(model).size(); }

  trainer_list ranks(std::uint32_t world_size, test::model_memory& from,
                     optimizer_state optimizer = optimizer_state::reset, std::uint64_t steps = 0) {
    return groups(world_size, 0, from, optimizer, steps);
  }

  /// Groups of `shard_size` ranks hold a copy each.
  trainer_list groups(std::uint32_t world_size, std::uint32_t shard_size, test::model_memory& from,
                      optimizer_state optimizer = optimizer_state::reset, std::uint64_t steps = 0) {
    trainer_list trainers;
    for (auto& comm : gpu::make_thread_comms(world_size))
      trainers.push_back(test::make_adapter_trainer(
          model, lora, from, gpu::rank_set(std::move(comm), shard_size), optimizer, steps));
    return trainers;
  }

  test::model_memory saved(const trainer_list& trainers) {
    test::model_memory out = *memory;
    for (const auto& trainer : trainers)
      BOOST_REQUIRE(trainer->save(out).has_value());
    return out;
  }
};

state_digest step_together(trainer_list& trainers, const std::vector<datum>& batch) {
  return test::step_together(trainers, batch, trainers.size());
}

BOOST_FIXTURE_TEST_CASE(fresh_adapters_change_nothing, fixture) {
  auto adapted = ranks(1, *memory);
  auto plain =
      test::make_loaded_trainer(model, *memory, std::move(gpu::make_thread_comms(1).front()));
  const auto mine = adapted.front()->forward(1, batch, retention::discard);
  const auto theirs = plain->forward(1, batch, retention::discard);
  BOOST_REQUIRE((mine.has_value() && theirs.has_value()));
  BOOST_TEST((mine->logprobs == theirs->logprobs));
}

BOOST_FIXTURE_TEST_CASE(only_adapters_are_owned, fixture) {
  auto trainers = ranks(3, *memory);
  std::uint64_t owned = 0;
  for (const auto& trainer : trainers)
    for (const gpu::parameter_slice& slice : trainer->owned_slices()) {
      BOOST_TEST(slice.parameter >= first_adapter());
      owned += slice.num_elements();
    }
  std::uint64_t expected = 0;
  for (const auto& spec : gpu::adapter_layout(model, lora))
    expected += spec.num_elements();
  BOOST_TEST(owned == expected);
  std::uint64_t published = 0;
  for (const auto& trainer : trainers)
    for (const gpu::parameter_slice& slice : trainer->published_slices())
      published += slice.num_elements();
  BOOST_TEST(published == gpu::num_parameters(model));
}

BOOST_FIXTURE_TEST_CASE(two_phases_equal_one_shot, fixture) {
  auto one_shot = ranks(1, *memory);
  auto two_phase = ranks(1, *memory);
  for (int repeat = 0; repeat < 2; ++repeat) {
    BOOST_REQUIRE(
        one_shot.front()->forward_backward(1, batch, loss_fn::cross_entropy, {}).has_value());
    BOOST_REQUIRE(two_phase.front()->forward(7, batch, retention::keep_for_backward).has_value());
    std::vector<std::vector<float>> gradients;
    for (const datum& data : batch) {
      gradients.emplace_back();
      for (const float weight : data.weights)
        gradients.back().push_back(-weight);
    }
    BOOST_REQUIRE(two_phase.front()->backward(7, gradients).has_value());
  }
  const auto direct = one_shot.front()->optim_step(some_adam());
  const auto phased = two_phase.front()->optim_step(some_adam());
  BOOST_REQUIRE((direct.has_value() && phased.has_value()));
  BOOST_TEST((direct->weights == phased->weights));
}

BOOST_FIXTURE_TEST_CASE(world_size_does_not_matter, fixture) {
  auto one = ranks(1, *memory);
  step_together(one, batch);
  step_together(one, batch);
  const auto expected = saved(one);
  for (const std::uint32_t world_size : {2U, 3U, 4U}) {
    auto many = ranks(world_size, *memory);
    step_together(many, batch);
    step_together(many, batch);
    const auto actual = saved(many);
    BOOST_TEST(relative_distance(actual.flat(state_part::exp_avg, first_adapter()),
                                 expected.flat(state_part::exp_avg, first_adapter())) <= 1e-5);
    BOOST_TEST(relative_distance(actual.flat(state_part::weights, first_adapter()),
                                 expected.flat(state_part::weights, first_adapter())) <= 1e-4);
  }
}

BOOST_FIXTURE_TEST_CASE(copies_do_not_matter, fixture) {
  auto one = ranks(1, *memory);
  step_together(one, batch);
  step_together(one, batch);
  const auto expected = saved(one);
  for (const auto& [world_size, shard_size] : {std::pair{2U, 1U}, {4U, 2U}, {3U, 1U}, {6U, 3U}}) {
    auto many = groups(world_size, shard_size, *memory);
    auto again = groups(world_size, shard_size, *memory);
    for (int step = 0; step < 2; ++step)
      BOOST_TEST((step_together(many, batch) == step_together(again, batch)));
    auto actual = saved(many);
    BOOST_TEST(relative_distance(actual.flat(state_part::exp_avg, first_adapter()),
                                 expected.flat(state_part::exp_avg, first_adapter())) <= 1e-5);
    BOOST_TEST(relative_distance(actual.flat(state_part::weights, first_adapter()),
                                 expected.flat(state_part::weights, first_adapter())) <= 1e-4);
    // The checkpoint of copies is one of a single rank's.
    auto resumed = ranks(1, actual, optimizer_state::restore, 2);
    state_digest of_copies;
    for (const auto& trainer : many)
      of_copies += trainer->weights_digest();
    BOOST_TEST((resumed.front()->weights_digest() == of_copies));
  }
}

BOOST_FIXTURE_TEST_CASE(state_moves_between_world_sizes, fixture) {
  auto two = ranks(2, *memory);
  step_together(two, batch);
  auto checkpoint = saved(two);
  const state_digest after_two = step_together(two, batch);
  for (const std::uint32_t world_size : {1U, 2U, 3U}) {
    auto resumed = ranks(world_size, checkpoint, optimizer_state::restore, 1);
    BOOST_TEST((saved(resumed).flat(state_part::weights, first_adapter()) ==
                checkpoint.flat(state_part::weights, first_adapter())));
    const state_digest digest = step_together(resumed, batch);
    if (world_size == 2) BOOST_TEST((digest == after_two));
  }
}

BOOST_FIXTURE_TEST_CASE(merged_weights_compute_what_adapters_do, fixture) {
  for (const std::uint32_t world_size : {1U, 3U}) {
    auto trainers = ranks(world_size, *memory);
    step_together(trainers, batch);
    test::model_memory merged = *memory;
    on_ranks(world_size, [&](std::size_t rank) {
      if (!trainers[rank]->publish(merged)) throw std::runtime_error("publish failed");
    });
    for (std::size_t p = 0; p < first_adapter(); ++p)
      merged.parameters(state_part::weights)[p] = merged.published(p);
    auto plain =
        test::make_loaded_trainer(model, merged, std::move(gpu::make_thread_comms(1).front()));
    auto adapters = saved(trainers);
    auto adapted = ranks(1, adapters);
    const auto mine = plain->forward(1, batch, retention::discard);
    const auto theirs = adapted.front()->forward(1, batch, retention::discard);
    BOOST_REQUIRE((mine.has_value() && theirs.has_value()));
    for (std::size_t i = 0; i < batch.size(); ++i)
      BOOST_TEST(relative_distance(mine->logprobs[i], theirs->logprobs[i]) <= 2e-2);
  }
}

BOOST_FIXTURE_TEST_CASE(seeds_make_adapters, fixture) {
  gpu::initial_adapters same(model, lora);
  lora_config other = lora;
  ++other.seed;
  gpu::initial_adapters different(model, other);
  const auto adapters = gpu::adapters_of(model, lora);
  const gpu::parameter_slice a{adapters[0].a, 0, lora.rank * adapters[0].inputs};
  const gpu::parameter_slice tail{adapters[0].a, 7, a.end};
  std::vector<float> whole(a.num_elements());
  std::vector<float> part(tail.num_elements());
  std::vector<float> others(a.num_elements());
  BOOST_REQUIRE(same.read(state_part::weights, a, whole).has_value());
  BOOST_REQUIRE(same.read(state_part::weights, tail, part).has_value());
  BOOST_REQUIRE(different.read(state_part::weights, a, others).has_value());
  BOOST_TEST((std::vector<float>(whole.begin() + 7, whole.end()) == part));
  BOOST_TEST((whole != others));
  double sum = 0;
  double squares = 0;
  for (const float value : whole) {
    sum += static_cast<double>(value);
    squares += static_cast<double>(value) * static_cast<double>(value);
  }
  // Uniform in +-1/sqrt(inputs): mean 0, variance 1 / (3 inputs).
  const auto count = static_cast<double>(whole.size());
  BOOST_TEST(std::abs(sum / count) < 0.1);
  BOOST_TEST(std::abs(squares / count * 3 * 20 - 1) < 0.3);
}

/// Counts what is read of a model, and may fail.
struct watched_source final : gpu::parameter_source {
  explicit watched_source(test::model_memory& from) : memory(from) {}
  result<void> read(gpu::state_part part, const gpu::parameter_slice& slice,
                    std::span<float> out) override {
    ++num_reads;
    if (fails) return fail(errc::corrupt, "a damaged file");
    return memory.read(part, slice, out);
  }
  test::model_memory& memory;
  std::atomic<std::size_t> num_reads = 0;
  bool fails = false;
};

std::unique_ptr<gpu::trainer_engine> on_shared_base(gpu::engine_factory& engines, fixture& f,
                                                    const std::string& identity,
                                                    watched_source& source) {
  auto made = engines.make_adapter_trainer({f.model, identity}, f.lora,
                                           std::move(gpu::make_thread_comms(1).front()));
  BOOST_REQUIRE(made.has_value());
  if (!(*made)->load_frozen(source)) return nullptr;
  BOOST_REQUIRE((*made)->load(*f.memory, optimizer_state::reset, 0).has_value());
  return std::move(*made);
}

state_digest train_two_steps(gpu::trainer_engine& trainer, std::span<const datum> batch) {
  for (std::uint64_t step = 1; step <= 2; ++step) {
    BOOST_REQUIRE(trainer.forward_backward(step, batch, loss_fn::cross_entropy, {}).has_value());
    BOOST_REQUIRE(trainer.optim_step(some_adam()).has_value());
  }
  return trainer.weights_digest();
}

BOOST_FIXTURE_TEST_CASE(many_adapters_stand_on_one_base, fixture) {
  auto engines = gpu::make_engine_factory({});
  BOOST_REQUIRE(engines.has_value());
  watched_source source(*memory);
  auto first = on_shared_base(**engines, *this, "base", source);
  const std::size_t one_model = source.num_reads;
  BOOST_TEST(one_model == first_adapter());
  auto second = on_shared_base(**engines, *this, "base", source);
  BOOST_TEST(source.num_reads == one_model);
  auto alone = on_shared_base(**engines, *this, "", source);
  BOOST_TEST(source.num_reads == 2 * one_model);

  // Each trains for itself, at the same time as the other.
  const auto other_batch = test::random_batch(model, {12, 31}, 8);
  const state_digest expected = train_two_steps(*alone, batch);
  state_digest digest;
  {
    const std::jthread beside([&] { (void)train_two_steps(*second, other_batch); });
    digest = train_two_steps(*first, batch);
  }
  BOOST_TEST((digest == expected));
  BOOST_TEST((second->weights_digest() != expected));

  // The base outlives its first user, and goes with the last one.
  first.reset();
  first = on_shared_base(**engines, *this, "base", source);
  BOOST_TEST(source.num_reads == 2 * one_model);
  BOOST_TEST((train_two_steps(*first, batch) == expected));
  first.reset();
  second.reset();
  first = on_shared_base(**engines, *this, "base", source);
  BOOST_TEST(source.num_reads == 3 * one_model);
}

BOOST_FIXTURE_TEST_CASE(a_base_that_failed_to_load_is_loaded_by_the_next, fixture) {
  auto engines = gpu::make_engine_factory({});
  BOOST_REQUIRE(engines.has_value());
  auto waiting = (*engines)->make_adapter_trainer({model, "base"}, lora,
                                                  std::move(gpu::make_thread_comms(1).front()));
  BOOST_REQUIRE(waiting.has_value());
  // Adapters beside nothing are refused.
  BOOST_TEST(((*waiting)->load(*memory, optimizer_state::reset, 0).error().code == errc::internal));
  watched_source source(*memory);
  source.fails = true;
  BOOST_TEST(((*waiting)->load_frozen(source).error().code == errc::corrupt));
  source.fails = false;
  BOOST_TEST((on_shared_base(**engines, *this, "base", source) != nullptr));
  const std::size_t reads = source.num_reads;
  BOOST_TEST((*waiting)->load_frozen(source).has_value());
  BOOST_TEST(source.num_reads == reads);
}

BOOST_FIXTURE_TEST_CASE(impossible_adapters_are_refused, fixture) {
  auto engines = gpu::make_engine_factory({});
  BOOST_REQUIRE(engines.has_value());
  const auto refusal = [&](const model_config& m, const lora_config& l) {
    const auto made =
        (*engines)->make_adapter_trainer({m}, l, std::move(gpu::make_thread_comms(1).front()));
    return made ? errc::none : made.error().code;
  };
  BOOST_TEST((refusal(model, lora) == errc::none));
  model_config tied = model;
  tied.tied_head = true;
  BOOST_TEST((refusal(tied, lora) == errc::unsupported));
  lora_config bad = lora;
  bad.rank = 0;
  BOOST_TEST((refusal(model, bad) == errc::invalid_argument));
  bad.rank = 13;  // k and v have 12 outputs
  BOOST_TEST((refusal(model, bad) == errc::invalid_argument));
  bad = lora;
  bad.alpha = -1;
  BOOST_TEST((refusal(model, bad) == errc::invalid_argument));
  bad = lora;
  bad.train_attn = bad.train_mlp = bad.train_unembed = false;
  BOOST_TEST((refusal(model, bad) == errc::invalid_argument));
}

BOOST_FIXTURE_TEST_CASE(impossible_targets_are_refused_by_name, fixture) {
  using enum lora_target;
  const auto refusal = [](const model_config& m, const lora_config& l) {
    const auto valid = gpu::validate(m, l);
    BOOST_REQUIRE(!valid.has_value());
    return to_string(valid.error());
  };
  const auto names = [](const std::string& text, const std::string& word) {
    return text.find(word) != std::string::npos;
  };
  lora.targets.emplace();
  BOOST_TEST(names(refusal(model, lora), "list of targets is empty"));
  lora.targets = {q_proj, up_proj};
  lora.train_mlp = false;
  BOOST_TEST(names(refusal(model, lora), "up_proj contradicts train_mlp"));
  lora.targets = {k_proj, lm_head};
  lora.train_unembed = false;
  BOOST_TEST(names(refusal(model, lora), "lm_head contradicts train_unembed"));
  lora.train_unembed = true;
  model_config tied = model;
  tied.tied_head = true;
  BOOST_TEST(names(refusal(tied, lora), "name targets without lm_head"));
  lora.targets = {q_proj};
  BOOST_TEST(gpu::validate(tied, lora).has_value());
  // Of the matrices that are left, none is as small as those of k and v.
  lora.rank = 13;
  BOOST_TEST(gpu::validate(model, lora).has_value());
  lora.targets = {q_proj, v_proj};
  BOOST_TEST(names(refusal(model, lora), "rank 13 is more than the 12"));
}

/// Which of the model's parameters differ between what two sets of trainers publish.
std::vector<std::string> changed(fixture& f, const trainer_list& before,
                                 const trainer_list& after) {
  const auto published = [&](const trainer_list& trainers) {
    test::model_memory out(f.model, f.lora);
    on_ranks(trainers.size(), [&](std::size_t rank) {
      if (!trainers[rank]->publish(out)) throw std::runtime_error("publish failed");
    });
    return out;
  };
  const auto first = published(before);
  const auto second = published(after);
  std::vector<std::string> names;
  const auto layout = gpu::parameter_layout(f.model);
  for (std::size_t p = 0; p < layout.size(); ++p)
    if (first.published(p) != second.published(p)) names.push_back(layout[p].name);
  return names;
}

BOOST_AUTO_TEST_CASE(each_target_can_be_trained_alone) {
  for (std::uint8_t i = 0; i <= static_cast<std::uint8_t>(lora_target::lm_head); ++i)
    for (const std::uint32_t world_size : {1U, 2U}) {
      const auto target = static_cast<lora_target>(i);
      fixture f({.rank = 3, .alpha = 6, .seed = 9, .targets = std::set{target}});
      auto trained = f.ranks(world_size, *f.memory);
      const auto untrained = f.ranks(world_size, *f.memory);
      step_together(trained, f.batch);
      step_together(trained, f.batch);
      const auto names = changed(f, untrained, trained);
      BOOST_TEST(names.size() == (target == lora_target::lm_head ? 1U : f.model.num_layers));
      for (const std::string& name : names)
        BOOST_TEST(name.ends_with(std::string(to_string(target)) + ".weight"), name);
    }
}

}  // namespace
