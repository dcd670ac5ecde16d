#pragma once

// State of a model in memory, as what engines load from and save to, and models made from a seed.
//
// Threading: distinct slices may be written from distinct threads.

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "gpu/comm.hpp"
#include "gpu/parameter_io.hpp"
#include "gpu/sampler_engine.hpp"
#include "gpu/torch/engine_resources.hpp"
#include "gpu/trainer_engine.hpp"
#include "messages/model.hpp"
#include "messages/training.hpp"

namespace troupe::test {

class model_memory final : public gpu::parameter_source,
                           public gpu::parameter_sink,
                           public gpu::bf16_sink,
                           public gpu::bf16_source {
 public:
  explicit model_memory(const model_config& model);
  /// With room for adapters behind the model's own parameters.
  model_memory(const model_config& model, const lora_config& lora);

  result<void> read(gpu::state_part part, const gpu::parameter_slice& slice,
                    std::span<float> out) override;
  result<void> write(gpu::state_part part, const gpu::parameter_slice& slice,
                     std::span<const float> values) override;
  result<void> write(const gpu::parameter_slice& slice,
                     std::span<const std::uint16_t> bits) override;
  result<void> read(const gpu::parameter_slice& slice, std::span<std::uint16_t> out) override;

  /// All values of one part in layout order, from parameter `first` on.
  [[nodiscard]] std::vector<float> flat(gpu::state_part part, std::size_t first = 0) const;
  /// What publish wrote, widened.
  [[nodiscard]] std::vector<float> published(std::size_t parameter) const;
  [[nodiscard]] std::vector<std::vector<float>>& parameters(gpu::state_part part) {
    return parts_[static_cast<std::size_t>(part)];
  }
  [[nodiscard]] const std::vector<std::vector<float>>& parameters(gpu::state_part part) const {
    return parts_[static_cast<std::size_t>(part)];
  }

 private:
  void append(const std::vector<parameter_spec>& layout);

  std::array<std::vector<std::vector<float>>, 3> parts_;
  std::vector<std::vector<std::uint16_t>> rounded_;
};

/// Random weights at which attention, gates and norms all matter.
void fill_randomly(model_memory& memory, const model_config& model, std::uint32_t seed);

/// A model of two layers whose sizes are no powers of two, for samplers.
[[nodiscard]] model_config small_sampler_model(std::uint32_t max_positions);

/// Sequences of the given lengths with random targets and weights, a quarter of which are 0.
[[nodiscard]] std::vector<datum> random_batch(const model_config& model,
                                              const std::vector<std::size_t>& lengths,
                                              std::uint32_t seed);

/// Sequences of the given lengths whose targets are their next tokens, every position with weight
/// 1: nothing that an engine may leave out, as benchmarks need it.
[[nodiscard]] std::vector<datum> whole_batch(const model_config& model,
                                             const std::vector<std::size_t>& lengths,
                                             std::uint32_t seed);

/// A trainer of adapters: frozen weights and adapters loaded from `memory`.
[[nodiscard]] std::unique_ptr<gpu::trainer_engine> make_adapter_trainer(
    const model_config& model, const lora_config& lora, model_memory& memory, gpu::rank_set ranks,
    optimizer_state optimizer = optimizer_state::reset, std::uint64_t steps = 0,
    const gpu::engine_resources& kept = {});

/// A trainer loaded from `source`.
[[nodiscard]] std::unique_ptr<gpu::trainer_engine> make_loaded_trainer(
    const model_config& model, gpu::parameter_source& source, gpu::rank_set ranks,
    optimizer_state optimizer = optimizer_state::reset, std::uint64_t steps = 0,
    const gpu::engine_resources& kept = {});

/// The gradient a trainer holds, read through an AdamW step of which it is the first moment.
/// Changes the trainer's weights.
[[nodiscard]] std::vector<float> take_gradient(const model_config& model,
                                               gpu::trainer_engine& trainer);

}  // namespace troupe::test
