#include "storage/keys.hpp"

namespace troupe::storage {

std::string big_endian(std::uint64_t number) {
  std::string bytes(8, '\0');
  for (std::size_t i = 0; i < 8; ++i)
    bytes[7 - i] = static_cast<char>(static_cast<unsigned char>(number >> (8 * i)));
  return bytes;
}

std::uint64_t from_big_endian(std::string_view bytes) {
  std::uint64_t number = 0;
  for (std::size_t i = 0; i < 8; ++i)
    number = (number << 8) | static_cast<unsigned char>(bytes[i]);
  return number;
}

std::string ended(std::string_view name) {
  return std::string(name) + '\0';
}

std::string behind(std::string_view name) {
  return std::string(name) + '\1';
}

}  // namespace troupe::storage
