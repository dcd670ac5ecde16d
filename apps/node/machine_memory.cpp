#include "apps/node/machine_memory.hpp"

#include <algorithm>
#include <charconv>
#include <fstream>

#include <unistd.h>

#include "config/limits.hpp"

namespace troupe::node {
namespace {

constexpr std::size_t smallest_budget = 256 * limits::mebibyte;

std::uint64_t physical_bytes() {
  const long pages = ::sysconf(_SC_PHYS_PAGES);
  const long page_bytes = ::sysconf(_SC_PAGESIZE);
  if (pages <= 0 || page_bytes <= 0) return 0;
  return static_cast<std::uint64_t>(pages) * static_cast<std::uint64_t>(page_bytes);
}

}  // namespace

std::uint64_t machine_memory_bytes() {
  const std::uint64_t physical = physical_bytes();
  std::ifstream file("/sys/fs/cgroup/memory.max");
  std::string text;
  std::getline(file, text);
  const auto limit = parse_memory_limit(text);
  if (!limit) return physical;
  return physical == 0 ? *limit : std::min(physical, *limit);
}

std::optional<std::uint64_t> parse_memory_limit(const std::string& text) {
  std::uint64_t bytes = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, problem] = std::from_chars(text.data(), end, bytes);
  if (problem != std::errc() || rest != end) return std::nullopt;
  return bytes;
}

std::size_t batch_budget(std::uint64_t machine_bytes, std::uint32_t num_processes) {
  if (machine_bytes == 0) return limits::batch_activation_bytes_max;
  const std::uint64_t share = machine_bytes / std::max(num_processes, 1U) / 2;
  return std::clamp<std::uint64_t>(share, smallest_budget, limits::batch_activation_bytes_max);
}

}  // namespace troupe::node
