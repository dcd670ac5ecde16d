#pragma once

// Room that all keys share and none may fill alone: a key may take what it wants as long as it has
// less than a multiple of what is left, so that a busy key uses nearly all of it and a new one
// still finds some. (The dynamic threshold of switches with shared buffers: Choudhury and Hahne,
// 1998.)
//
// Threading: a plain value, one owner.
// Invariants: ROOM-1 a key that has nothing is never refused by what a single other one took.

#include <cstddef>
#include <string>
#include <unordered_map>

namespace troupe::gateway {

class shared_room {
 public:
  explicit shared_room(std::size_t size) : size_(size) {}

  [[nodiscard]] bool has_room_for(const std::string& key_id) const;
  void take(const std::string& key_id);
  void give_back(const std::string& key_id);

  [[nodiscard]] std::size_t num_taken() const { return num_taken_; }

 private:
  std::size_t size_;
  std::size_t num_taken_ = 0;
  std::unordered_map<std::string, std::size_t> taken_;
};

}  // namespace troupe::gateway
