#pragma once

// Attention of rows on their way through a sampler's model, each against the cache of its own
// sequence. Samples of one prompt, and a prompt's own rows, have most pages in common: their keys
// and values are read once for all of them, which is what this costs when many sequences decode.
//
// Shapes: R rows, in the order of the pass.
// Threading: called from one thread; runs on the pool.
// Invariants: CACHED-1 a row's result has the same bits whatever rows are beside it.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "gpu/torch/kv_pages.hpp"
#include "messages/model.hpp"

namespace troupe::gpu {

class torch_adapter;

/// One token on its way through the model.
struct decoder_row {
  token_id token = 0;
  std::size_t position = 0;
  sequence_cache* cache = nullptr;  ///< has a page for the position
  const torch_adapter* adapter = nullptr;
  bool is_wanted = false;  ///< what comes out of the last block, not only what it puts in the cache
};

/// Neighbouring rows whose caches begin with the same pages.
struct row_group {
  std::span<const decoder_row> rows;
  std::size_t first = 0;             ///< of them, among all
  std::size_t num_shared_pages = 0;  ///< before any row's own position, whole
};

/// All rows in groups, in order. Groups are small enough to give all threads something to do.
[[nodiscard]] std::vector<row_group> group_by_pages(std::span<const decoder_row> rows);

/// Rotated queries [R, heads * head_dim] to the heads' outputs, of the same shape. The caches have
/// keys and values of the rows themselves.
void cached_attention(const model_config& model, std::uint32_t block,
                      std::span<const row_group> groups, const float* q, float* out);

}  // namespace troupe::gpu
