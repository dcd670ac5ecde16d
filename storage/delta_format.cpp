#include "storage/delta_format.hpp"

#include <bit>
#include <cstring>
#include <string>

#include <xxhash.h>

namespace troupe::storage {

static_assert(std::endian::native == std::endian::little, "headers are stored as they are");

namespace {

/// Chunk header of version 2.
struct chunk_header_v2 {
  std::uint32_t place = 0;  ///< parameter:24 codec:4 step_shift:4
  std::uint32_t num_elements = 0;
  std::uint64_t first_element = 0;
  std::uint32_t num_changed = 0;
  std::uint32_t payload_bytes = 0;
  std::uint64_t before = 0;
  std::uint64_t after = 0;
  std::uint32_t payload_check = 0;
  std::uint32_t check = 0;
};
static_assert(sizeof(chunk_header_v2) == delta_chunk_header_bytes);

/// Chunk header of version 1: whole digests and 64-bit checksums.
struct chunk_header_v1 {
  std::uint32_t parameter = 0;
  std::uint32_t num_elements = 0;
  std::uint64_t first_element = 0;
  std::uint32_t num_changed = 0;
  std::uint32_t payload_bytes = 0;
  std::array<std::uint64_t, 2> before{};
  std::array<std::uint64_t, 2> after{};
  std::uint64_t payload_check = 0;
  std::uint8_t codec = 0;
  std::uint8_t step_shift = 0;
  std::array<std::uint8_t, 6> zero{};
  std::uint64_t check = 0;
};
static_assert(sizeof(chunk_header_v1) == chunk_header_bytes(1));

constexpr std::uint8_t num_codecs_v1 = 5;

tl::unexpected<error> damaged(const std::string& what) {
  return fail(errc::corrupt, "a delta file " + what, "it is damaged or was not written as a delta",
              "sync from the base checkpoint again");
}

template <class Header>
std::uint64_t checksum_of(const Header& header) {
  return XXH3_64bits(&header, sizeof header - sizeof header.check);
}

template <class Header>
result<Header> load(std::span<const std::byte> bytes) {
  Header header;
  if (bytes.size() < sizeof header) return damaged("ends inside a header");
  std::memcpy(&header, bytes.data(), sizeof header);
  if (header.check != static_cast<decltype(header.check)>(checksum_of(header)))
    return damaged("has a header that fails its checksum");
  return header;
}

result<delta_chunk_header> unpack_v1(std::span<const std::byte> bytes) {
  const auto in = load<chunk_header_v1>(bytes);
  if (!in) return fail(in.error());
  if (in->codec >= num_codecs_v1 || in->zero != std::array<std::uint8_t, 6>{})
    return damaged("has a chunk header with impossible numbers");
  return delta_chunk_header{
      in->parameter, in->num_elements, in->first_element, in->num_changed,        in->payload_bytes,
      in->before[0], in->after[0],     in->payload_check, delta_codec{in->codec}, in->step_shift};
}

result<delta_chunk_header> unpack_v2(std::span<const std::byte> bytes) {
  const auto in = load<chunk_header_v2>(bytes);
  if (!in) return fail(in.error());
  const auto codec = static_cast<std::uint8_t>((in->place >> 24) & 15U);
  if (codec >= num_delta_codecs) return damaged("has a chunk of an unknown codec");
  return delta_chunk_header{in->place & (delta_parameter_limit - 1),
                            in->num_elements,
                            in->first_element,
                            in->num_changed,
                            in->payload_bytes,
                            in->before,
                            in->after,
                            in->payload_check,
                            delta_codec{codec},
                            static_cast<std::uint8_t>(in->place >> 28)};
}

}  // namespace

std::uint64_t delta_checksum(std::span<const std::byte> payload) {
  return static_cast<std::uint32_t>(XXH3_64bits(payload.data(), payload.size()));
}

void seal(delta_file_header& header) {
  header.check = checksum_of(header);
}

std::array<std::byte, delta_chunk_header_bytes> packed(const delta_chunk_header& header) {
  chunk_header_v2 out;
  out.place = header.parameter | std::uint32_t{static_cast<std::uint8_t>(header.codec)} << 24 |
              std::uint32_t{header.step_shift} << 28;
  out.num_elements = header.num_elements;
  out.first_element = header.first_element;
  out.num_changed = header.num_changed;
  out.payload_bytes = header.payload_bytes;
  out.before = header.before;
  out.after = header.after;
  out.payload_check = static_cast<std::uint32_t>(header.payload_check);
  out.check = static_cast<std::uint32_t>(checksum_of(out));
  std::array<std::byte, delta_chunk_header_bytes> bytes;
  std::memcpy(bytes.data(), &out, sizeof out);
  return bytes;
}

result<delta_file_header> read_file_header(std::span<const std::byte> start,
                                           std::uint64_t file_bytes) {
  if (start.size() < delta_magic.size() ||
      std::memcmp(start.data(), delta_magic.data(), delta_magic.size()) != 0)
    return damaged("does not begin as one");
  const auto header = load<delta_file_header>(start);
  if (!header) return header;
  if (header->version == 0 || header->version > delta_version)
    return damaged("has version " + std::to_string(header->version) +
                   ", the newest known here is " + std::to_string(delta_version));
  if (header->file_bytes != file_bytes)
    return damaged("has " + std::to_string(file_bytes) + " bytes where its header says " +
                   std::to_string(header->file_bytes));
  return header;
}

result<delta_chunk_header> read_chunk_header(std::span<const std::byte> rest,
                                             std::uint32_t version) {
  auto header = version == 1 ? unpack_v1(rest) : unpack_v2(rest);
  if (!header) return header;
  const bool placed = header->parameter < delta_parameter_limit &&
                      header->first_element < delta_element_limit &&
                      header->num_elements <= delta_chunk_elements;
  const bool coded = header->step_shift <= step_shift_max;
  const bool counted = header->num_changed >= 1 && header->num_changed <= header->num_elements &&
                       header->payload_bytes <= 2 * std::uint64_t{header->num_elements};
  if (!placed || !coded || !counted) return damaged("has a chunk header with impossible numbers");
  return header;
}

result<delta_chunk> read_chunk(std::span<const std::byte> rest, std::uint32_t version) {
  const auto header = read_chunk_header(rest, version);
  if (!header) return fail(header.error());
  const std::size_t header_bytes = chunk_header_bytes(version);
  if (header->payload_bytes > rest.size() - header_bytes) return damaged("ends inside a chunk");
  const auto payload = rest.subspan(header_bytes, header->payload_bytes);
  const std::uint64_t whole = XXH3_64bits(payload.data(), payload.size());
  if (header->payload_check != (version == 1 ? whole : static_cast<std::uint32_t>(whole)))
    return damaged("has a chunk that fails its checksum");
  return delta_chunk{*header, payload, header_bytes + payload.size()};
}

}  // namespace troupe::storage
