#pragma once

// The model as the sampler runs it: packed bf16 weights, and one pass that
// takes any mixture of rows: whole prompts and single new tokens alike, each with its own adapter
// or none. A row's result depends on its own sequence only, because every kernel below is a
// function of single rows and each row attends to its sequence's cache.
//
// Shapes: R rows.
// Threading: called from one thread; runs on the pool.

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "gpu/models/family.hpp"
#include "gpu/rotary.hpp"
#include "gpu/torch/adapter_rows.hpp"
#include "gpu/torch/cached_attention.hpp"
#include "gpu/torch/decoder_weights.hpp"
#include "gpu/torch/tensors.hpp"
#include "messages/model.hpp"

namespace troupe::gpu {

class decoder {
 public:
  explicit decoder(const model_config& model);

  [[nodiscard]] decoder_weights& weights() { return parameters_; }
  [[nodiscard]] const decoder_weights& weights() const { return parameters_; }

  /// Hidden rows after the last block, [R, D], of which those not wanted are undefined: most of a
  /// prompt's, which spares them half of that block. Rows of a sequence come in order of position;
  /// those of an adapter are fastest side by side.
  [[nodiscard]] at::Tensor run(std::span<const decoder_row> rows);

  [[nodiscard]] std::size_t vocab_size() const { return model_.vocab_size; }

  /// Logits of hidden rows, [R, V], and the adapter of each.
  [[nodiscard]] at::Tensor logits(const at::Tensor& hidden,
                                  std::span<const torch_adapter* const> adapters) const;

 private:
  /// Rows of one pass, and where adapters change them.
  struct row_set {
    explicit row_set(std::span<const decoder_row> of);

    std::span<const decoder_row> rows;
    std::vector<adapter_run> runs;
    std::vector<row_group> groups;  ///< by what they have in their caches
  };

  /// A matrix, and its bias where the family may have one.
  struct biased_role {
    role matrix;
    std::optional<role> bias;
  };

  /// Null where the family has no such parameter.
  [[nodiscard]] const parameter_store* find(std::uint32_t block, role what) const;
  [[nodiscard]] at::Tensor multiply(std::uint32_t block, role what, const at::Tensor& x,
                                    std::span<const adapter_run> runs) const;
  /// One after the other for each role, in one loop.
  [[nodiscard]] std::vector<at::Tensor> multiply_each(std::uint32_t block,
                                                      std::span<const biased_role> roles,
                                                      const at::Tensor& x,
                                                      std::span<const adapter_run> runs) const;
  /// residual + x W^T.
  [[nodiscard]] at::Tensor multiply_add(std::uint32_t block, role what, const at::Tensor& x,
                                        const at::Tensor& residual,
                                        std::span<const adapter_run> runs) const;
  void rotate_head(const parameter_store* norm, const float* head, std::size_t position,
                   float* rotated) const;
  [[nodiscard]] at::Tensor embed(std::span<const decoder_row> rows) const;
  /// Queries of a block, whose keys and values go to the caches.
  [[nodiscard]] at::Tensor start_block(std::uint32_t block, const row_set& set,
                                       const at::Tensor& x) const;
  /// The rest of it.
  [[nodiscard]] at::Tensor finish_block(std::uint32_t block, const row_set& set,
                                        const at::Tensor& queries, const at::Tensor& x) const;
  [[nodiscard]] at::Tensor run_last_block(const row_set& set, const at::Tensor& x) const;
  /// residual + the output of a block's experts, [R, D].
  [[nodiscard]] at::Tensor run_experts(std::uint32_t block, const row_set& set, const at::Tensor& x,
                                       const at::Tensor& residual) const;
  void fill_caches(std::uint32_t block, std::span<const decoder_row> rows, at::Tensor q,
                   const at::Tensor& k, const at::Tensor& v) const;

  const model_config model_;
  rotary_cache rotary_;
  decoder_weights parameters_;
};

}  // namespace troupe::gpu
