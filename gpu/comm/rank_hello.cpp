#include "gpu/comm/rank_hello.hpp"

#include <algorithm>
#include <bit>
#include <cstring>

namespace troupe::gpu {

static_assert(std::endian::native == std::endian::little, "the wire order is little-endian");

rank_hello make_hello(std::uint32_t rank, std::uint32_t world_size, const std::string& token) {
  rank_hello hello;
  hello.rank = rank;
  hello.world_size = world_size;
  hello.token_bytes = static_cast<std::uint32_t>(token.size());
  std::ranges::copy(token, hello.token.begin());
  return hello;
}

hello_buffer encode(const rank_hello& hello) {
  hello_buffer bytes{};
  std::memcpy(bytes.data(), &hello.kind, 8);
  std::memcpy(bytes.data() + 8, &hello.rank, 4);
  std::memcpy(bytes.data() + 12, &hello.world_size, 4);
  std::memcpy(bytes.data() + 16, &hello.token_bytes, 4);
  std::memcpy(bytes.data() + 20, hello.token.data(), hello.token.size());
  return bytes;
}

rank_hello decode(const hello_buffer& bytes) {
  rank_hello hello;
  std::memcpy(&hello.kind, bytes.data(), 8);
  std::memcpy(&hello.rank, bytes.data() + 8, 4);
  std::memcpy(&hello.world_size, bytes.data() + 12, 4);
  std::memcpy(&hello.token_bytes, bytes.data() + 16, 4);
  std::memcpy(hello.token.data(), bytes.data() + 20, hello.token.size());
  return hello;
}

bool is_same_set(const rank_hello& mine, const rank_hello& other) {
  std::uint32_t difference = mine.token_bytes ^ other.token_bytes;
  for (std::size_t i = 0; i < mine.token.size(); ++i) {
    const auto a = static_cast<unsigned char>(mine.token[i]);
    const auto b = static_cast<unsigned char>(other.token[i]);
    difference |= static_cast<std::uint32_t>(a ^ b);
  }
  return difference == 0 && other.kind == hello_kind::greeting &&
         mine.world_size == other.world_size;
}

}  // namespace troupe::gpu
