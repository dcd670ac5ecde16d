#include "gpu/torch/frozen_base.hpp"

#include <algorithm>

namespace troupe::gpu {

std::shared_ptr<frozen_base> frozen_bases::find_or_make(const key& wanted) {
  auto made = std::make_shared<frozen_base>();
  if (wanted.identity.empty()) return made;
  const std::lock_guard lock(mutex_);
  std::erase_if(entries_, [](const entry& e) { return e.base.expired(); });
  const auto found = std::ranges::find(entries_, wanted, &entry::name);
  if (found != entries_.end())
    if (auto living = found->base.lock()) return living;
  entries_.push_back({wanted, made});
  return made;
}

}  // namespace troupe::gpu
