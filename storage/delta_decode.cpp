#include <algorithm>
#include <string>
#include <utility>

#include "messages/state_digest.hpp"
#include "storage/delta_format.hpp"
#include "storage/weight_delta.hpp"

namespace troupe::storage {

namespace {

std::string place_of(const delta_chunk_header& chunk) {
  return "elements from " + std::to_string(chunk.first_element) + " of parameter " +
         std::to_string(chunk.parameter);
}

tl::unexpected<error> damaged(const std::string& what) {
  return fail(errc::corrupt, "a delta file " + what, "it is damaged or was not written as a delta",
              "sync from the base checkpoint again");
}

class delta_decoder {
 public:
  explicit delta_decoder(const state_reader& live) : live_(live) {}

  result<decoded_chunk> decode(const delta_chunk_header& chunk,
                               std::span<const std::byte> payload) {
    before_.resize(chunk.num_elements);
    const auto read = live_(chunk.parameter, chunk.first_element, before_);
    if (!read) return fail(read.error());
    state_digest digest;
    add_elements(digest, chunk.parameter, chunk.first_element,
                 std::span<const std::uint16_t>(before_));
    if (digest != state_digest{chunk.before_low, chunk.before_high})
      return wrong_base(chunk, digest);
    const auto decoded = decode_chunk(chunk.codec, chunk.step_shift, payload, before_, changes_);
    if (!decoded) return fail(decoded.error());
    const bool all_changed =
        std::equal(changes_.before.begin(), changes_.before.end(), changes_.after.begin(),
                   [](std::uint16_t a, std::uint16_t b) { return a != b; });
    if (changes_.positions.size() != chunk.num_changed || !all_changed)
      return damaged("changes another number of " + place_of(chunk) + " than it says");
    decoded_chunk result{chunk.parameter, std::vector<std::uint64_t>(chunk.num_changed),
                         changes_.after};
    std::transform(changes_.positions.begin(), changes_.positions.end(), result.elements.begin(),
                   [&](std::uint32_t position) { return chunk.first_element + position; });
    replace_elements(digest, chunk.parameter, result.elements, changes_.before, changes_.after);
    if (digest != state_digest{chunk.after_low, chunk.after_high})
      return damaged("does not turn " + place_of(chunk) + " into the state it promises");
    return result;
  }

 private:
  static tl::unexpected<error> wrong_base(const delta_chunk_header& chunk,
                                          const state_digest& live) {
    const bool applied = live == state_digest{chunk.after_low, chunk.after_high};
    return fail(errc::wrong_base, "the delta does not fit the live weights at " + place_of(chunk),
                applied ? "it has been applied already" : "it was made from another state",
                applied ? "nothing is to be done" : "sync the base checkpoint of its chain first");
  }

  const state_reader& live_;
  std::vector<std::uint16_t> before_;
  chunk_changes changes_;
};

/// True when `next` lies wholly behind `last`.
bool follows(const delta_chunk_header& last, const delta_chunk_header& next) {
  if (last.parameter != next.parameter) return last.parameter < next.parameter;
  return next.first_element >= last.first_element + last.num_elements;
}

}  // namespace

result<std::vector<decoded_chunk>> decode_delta(std::span<const std::byte> file,
                                                const state_reader& live) {
  const auto header = read_file_header(file);
  if (!header) return fail(header.error());
  std::vector<decoded_chunk> chunks;
  delta_decoder decoder(live);
  delta_chunk_header last;
  std::uint64_t num_changed = 0;
  std::span<const std::byte> rest = file.subspan(sizeof *header);
  for (std::uint32_t i = 0; i < header->num_chunks; ++i) {
    const auto chunk = read_chunk_header(rest);
    if (!chunk) return fail(chunk.error());
    if (i > 0 && !follows(last, *chunk)) return damaged("has chunks out of order");
    auto decoded = decoder.decode(*chunk, rest.subspan(sizeof *chunk, chunk->payload_bytes));
    if (!decoded) return fail(decoded.error());
    num_changed += chunk->num_changed;
    chunks.push_back(std::move(*decoded));
    last = *chunk;
    rest = rest.subspan(sizeof *chunk + chunk->payload_bytes);
  }
  if (!rest.empty()) return damaged("has bytes behind its last chunk");
  if (num_changed != header->num_changed)
    return damaged("changes another number of elements than it says");
  return chunks;
}

}  // namespace troupe::storage
