#include "apps/gateway/age_recipient.hpp"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace troupe::gateway {
namespace {

constexpr std::string_view prefix = "age";
constexpr std::string_view alphabet = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";
constexpr std::size_t checksum_letters = 6;
constexpr std::size_t key_letters = 52;  ///< 32 bytes in pieces of 5 bits

/// The remainder of the checksum's polynomial; 1 when the text is whole.
std::uint32_t remainder_of(const std::vector<std::uint8_t>& values) {
  constexpr std::array<std::uint32_t, 5> generator{0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd,
                                                   0x2a1462b3};
  std::uint32_t out = 1;
  for (const std::uint8_t value : values) {
    const std::uint32_t top = out >> 25U;
    out = ((out & 0x1ffffffU) << 5U) ^ value;
    for (std::size_t i = 0; i < generator.size(); ++i)
      if (((top >> i) & 1U) != 0) out ^= generator[i];
  }
  return out;
}

bool is_whole(const std::vector<std::uint8_t>& values) {
  std::vector<std::uint8_t> all;
  for (const char c : prefix)
    all.push_back(static_cast<std::uint8_t>(c) >> 5U);
  all.push_back(0);
  for (const char c : prefix)
    all.push_back(static_cast<std::uint8_t>(c) & 31U);
  all.insert(all.end(), values.begin(), values.end());
  return remainder_of(all) == 1;
}

std::optional<age_key> key_of(std::string_view text) {
  if (text.size() != prefix.size() + 1 + key_letters + checksum_letters) return std::nullopt;
  if (!text.starts_with(prefix) || text[prefix.size()] != '1') return std::nullopt;
  std::vector<std::uint8_t> values;
  for (const char c : text.substr(prefix.size() + 1)) {
    const std::size_t value = alphabet.find(c);
    if (value == std::string_view::npos) return std::nullopt;
    values.push_back(static_cast<std::uint8_t>(value));
  }
  if (!is_whole(values)) return std::nullopt;
  age_key out{};
  std::uint32_t bits = 0;
  std::uint32_t num_bits = 0;
  std::size_t filled = 0;
  for (std::size_t i = 0; i < key_letters; ++i) {
    bits = bits << 5U | values[i];
    num_bits += 5;
    if (num_bits < 8) continue;
    num_bits -= 8;
    out[filled++] = static_cast<unsigned char>(bits >> num_bits);
    bits &= (1U << num_bits) - 1;
  }
  return bits == 0 ? std::optional(out) : std::nullopt;
}

}  // namespace

result<age_key> parse_age_recipient(std::string_view text) {
  if (text.starts_with("ssh-")) {
    return fail(errc::unsupported, "SSH keys are no recipients here", "",
                "make a key of age's own with `age-keygen`, and pass its age1... line");
  }
  if (const auto key = key_of(text)) return *key;
  return fail(errc::invalid_argument, "'" + std::string(text.substr(0, 100)) + "' is no age key",
              "it is mistyped, or of another kind", "pass the age1... line of `age-keygen`");
}

}  // namespace troupe::gateway
