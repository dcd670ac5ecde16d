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

tl::unexpected<error> wrong_base(const delta_chunk_header& chunk, std::uint64_t live) {
  const bool applied = live == chunk.after;
  return fail(errc::wrong_base, "the delta does not fit the live weights at " + place_of(chunk),
              applied ? "it has been applied already" : "it was made from another state",
              applied ? "nothing is to be done" : "sync the base checkpoint of its chain first");
}

/// True when `next` lies wholly behind `last`.
bool follows(const delta_chunk_header& last, const delta_chunk_header& next) {
  if (last.parameter != next.parameter) return last.parameter < next.parameter;
  return next.first_element >= last.first_element + last.num_elements;
}

}  // namespace

result<state_digest> decode_verified(const delta_chunk& chunk,
                                     std::span<const std::uint16_t> before,
                                     decoded_changes& changes) {
  const delta_chunk_header& h = chunk.header;
  const std::uint64_t live = low_digest(h.parameter, h.first_element, before);
  if (live != h.before) return wrong_base(h, live);
  const auto decoded = decode_chunk({h.codec, h.step_shift, h.first_element, h.num_changed},
                                    chunk.payload, before, changes);
  if (!decoded) return fail(decoded.error());
  state_digest change;
  replace_elements(change, h.parameter, changes.elements, changes.before, changes.after);
  if (live + change.low != h.after)
    return damaged("does not turn " + place_of(h) + " into the state it promises");
  return change;
}

result<std::vector<decoded_chunk>> decode_delta(std::span<const std::byte> file,
                                                const state_reader& live) {
  const auto header = read_file_header(file, file.size());
  if (!header) return fail(header.error());
  std::vector<decoded_chunk> chunks;
  std::vector<std::uint16_t> before;
  decoded_changes changes;
  delta_chunk_header last;
  std::uint64_t num_changed = 0;
  std::span<const std::byte> rest = file.subspan(sizeof *header);
  for (std::uint32_t i = 0; i < header->num_chunks; ++i) {
    const auto chunk = read_chunk(rest, header->version);
    if (!chunk) return fail(chunk.error());
    const delta_chunk_header& h = chunk->header;
    if (i > 0 && !follows(last, h)) return damaged("has chunks out of order");
    before.resize(h.num_elements);
    if (const auto got = live(h.parameter, h.first_element, before); !got) return fail(got.error());
    const auto change = decode_verified(*chunk, before, changes);
    if (!change) return fail(change.error());
    num_changed += h.num_changed;
    chunks.push_back({h.parameter, std::move(changes.elements), std::move(changes.after), *change});
    last = h;
    rest = rest.subspan(chunk->bytes);
  }
  if (!rest.empty()) return damaged("has bytes behind its last chunk");
  if (num_changed != header->num_changed)
    return damaged("changes another number of elements than it says");
  return chunks;
}

}  // namespace troupe::storage
