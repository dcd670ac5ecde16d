#include "gpu/torch/open_forwards.hpp"

#include <algorithm>
#include <utility>

#include "config/limits.hpp"

namespace troupe::gpu {

void open_forwards::make_room(const pass_bytes& wanted) {
  std::size_t held = held_bytes();
  for (open_forward& each : list_) {
    const std::size_t others = held - held_by(each.pass);
    while (held + wanted.all > bytes_max_ && give_up_block(each.pass))
      held = others + held_by(each.pass);
  }
  for (open_forward& each : list_) {
    if (held + wanted.inputs <= bytes_max_) return;
    held -= held_by(each.pass);
    reduce_to_tokens(each.pass);
    held += held_by(each.pass);
  }
}

void open_forwards::keep(std::uint64_t seq_id, kept_pass pass) {
  erase(seq_id);
  if (list_.size() >= limits::kept_forwards_max) list_.pop_front();
  list_.push_back({seq_id, std::move(pass)});
  make_room({});
}

kept_pass* open_forwards::find(std::uint64_t seq_id) {
  const auto found = std::ranges::find(list_, seq_id, &open_forward::seq_id);
  return found == list_.end() ? nullptr : &found->pass;
}

void open_forwards::erase(std::uint64_t seq_id) {
  std::erase_if(list_, [seq_id](const open_forward& each) { return each.seq_id == seq_id; });
}

std::size_t open_forwards::held_bytes() const {
  std::size_t bytes = 0;
  for (const open_forward& each : list_)
    bytes += held_by(each.pass);
  return bytes;
}

}  // namespace troupe::gpu
