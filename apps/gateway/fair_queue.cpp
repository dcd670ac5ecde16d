#include "apps/gateway/fair_queue.hpp"

#include <algorithm>
#include <utility>

namespace troupe::gateway {

void fair_queue::add(const std::string& key_id, const job& wanted) {
  account& own = accounts_[key_id];
  const double start = std::max(virtual_time_, own.finish);
  own.finish = start + wanted.num_tokens;
  own.waiting.emplace_back(start, wanted);
  ++num_waiting_;
}

void fair_queue::ended(std::uint64_t number) {
  const auto known = open_.extract(number);
  if (!known) return;
  num_open_sequences_ -= known.mapped().num_sequences;
  const auto own = accounts_.find(known.mapped().key_id);
  --own->second.num_open;
  close_if_idle(own);
}

bool fair_queue::withdraw(const std::string& key_id, std::uint64_t number) {
  const auto own = accounts_.find(key_id);
  if (own == accounts_.end()) return false;
  auto& waiting = own->second.waiting;
  const auto found = std::find_if(waiting.begin(), waiting.end(), [number](const auto& entry) {
    return entry.second.number == number;
  });
  if (found == waiting.end()) return false;
  const double num_tokens = found->second.num_tokens;
  // Those behind it move up, but not to before the present.
  const auto earlier = [this, num_tokens](double time) {
    return std::min(time, std::max(virtual_time_, time - num_tokens));
  };
  for (auto later = waiting.erase(found); later != waiting.end(); ++later)
    later->first = earlier(later->first);
  own->second.finish = earlier(own->second.finish);
  --num_waiting_;
  close_if_idle(own);
  return true;
}

void fair_queue::close_if_idle(accounts::iterator own) {
  if (own->second.num_open > 0 || !own->second.waiting.empty()) return;
  if (open_.empty() && num_waiting_ == 0) {
    accounts_.clear();
    virtual_time_ = 0;
  } else if (own->second.finish <= virtual_time_) {
    accounts_.erase(own);
  }
}

fair_queue::accounts::iterator fair_queue::first_that_may_enter() {
  auto first = accounts_.end();
  for (auto it = accounts_.begin(); it != accounts_.end(); ++it) {
    const account& own = it->second;
    if (own.waiting.empty()) continue;
    const std::uint64_t wanted = own.waiting.front().second.num_sequences;
    if (own.num_open > 0 && num_open_sequences_ + wanted > window_) continue;
    const bool is_earlier =
        first == accounts_.end() || own.waiting.front().first < first->second.waiting.front().first;
    if (is_earlier) first = it;
  }
  return first;
}

std::vector<std::uint64_t> fair_queue::next() {
  std::vector<std::uint64_t> out;
  for (auto found = first_that_may_enter(); found != accounts_.end();
       found = first_that_may_enter()) {
    auto& [key_id, own] = *found;
    const auto [start, entering] = own.waiting.front();
    own.waiting.pop_front();
    virtual_time_ = std::max(virtual_time_, start);
    ++own.num_open;
    --num_waiting_;
    num_open_sequences_ += entering.num_sequences;
    open_.emplace(entering.number, open_job{key_id, entering.num_sequences});
    out.push_back(entering.number);
  }
  return out;
}

}  // namespace troupe::gateway
