#pragma once

// Low-rank adapters as parameters: which matrices of a model have one, and where A and B stand in
// canonical space. Adapters come after all parameters of the model itself, so that an index says
// what it names in a checkpoint of either kind, and digests of both can be added.
//
// Names are those of PEFT's adapter files. An adapter of the vocabulary head needs a head of its
// own: a head tied to the embedding is refused by name.
//
// Threading: pure functions.
// Source: Hu et al. 2021; peft for initial values: A uniform in +-1/sqrt(inputs), B zero.

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "gpu/models/family.hpp"
#include "gpu/parameter_io.hpp"
#include "messages/error.hpp"
#include "messages/model.hpp"

namespace troupe::gpu {

/// One adapted matrix.
struct adapter {
  std::uint32_t matrix = 0;            ///< index of the frozen matrix in the model's layout
  std::optional<std::uint32_t> block;  ///< nothing for the vocabulary head
  role what = role::q_proj;            ///< inside its block or expert
  std::uint32_t a = 0;                 ///< parameter index of A [rank, inputs]
  std::uint32_t b = 0;                 ///< parameter index of B [outputs, rank]
  std::uint64_t inputs = 0;
  std::uint64_t outputs = 0;
  std::optional<std::uint32_t> expert = std::nullopt;  ///< whose matrix it is
};

/// errc::invalid_argument for impossible numbers and what check_targets refuses, errc::unsupported
/// for an adapter on a tied head. Requires: validate(model).
[[nodiscard]] result<void> validate(const model_config& model, const lora_config& lora);

/// In order of their indices. Requires: validate(model, lora).
[[nodiscard]] std::vector<adapter> adapters_of(const model_config& model, const lora_config& lora);

/// A and B of every adapter, in order; the first has index parameter_layout(model).size().
[[nodiscard]] std::vector<parameter_spec> adapter_layout(const model_config& model,
                                                         const lora_config& lora);

/// Initial adapters from lora.seed, every element by its place, so that any slice can be asked for.
class initial_adapters final : public parameter_source {
 public:
  initial_adapters(const model_config& model, const lora_config& lora);

  result<void> read(state_part part, const parameter_slice& slice, std::span<float> out) override;

 private:
  std::vector<adapter> adapters_;
  std::uint64_t seed_;
};

}  // namespace troupe::gpu
