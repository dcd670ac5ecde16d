#pragma once

// What two ranks show each other before they trust a connection: who they are, the size of the set,
// and the token of its incarnation. Fixed size, so that a stranger cannot make a rank allocate or
// wait for more.
//
// Threading: pure functions. Invariants: comparing tokens takes the same time for every content.

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

#include "config/limits.hpp"

namespace troupe::gpu {

enum class hello_kind : std::uint64_t {
  greeting = 0x314f4c4c45485254,  // "TRHELLO1"
  refusal = 0x3145535546455254,   // "TREFUSE1"
};

struct rank_hello {
  hello_kind kind = hello_kind::greeting;
  std::uint32_t rank = 0;
  std::uint32_t world_size = 0;
  std::uint32_t token_bytes = 0;
  std::array<char, limits::comm_token_bytes_max> token{};
};

inline constexpr std::size_t hello_bytes = 8 + 3 * 4 + limits::comm_token_bytes_max;
using hello_buffer = std::array<std::byte, hello_bytes>;

/// Requires: token.size() <= comm_token_bytes_max.
[[nodiscard]] rank_hello make_hello(std::uint32_t rank, std::uint32_t world_size,
                                    const std::string& token);
[[nodiscard]] hello_buffer encode(const rank_hello& hello);
[[nodiscard]] rank_hello decode(const hello_buffer& bytes);

/// True when `other` greets with the same token and world size as `mine`.
[[nodiscard]] bool is_same_set(const rank_hello& mine, const rank_hello& other);

}  // namespace troupe::gpu
