#include <array>
#include <cstdio>

#include "messages/checkpoint.hpp"
#include "messages/cluster.hpp"
#include "messages/model.hpp"

namespace troupe {

std::string to_hex(const state_digest& digest) {
  std::array<char, 33> text{};
  std::snprintf(text.data(), text.size(), "%016llx%016llx",
                static_cast<unsigned long long>(digest.high),
                static_cast<unsigned long long>(digest.low));
  return std::string(text.data(), 32);
}

std::uint64_t total_bytes(const checkpoint_manifest& manifest) {
  std::uint64_t bytes = 0;
  for (const checkpoint_file& file : manifest.files)
    bytes += file.bytes;
  return bytes;
}

std::string_view to_string(node_role role) {
  switch (role) {
    case node_role::control:
      return "control";
    case node_role::trainer:
      return "trainer";
    case node_role::sampler:
      return "sampler";
    case node_role::client:
      return "client";
  }
  return "unknown";
}

}  // namespace troupe
