#include "gpu/torch/prefix_cache.hpp"

#include <algorithm>
#include <utility>

namespace troupe::gpu {
namespace {

/// The tokens of the page that begins at `begin`.
std::vector<token_id> page_tokens(std::span<const token_id> tokens, std::size_t begin) {
  const auto part = tokens.subspan(begin, std::min(kernels::cache_page, tokens.size() - begin));
  return {part.begin(), part.end()};
}

}  // namespace

void prefix_cache::touch(node& used) {
  // From the leaf upwards, so that a parent is always younger than its children.
  for (node* n = &used; n->parent != nullptr; n = n->parent) {
    by_use_.erase(n->used);
    n->used = ++clock_;
    by_use_.emplace(n->used, n);
  }
}

prefix_match prefix_cache::find(std::uint64_t adapter, std::span<const token_id> prompt) {
  prefix_match match;
  const auto root = roots_.find(adapter);
  if (root == roots_.end()) return match;
  node* at = &root->second;
  while (match.num_tokens < prompt.size()) {
    const auto next = at->children.find(page_tokens(prompt, match.num_tokens));
    if (next == at->children.end()) break;
    at = next->second.get();
    match.pages.push_back(at->page);
    match.num_tokens += at->tokens.size();
  }
  if (at->parent == nullptr) return match;
  touch(*at);
  if (match.num_tokens == prompt.size()) match.hidden = at->hidden;
  return match;
}

prefix_cache::node& prefix_cache::child(node& parent, std::vector<token_id> tokens,
                                        const page_ref& page) {
  const auto found = parent.children.find(tokens);
  if (found != parent.children.end()) return *found->second;
  auto made = std::make_unique<node>();
  made->parent = &parent;
  made->tokens = tokens;
  made->page = page;
  ++num_pages_;
  return *parent.children.emplace(std::move(tokens), std::move(made)).first->second;
}

void prefix_cache::insert(std::uint64_t adapter, std::span<const token_id> tokens,
                          const sequence_cache& pages,
                          std::shared_ptr<const std::vector<float>> hidden) {
  const std::size_t known =
      hidden ? tokens.size() : tokens.size() / kernels::cache_page * kernels::cache_page;
  if (known == 0 || page_pool::pages_for(known) > pages_max_) return;
  node* at = &roots_[adapter];
  at->adapter = adapter;
  for (std::size_t begin = 0; begin < known; begin += kernels::cache_page)
    at = &child(*at, page_tokens(tokens.first(known), begin),
                pages.page(begin / kernels::cache_page));
  if (hidden && known == tokens.size()) at->hidden = std::move(hidden);
  touch(*at);
  while (num_pages_ > pages_max_ && drop_oldest()) {
  }
}

bool prefix_cache::drop_oldest() {
  if (by_use_.empty()) return false;
  node* const oldest = by_use_.begin()->second;
  by_use_.erase(by_use_.begin());
  --num_pages_;
  const std::vector<token_id> key = oldest->tokens;
  node& parent = *oldest->parent;
  parent.children.erase(key);
  if (parent.parent == nullptr && parent.children.empty()) roots_.erase(parent.adapter);
  return true;
}

void prefix_cache::clear() {
  by_use_.clear();
  roots_.clear();
  num_pages_ = 0;
}

}  // namespace troupe::gpu
