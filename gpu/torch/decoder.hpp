#pragma once

// The model as the sampler runs it: bf16 weights widened to fp32 and packed, and one pass that
// takes any mixture of rows: whole prompts and single new tokens alike. A row's result depends on
// its own sequence only, because every kernel below is a function of single rows and each row
// attends to its sequence's cache.
//
// Shapes: R rows; cache per sequence [layers][key heads] of keys and values.
// Threading: called from one thread; runs on the pool.

#include <cstdint>
#include <span>
#include <vector>

#include "gpu/models/family.hpp"
#include "gpu/parameter_io.hpp"
#include "gpu/rotary.hpp"
#include "gpu/sampler_engine.hpp"
#include "gpu/torch/packed_matrix.hpp"
#include "gpu/torch/tensors.hpp"
#include "messages/model.hpp"

namespace troupe::gpu {

/// Keys and values of one sequence, for all layers. Room for all its tokens is taken at once.
class sequence_cache {
 public:
  sequence_cache(const model_config& model, std::size_t capacity);

  [[nodiscard]] static std::size_t bytes(const model_config& model, std::size_t capacity);

  /// Keys in blocks of kernels::cache_block positions, [block][head_dim][cache_block].
  [[nodiscard]] float* keys(std::size_t layer, std::size_t key_head);
  /// [position][head_dim]
  [[nodiscard]] float* values_of(std::size_t layer, std::size_t key_head);

 private:
  std::size_t head_elements_;
  std::size_t num_key_heads_;
  std::vector<float> elements_;
};

/// One token on its way through the model.
struct decoder_row {
  token_id token = 0;
  std::size_t position = 0;
  sequence_cache* cache = nullptr;
};

class decoder {
 public:
  explicit decoder(const model_config& model);

  /// Requires: the slice lies inside the model's layout.
  void assign(const parameter_slice& slice, std::span<const std::uint16_t> bits);
  void assign_one(std::uint32_t parameter, std::uint64_t element, std::uint16_t bits);

  /// Hidden rows after the last block, [R, D]. Rows of a sequence come in order of position.
  [[nodiscard]] at::Tensor run(std::span<const decoder_row> rows);

  /// Logits of hidden rows, [R, V].
  [[nodiscard]] at::Tensor logits(const at::Tensor& hidden) const;

 private:
  /// A packed matrix, or the vector of a norm.
  struct parameter_store {
    std::vector<packed_matrix> matrix;  ///< at most one
    at::Tensor vector;
  };

  /// Null where the family has no such parameter.
  [[nodiscard]] const parameter_store* find(std::uint32_t block, role what) const;
  [[nodiscard]] at::Tensor multiply(std::uint32_t block, role what, const at::Tensor& x) const;
  [[nodiscard]] at::Tensor multiply_biased(std::uint32_t block, role matrix, role bias,
                                           const at::Tensor& x) const;
  void rotate_head(const parameter_store* norm, const float* head, std::size_t position,
                   float* rotated) const;
  [[nodiscard]] at::Tensor embed(std::span<const decoder_row> rows) const;
  [[nodiscard]] at::Tensor run_block(std::uint32_t block, std::span<const decoder_row> rows,
                                     const at::Tensor& x);
  void fill_caches(std::uint32_t block, std::span<const decoder_row> rows, at::Tensor q,
                   const at::Tensor& k, const at::Tensor& v) const;
  [[nodiscard]] at::Tensor attend(std::uint32_t block, std::span<const decoder_row> rows,
                                  const at::Tensor& q) const;

  const model_config model_;
  rotary_cache rotary_;
  std::vector<parameter_store> parameters_;
};

}  // namespace troupe::gpu
