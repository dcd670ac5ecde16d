#include "actors/logic/replica_router.hpp"

#include <algorithm>

#include "messages/state_digest.hpp"

namespace troupe::logic {
namespace {

constexpr std::size_t page_tokens = 64;

/// Some thousand prompts of some pages: a few hundred kilobytes.
constexpr std::size_t beginnings_max = 16'384;

/// How much busier than the idlest a replica may be that knows the prompt: computing a prompt again
/// costs about as much as a few sequences more in the batch.
constexpr std::uint64_t extra_load_max = 8;

/// Digests of the prompt's beginnings, shortest first; the last is the whole prompt's.
std::vector<std::uint64_t> beginnings_of(std::span<const token_id> prompt) {
  std::vector<std::uint64_t> out;
  std::uint64_t digest = 1;
  for (std::size_t i = 0; i < prompt.size(); ++i) {
    digest = detail::mix64(digest * 31 + static_cast<std::uint64_t>(prompt[i]));
    if ((i + 1) % page_tokens == 0 || i + 1 == prompt.size()) out.push_back(digest);
  }
  return out;
}

}  // namespace

std::optional<std::uint32_t> replica_router::choose(std::span<const token_id> prompt,
                                                    std::span<const routing_candidate> candidates) {
  if (candidates.empty()) return std::nullopt;
  const auto idlest = *std::ranges::min_element(candidates, {}, [](const routing_candidate& c) {
    return std::pair{c.load, c.place};
  });
  const auto beginnings = beginnings_of(prompt);
  std::uint32_t chosen = idlest.place;
  for (auto beginning = beginnings.rbegin(); beginning != beginnings.rend(); ++beginning) {
    const auto known = places_.find(*beginning);
    if (known == places_.end()) continue;
    const auto knows_it = [&](const routing_candidate& c) { return c.place == known->second; };
    const auto candidate = std::ranges::find_if(candidates, knows_it);
    if (candidate == candidates.end()) continue;
    if (candidate->load <= idlest.load + extra_load_max) chosen = candidate->place;
    break;
  }
  remember(beginnings, chosen);
  return chosen;
}

void replica_router::remember(std::span<const std::uint64_t> beginnings, std::uint32_t place) {
  for (const std::uint64_t beginning : beginnings) {
    if (places_.insert_or_assign(beginning, place).second) order_.push_back(beginning);
  }
  while (order_.size() > beginnings_max) {
    places_.erase(order_.front());
    order_.pop_front();
  }
}

void replica_router::forget(std::uint32_t place) {
  std::erase_if(places_, [place](const auto& known) { return known.second == place; });
  std::erase_if(order_, [this](std::uint64_t beginning) { return !places_.contains(beginning); });
}

}  // namespace troupe::logic
