#include <algorithm>
#include <array>
#include <cstdio>

#include "messages/checkpoint.hpp"
#include "messages/cluster.hpp"
#include "messages/model.hpp"
#include "messages/state_digest.hpp"

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

std::vector<token_id> probe_prompt(const model_config& model) {
  constexpr std::uint64_t length_max = 32;
  std::vector<token_id> out;
  const std::uint64_t length = std::min<std::uint64_t>(length_max, model.max_positions - 1);
  for (std::uint64_t i = 0; i < length; ++i)
    out.push_back(static_cast<token_id>(detail::mix64(i + 1) % model.vocab_size));
  return out;
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
