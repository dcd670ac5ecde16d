#include "actors/logic/batch_planner.hpp"

#include <algorithm>
#include <numeric>

namespace troupe::logic {

batch_plan plan_batch(std::span<const std::size_t> num_tokens, std::uint32_t world_size) {
  std::vector<std::size_t> order(num_tokens.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&num_tokens](std::size_t a, std::size_t b) {
    return num_tokens[a] > num_tokens[b];
  });
  batch_plan plan(world_size);
  std::vector<std::size_t> load(world_size, 0);
  for (const std::size_t position : order) {
    const auto least = std::min_element(load.begin(), load.end());
    *least += num_tokens[position];
    plan[static_cast<std::size_t>(least - load.begin())].push_back(position);
  }
  for (auto& positions : plan)
    std::sort(positions.begin(), positions.end());
  return plan;
}

batch_plan plan_batch(std::span<const datum> batch, std::uint32_t world_size) {
  std::vector<std::size_t> num_tokens;
  num_tokens.reserve(batch.size());
  for (const datum& d : batch)
    num_tokens.push_back(d.tokens.size());
  return plan_batch(num_tokens, world_size);
}

}  // namespace troupe::logic
