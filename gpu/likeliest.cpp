#include "gpu/likeliest.hpp"

#include <algorithm>
#include <numeric>
#include <vector>

#include "gpu/logprob.hpp"

namespace troupe::gpu {

void append_likeliest(std::span<const float> logits, float lse, std::uint32_t wanted,
                      likeliest_tokens& out) {
  const std::size_t count = std::min<std::size_t>(wanted, logits.size());
  std::vector<std::uint32_t> best(count);
  std::vector<std::uint32_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0U);
  std::ranges::partial_sort_copy(order, best, [logits](std::uint32_t a, std::uint32_t b) {
    return logits[a] != logits[b] ? logits[a] > logits[b] : a < b;
  });
  out.per_position = static_cast<std::uint32_t>(count);
  for (const std::uint32_t token : best) {
    out.tokens.push_back(static_cast<token_id>(token));
    out.logprobs.push_back(logprob_of(logits[token], lse));
  }
}

}  // namespace troupe::gpu
