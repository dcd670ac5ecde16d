#include "storage/delta_format.hpp"

#include <bit>
#include <cstring>
#include <string>
#include <type_traits>

#include <xxhash.h>

namespace troupe::storage {

namespace {

static_assert(std::endian::native == std::endian::little, "headers lie in files as in memory");
static_assert(std::has_unique_object_representations_v<delta_file_header>);
static_assert(std::has_unique_object_representations_v<delta_chunk_header>);

tl::unexpected<error> damaged(const std::string& what) {
  return fail(errc::corrupt, "a delta file " + what, "it is damaged or was not written as a delta",
              "sync from the base checkpoint again");
}

template <class Header>
std::uint64_t checksum_of(const Header& header) {
  const auto bytes = std::as_bytes(std::span(&header, 1));
  return delta_checksum(bytes.first(bytes.size() - sizeof header.check));
}

template <class Header>
result<Header> load(std::span<const std::byte> bytes) {
  Header header;
  if (bytes.size() < sizeof header) return damaged("ends inside a header");
  std::memcpy(&header, bytes.data(), sizeof header);
  if (header.check != checksum_of(header)) return damaged("has a header that fails its checksum");
  return header;
}

}  // namespace

std::uint64_t delta_checksum(std::span<const std::byte> bytes) {
  return XXH3_64bits(bytes.data(), bytes.size());
}

void seal(delta_file_header& header) {
  header.check = checksum_of(header);
}

void seal(delta_chunk_header& header) {
  header.check = checksum_of(header);
}

result<delta_file_header> read_file_header(std::span<const std::byte> file) {
  if (file.size() < delta_magic.size() ||
      std::memcmp(file.data(), delta_magic.data(), delta_magic.size()) != 0)
    return damaged("does not begin as one");
  const auto header = load<delta_file_header>(file);
  if (!header) return header;
  if (header->version != delta_version)
    return damaged("has version " + std::to_string(header->version) + ", known here is " +
                   std::to_string(delta_version));
  if (header->file_bytes != file.size())
    return damaged("has " + std::to_string(file.size()) + " bytes where its header says " +
                   std::to_string(header->file_bytes));
  return header;
}

result<delta_chunk_header> read_chunk_header(std::span<const std::byte> rest) {
  const auto header = load<delta_chunk_header>(rest);
  if (!header) return header;
  const bool placed = header->parameter < delta_parameter_limit &&
                      header->first_element < delta_element_limit &&
                      header->num_elements <= delta_chunk_elements;
  const bool coded = static_cast<std::uint8_t>(header->codec) < num_delta_codecs &&
                     header->step_shift <= step_shift_max &&
                     header->zero == std::array<std::uint8_t, 6>{};
  const bool counted = header->num_changed >= 1 && header->num_changed <= header->num_elements &&
                       header->payload_bytes <= 2 * std::uint64_t{header->num_elements};
  if (!placed || !coded || !counted) return damaged("has a chunk header with impossible numbers");
  if (header->payload_bytes > rest.size() - sizeof *header) return damaged("ends inside a chunk");
  const auto payload = rest.subspan(sizeof *header, header->payload_bytes);
  if (delta_checksum(payload) != header->payload_check)
    return damaged("has a chunk that fails its checksum");
  return header;
}

}  // namespace troupe::storage
