#include "apps/gateway/shared_room.hpp"

namespace troupe::gateway {
namespace {

/// One key alone gets 8/9 of the room, two get 8/17 each.
constexpr std::size_t share_of_rest = 8;

}  // namespace

bool shared_room::has_room_for(const std::string& key_id) const {
  if (num_taken_ >= size_) return false;
  const auto own = taken_.find(key_id);
  return own == taken_.end() || own->second < share_of_rest * (size_ - num_taken_);
}

void shared_room::take(const std::string& key_id) {
  ++taken_[key_id];
  ++num_taken_;
}

void shared_room::give_back(const std::string& key_id) {
  const auto own = taken_.find(key_id);
  if (own == taken_.end()) return;
  --num_taken_;
  if (--own->second == 0) taken_.erase(own);
}

}  // namespace troupe::gateway
