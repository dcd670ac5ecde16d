#include "gpu/rank_agreement.hpp"

#include <algorithm>
#include <array>
#include <string>

#include "messages/text_prefix.hpp"

namespace troupe::gpu {
namespace {

/// Of what, cause and action each. A sum carries one byte in each number, exactly.
constexpr std::size_t part_bytes_max = 512;

using words = std::vector<double>;

void write_part(const std::string& text, std::span<double> into) {
  std::ranges::transform(text_prefix(text, into.size()), into.begin(), [](char byte) {
    return static_cast<double>(static_cast<unsigned char>(byte));
  });
}

std::string read_part(std::span<const double> from) {
  std::string text;
  for (std::size_t i = 0; i < from.size() && from[i] != 0; ++i)
    text.push_back(static_cast<char>(static_cast<unsigned char>(from[i])));
  return text;
}

std::array<std::span<double>, 3> parts_of(words& all) {
  const std::span<double> view(all);
  return {view.subspan(0, part_bytes_max), view.subspan(part_bytes_max, part_bytes_max),
          view.subspan(2 * part_bytes_max, part_bytes_max)};
}

}  // namespace

result<void> agree(comm& ranks, result<void> mine) {
  if (ranks.world_size() == 1) return mine;
  std::vector<double> refusals(ranks.world_size(), 0.0);
  if (!mine) refusals[ranks.rank()] = static_cast<double>(mine.error().code);
  if (auto ok = ranks.all_reduce(refusals); !ok) return ok;
  const auto first = std::ranges::find_if(refusals, [](double code) { return code != 0.0; });
  if (first == refusals.end()) return {};
  const auto rank = static_cast<std::uint32_t>(first - refusals.begin());
  words all(3 * part_bytes_max, 0.0);
  const auto [what, cause, action] = parts_of(all);
  if (rank == ranks.rank()) {
    write_part(mine.error().what, what);
    write_part(mine.error().cause, cause);
    write_part(mine.error().action, action);
  }
  if (auto ok = ranks.all_reduce(all); !ok) return ok;
  return fail(static_cast<errc>(*first), "rank " + std::to_string(rank) + ": " + read_part(what),
              read_part(cause), read_part(action));
}

}  // namespace troupe::gpu
