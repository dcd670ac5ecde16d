#pragma once

// Ranks of a small model as threads, and a step of all of them.
//
// Threading: of the running test, whose checks these are.

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "gpu/comm/thread_comm.hpp"
#include "tests/conformance/engine_memory.hpp"

namespace troupe::test {

using trainer_list = std::vector<std::unique_ptr<gpu::trainer_engine>>;

inline model_config small_model() {
  model_config m;
  m.vocab_size = 53;
  m.hidden_size = 20;
  m.intermediate_size = 37;
  m.num_layers = 2;
  m.num_heads = 4;
  m.num_kv_heads = 2;
  m.head_dim = 6;
  m.max_positions = 256;
  m.tied_head = true;
  return m;
}

struct fixture {
  model_config model = small_model();
  model_memory memory{model};
  std::vector<datum> batch;

  fixture() {
    fill_randomly(memory, model, 3);
    batch = random_batch(model, {1, 90, 13, 40, 7, 66, 2, 30}, 4);
  }

  std::unique_ptr<gpu::trainer_engine> alone(const gpu::engine_resources& kept = {}) {
    return make_loaded_trainer(model, memory, std::move(gpu::make_thread_comms(1).front()),
                               optimizer_state::reset, 0, kept);
  }

  trainer_list ranks(std::uint32_t world_size, model_memory& from,
                     optimizer_state optimizer = optimizer_state::reset, std::uint64_t steps = 0) {
    return groups(world_size, 0, from, optimizer, steps);
  }

  /// Groups of `shard_size` ranks form, and load, together.
  trainer_list groups(std::uint32_t world_size, std::uint32_t shard_size, model_memory& from,
                      optimizer_state optimizer = optimizer_state::reset, std::uint64_t steps = 0,
                      const gpu::engine_resources& kept = {}) {
    trainer_list trainers;
    for (auto& comm : gpu::make_thread_comms(world_size))
      trainers.push_back(make_loaded_trainer(
          model, from, gpu::rank_set(std::move(comm), shard_size), optimizer, steps, kept));
    return trainers;
  }
};

inline void on_ranks(std::size_t world_size, const std::function<void(std::size_t)>& body) {
  std::vector<std::jthread> threads;
  for (std::size_t rank = 0; rank < world_size; ++rank)
    threads.emplace_back([&body, rank] { body(rank); });
}

/// Datum i goes to rank i modulo `used`; ranks beyond stay empty.
inline std::vector<datum> part_of(const std::vector<datum>& batch, std::size_t rank,
                                  std::size_t used) {
  std::vector<datum> part;
  for (std::size_t i = 0; i < batch.size(); ++i)
    if (i % used == rank) part.push_back(batch[i]);
  return part;
}

inline adam_params some_adam() {
  return {.learning_rate = 1e-2, .eps = 1e-8, .weight_decay = 0.1, .grad_clip_norm = 1.0};
}

/// One step of all ranks; their digests' sum.
inline state_digest step_together(trainer_list& trainers, const std::vector<datum>& batch,
                                  std::size_t used) {
  std::vector<state_digest> digests(trainers.size());
  on_ranks(trainers.size(), [&](std::size_t rank) {
    const auto part = part_of(batch, rank, used);
    if (!trainers[rank]->forward_backward(1, part, loss_fn::cross_entropy, {})) return;
    if (const auto step = trainers[rank]->optim_step(some_adam())) digests[rank] = step->weights;
  });
  state_digest total;
  for (const state_digest& digest : digests) {
    BOOST_TEST((digest != state_digest{}));
    total += digest;
  }
  return total;
}

inline model_memory saved(const model_config& model, const trainer_list& trainers) {
  model_memory memory(model);
  for (const auto& trainer : trainers)
    BOOST_REQUIRE(trainer->save(memory).has_value());
  return memory;
}

/// -1 when there is none of this name.
inline double metric_of(const metric_list& metrics, const std::string& name) {
  for (const auto& [key, value] : metrics)
    if (key == name) return value;
  return -1;
}

/// Of the logprobs, as cross_entropy has it.
inline std::vector<std::vector<float>> gradient_of(std::span<const datum> batch) {
  std::vector<std::vector<float>> gradients;
  for (const datum& data : batch) {
    gradients.emplace_back();
    for (const float weight : data.weights)
      gradients.back().push_back(-weight);
  }
  return gradients;
}

/// The batch with three targets per position, the first of which may come twice, and the same as
/// three batches of one.
struct many_targets {
  std::vector<datum> joined;
  std::array<std::vector<datum>, 3> parts;
};

inline many_targets with_three_targets(const std::vector<datum>& batch, token_id vocabulary) {
  many_targets out;
  out.joined = batch;
  out.parts.fill(batch);
  for (std::size_t d = 0; d < batch.size(); ++d) {
    datum& all = out.joined[d];
    all.target_tokens.clear();
    all.weights.clear();
    for (std::size_t i = 0; i < batch[d].tokens.size(); ++i)
      for (std::size_t k = 0; k < 3; ++k) {
        datum& one = out.parts[k][d];
        const auto step = static_cast<token_id>(k * (i % 4));
        one.target_tokens[i] = (batch[d].target_tokens[i] + step) % vocabulary;
        one.weights[i] = k == 1 && i % 3 == 0 ? 0.0F : 0.25F * static_cast<float>(1 + k);
        one.advantages.push_back(one.weights[i]);
        one.logprobs.push_back(-2.0F);
        all.target_tokens.push_back(one.target_tokens[i]);
        all.weights.push_back(one.weights[i]);
        all.advantages.push_back(one.weights[i]);
        all.logprobs.push_back(-2.0F);
      }
  }
  return out;
}

}  // namespace troupe::test
