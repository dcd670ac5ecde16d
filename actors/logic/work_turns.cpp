#include "actors/logic/work_turns.hpp"

#include <algorithm>
#include <utility>

namespace troupe::logic {
namespace {

bool share_a_node(const work_turns::turn& one, const work_turns::turn& other) {
  return std::any_of(one.places.begin(), one.places.end(), [&other](const auto& place) {
    return std::any_of(other.places.begin(), other.places.end(),
                       [&place](const auto& theirs) { return theirs.node == place.node; });
  });
}

}  // namespace

bool work_turns::is_met(const std::string& machine, const std::string& tenant, double now_s) const {
  const auto found = machines_.find(machine);
  if (found == machines_.end()) return false;
  return std::any_of(found->second.begin(), found->second.end(), [&](const auto& entry) {
    const use& other = entry.second;
    return entry.first != tenant && (other.num_working > 0 || now_s - other.last_s < memory_s);
  });
}

bool work_turns::may_work(const turn& wanted, double now_s) const {
  return std::all_of(wanted.places.begin(), wanted.places.end(), [&](const place& at) {
    const auto node = working_on_.find(at.node);
    const bool is_working = node != working_on_.end() && node->second.contains(wanted.tenant);
    return !is_working || !is_met(at.machine, wanted.tenant, now_s);
  });
}

void work_turns::begin(turn wanted, double now_s) {
  for (const place& at : wanted.places) {
    ++working_on_[at.node][wanted.tenant];
    use& own = machines_[at.machine][wanted.tenant];
    ++own.num_working;
    own.last_s = now_s;
  }
  std::string holder = wanted.holder;
  working_.insert_or_assign(std::move(holder), std::move(wanted));
}

void work_turns::leave(const turn& working, double now_s) {
  for (const place& at : working.places) {
    auto& node = working_on_[at.node];
    if (--node[working.tenant] == 0) node.erase(working.tenant);
    if (node.empty()) working_on_.erase(at.node);
    uses& machine = machines_[at.machine];
    use& own = machine[working.tenant];
    --own.num_working;
    own.last_s = now_s;
    std::erase_if(machine, [&](const auto& entry) {
      return entry.second.num_working == 0 && now_s - entry.second.last_s >= memory_s;
    });
  }
}

bool work_turns::take(turn wanted, double now_s) {
  if (wanted.tenant.empty()) wanted.tenant = wanted.holder;
  std::erase_if(waiting_, [&](const turn& t) { return t.holder == wanted.holder; });
  if (const auto before = working_.extract(wanted.holder)) leave(before.mapped(), now_s);
  const bool is_behind = std::any_of(waiting_.begin(), waiting_.end(), [&](const turn& earlier) {
    return earlier.tenant == wanted.tenant && share_a_node(earlier, wanted);
  });
  if (!is_behind && may_work(wanted, now_s)) {
    begin(std::move(wanted), now_s);
    return true;
  }
  waiting_.push_back(std::move(wanted));
  return false;
}

std::vector<std::string> work_turns::end(const std::string& holder, double now_s) {
  std::erase_if(waiting_, [&](const turn& t) { return t.holder == holder; });
  if (const auto before = working_.extract(holder)) leave(before.mapped(), now_s);
  std::vector<std::string> out;
  std::deque<turn> still;
  for (turn& next : waiting_) {
    const bool is_behind = std::any_of(still.begin(), still.end(), [&](const turn& earlier) {
      return earlier.tenant == next.tenant && share_a_node(earlier, next);
    });
    if (is_behind || !may_work(next, now_s)) {
      still.push_back(std::move(next));
      continue;
    }
    out.push_back(next.holder);
    begin(std::move(next), now_s);
  }
  waiting_ = std::move(still);
  return out;
}

}  // namespace troupe::logic
