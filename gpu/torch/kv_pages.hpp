#pragma once

// Keys and values of sequences in pages of kernels::cache_page positions. Sequences that begin with
// the same tokens share whole pages, and a sequence takes memory as it grows, so many fit where a
// contiguous cache would reserve each one's longest possible answer.
//
// A page holds, per layer and key head: keys in blocks of kernels::cache_block positions,
// [block][head_dim][cache_block], then values, [position][head_dim].
//
// Units: positions, bytes. Threading: one thread; a page is given back on that thread.
// Invariants: PAGE-1 only the sequence that took a page writes to it, at positions nobody else
//             reads.

#include <cstddef>
#include <memory>
#include <vector>

#include "gpu/kernels/cpu_kernels.hpp"
#include "messages/model.hpp"

namespace troupe::gpu {

using page_ref = std::shared_ptr<float>;

class page_pool {
 public:
  explicit page_pool(const model_config& model);

  /// A page with undefined content.
  [[nodiscard]] page_ref take();
  /// A page with the content of another.
  [[nodiscard]] page_ref copy(const page_ref& page);

  [[nodiscard]] std::size_t page_bytes() const { return elements_ * sizeof(float); }
  /// Pages that somebody holds.
  [[nodiscard]] std::size_t num_taken() const;

  [[nodiscard]] static std::size_t pages_for(std::size_t positions) {
    return (positions + kernels::cache_page - 1) / kernels::cache_page;
  }

 private:
  struct shelf;

  std::size_t elements_;
  std::shared_ptr<shelf> shelf_;
};

/// The pages of one sequence, in order.
class sequence_cache {
 public:
  void append(page_ref page);
  void replace_last(page_ref page);
  void clear();

  [[nodiscard]] std::size_t num_pages() const { return pages_.size(); }
  [[nodiscard]] const page_ref& page(std::size_t index) const { return pages_[index]; }
  /// What a kernel reads.
  [[nodiscard]] const float* const* addresses() const { return addresses_.data(); }
  [[nodiscard]] float* address(std::size_t position) const {
    return addresses_[position / kernels::cache_page];
  }

 private:
  std::vector<page_ref> pages_;
  std::vector<float*> addresses_;
};

/// Where a layer's key head begins in a page.
[[nodiscard]] inline std::size_t offset_in_page(const model_config& model, std::size_t layer,
                                                std::size_t key_head) {
  return (layer * model.num_kv_heads + key_head) * 2 * kernels::cache_page * model.head_dim;
}

}  // namespace troupe::gpu
