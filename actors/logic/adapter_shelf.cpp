#include "actors/logic/adapter_shelf.hpp"

#include <algorithm>
#include <string>

namespace troupe::logic {

std::uint64_t adapter_shelf::num_bytes() const {
  std::uint64_t sum = 0;
  for (const auto& [id, each] : adapters_)
    sum += each.bytes;
  return sum;
}

result<std::vector<checkpoint_id>> adapter_shelf::add(const checkpoint_id& adapter,
                                                      std::uint64_t bytes) {
  if (bytes > bytes_max_)
    return fail(errc::invalid_argument,
                "the adapter takes " + std::to_string(bytes) + " bytes, a sampler has room for " +
                    std::to_string(bytes_max_),
                "its rank is very large", "export it merged and serve it as a model of its own");
  std::vector<std::pair<std::uint64_t, checkpoint_id>> idle;
  for (const auto& [id, each] : adapters_)
    if (each.pins == 0) idle.emplace_back(each.used, id);
  std::ranges::sort(idle);
  std::uint64_t held = num_bytes();
  std::size_t count = adapters_.size();
  std::vector<checkpoint_id> gone;
  for (const auto& [used, id] : idle) {
    if (held + bytes <= bytes_max_ && count < adapters_max_) break;
    held -= adapters_.at(id).bytes;
    --count;
    gone.push_back(id);
  }
  if (held + bytes > bytes_max_ || count >= adapters_max_)
    return fail(errc::busy, std::to_string(adapters_.size()) + " adapters are in use at once",
                "they fill what a sampler keeps for adapters",
                "send the request again in a moment, or add a sampler");
  for (const checkpoint_id& id : gone)
    adapters_.erase(id);
  adapters_[adapter] = {bytes, 1, ++clock_};
  return gone;
}

void adapter_shelf::pin(const checkpoint_id& adapter) {
  entry& each = adapters_.at(adapter);
  ++each.pins;
  each.used = ++clock_;
}

void adapter_shelf::unpin(const checkpoint_id& adapter) {
  const auto found = adapters_.find(adapter);
  if (found != adapters_.end() && found->second.pins > 0) --found->second.pins;
}

}  // namespace troupe::logic
