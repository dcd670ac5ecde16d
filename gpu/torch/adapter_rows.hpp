#pragma once

// Low-rank adapters of a sampler, as its kernels read them, and their products with the rows of a
// step. Rows of one adapter stand together, so that a step over many adapters is one small product
// pair per adapter beside the shared product with the weights; each row's result depends on that
// row and its adapter only.
//
// Shapes: A [r, K] and B [N, r] of a weight [N, K]; x [T, K]; y [T, N].
// Threading: filled by one thread; read by many; products run on the pool.
// Source: Hu et al. 2021; grouping by adapter as in Punica, Chen et al. 2023.

#include <cstdint>
#include <span>
#include <vector>

#include "gpu/models/adapters.hpp"
#include "gpu/sampler_engine.hpp"
#include "gpu/torch/tensors.hpp"
#include "messages/model.hpp"

namespace troupe::gpu {

/// Both factors in panels of 32 columns: A^T [K][r], and B^T [r][N] with alpha / r in it.
struct low_rank_matrix {
  std::size_t rank = 0;
  std::size_t inputs = 0;
  std::size_t outputs = 0;
  std::vector<float> down;
  std::vector<float> up;
};

class torch_adapter final : public sampler_adapter {
 public:
  /// Requires: validate(model, lora); a number unlike any other adapter's of the engine, not 0.
  static result<std::shared_ptr<const torch_adapter>> read(std::uint64_t number,
                                                           const model_config& model,
                                                           const lora_config& lora,
                                                           parameter_source& source);
  torch_adapter(std::uint64_t number, const model_config& model);

  [[nodiscard]] std::size_t num_bytes() const override { return num_bytes_; }
  [[nodiscard]] std::uint64_t number() const { return number_; }
  [[nodiscard]] bool fits(const model_config& model) const { return model_ == model; }
  /// Null for a parameter without one.
  [[nodiscard]] const low_rank_matrix* find(std::uint32_t parameter) const;

 private:
  const model_config model_;
  const std::uint64_t number_;
  std::size_t num_bytes_ = 0;
  std::vector<low_rank_matrix> matrices_;
  std::vector<std::uint32_t> places_;  ///< by parameter: place among matrices_, plus one
};

/// Rows [begin, end) of one adapter.
struct adapter_run {
  const torch_adapter* adapter = nullptr;
  std::size_t begin = 0;
  std::size_t end = 0;
};

/// The runs of rows whose adapters these are; rows with none belong to no run.
[[nodiscard]] std::vector<adapter_run> adapter_runs(std::span<const torch_adapter* const> rows);

/// y += alpha / r * x A^T B^T for the rows of every run whose adapter changes this parameter.
void add_low_rank(std::span<const adapter_run> runs, std::uint32_t parameter, const at::Tensor& x,
                  at::Tensor y);

}  // namespace troupe::gpu
