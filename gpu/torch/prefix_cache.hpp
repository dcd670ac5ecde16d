#pragma once

// Pages of prompts that were computed before, by their tokens: a tree with one page to a node. A
// prompt takes over the pages of its longest known beginning; a prompt known to its last token
// takes over its last hidden row too and computes nothing.
//
// It belongs to one weight version: whoever changes the weights clears it. What adapters computed
// is kept apart by their numbers; that of adapters which are gone is never found again and
// forgotten in its turn.
//
// Units: tokens, pages. Threading: one thread.
// Invariants: PREFIX-1 the pages of a match hold exactly the matched tokens' keys and values; a
//             page that the prompt does not fill is shared as far as the prompt goes only.

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "gpu/torch/kv_pages.hpp"
#include "messages/ids.hpp"

namespace troupe::gpu {

struct prefix_match {
  std::vector<page_ref> pages;  ///< the last one is partly filled if num_tokens says so
  std::size_t num_tokens = 0;
  /// Of the prompt's last token, when all of it is known; else null.
  std::shared_ptr<const std::vector<float>> hidden;
};

class prefix_cache {
 public:
  explicit prefix_cache(std::size_t pages_max) : pages_max_(pages_max) {}

  /// `adapter`: 0 for none.
  [[nodiscard]] prefix_match find(std::uint64_t adapter, std::span<const token_id> prompt);

  /// Remembers tokens whose keys and values `pages` hold. `hidden` belongs to the last token; null
  /// when it is not known, and then only full pages are worth remembering.
  void insert(std::uint64_t adapter, std::span<const token_id> tokens, const sequence_cache& pages,
              std::shared_ptr<const std::vector<float>> hidden);

  /// Forgets the page unused for longest; false when there is none.
  bool drop_oldest();
  void clear();

  [[nodiscard]] std::size_t num_pages() const { return num_pages_; }

 private:
  struct node {
    node* parent = nullptr;
    std::vector<token_id> tokens;
    page_ref page;
    std::shared_ptr<const std::vector<float>> hidden;
    std::map<std::vector<token_id>, std::unique_ptr<node>> children;
    std::uint64_t used = 0;
    std::uint64_t adapter = 0;  ///< of a root
  };

  void touch(node& used);
  [[nodiscard]] node& child(node& parent, std::vector<token_id> tokens, const page_ref& page);

  std::size_t pages_max_;
  std::size_t num_pages_ = 0;
  std::uint64_t clock_ = 0;
  std::map<std::uint64_t, node> roots_;    ///< by adapter; none is empty
  std::map<std::uint64_t, node*> by_use_;  ///< a child is used no later than its parent
};

}  // namespace troupe::gpu
