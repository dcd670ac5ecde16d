#include <iterator>
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

/// Every chunk of a file with nothing believed of its payload but its length.
struct chunk_place {
  delta_chunk_header header;
  std::span<const std::byte> bytes;  ///< header and payload
};

struct scanned_file {
  std::uint32_t version = 0;
  std::uint64_t num_elements = 0;  ///< of the chunks
  std::vector<chunk_place> chunks;
};

result<scanned_file> scan(std::span<const std::byte> file) {
  const auto header = read_file_header(file, file.size());
  if (!header) return fail(header.error());
  scanned_file out{header->version, 0, {}};
  std::uint64_t num_changed = 0;
  std::span<const std::byte> rest = file.subspan(sizeof *header);
  for (std::uint32_t i = 0; i < header->num_chunks; ++i) {
    const auto chunk = read_chunk_header(rest, header->version);
    if (!chunk) return fail(chunk.error());
    const std::size_t bytes = chunk_header_bytes(header->version) + chunk->payload_bytes;
    if (bytes > rest.size()) return damaged("ends inside a chunk");
    if (i > 0 && !follows(out.chunks.back().header, *chunk))
      return damaged("has chunks out of order");
    num_changed += chunk->num_changed;
    out.num_elements += chunk->num_elements;
    out.chunks.push_back({*chunk, rest.first(bytes)});
    rest = rest.subspan(bytes);
  }
  if (!rest.empty()) return damaged("has bytes behind its last chunk");
  if (num_changed != header->num_changed)
    return damaged("changes another number of elements than it says");
  return out;
}

/// Changes of one chunk of whose elements the digest is known.
result<state_digest> decode_known(const delta_chunk& chunk, std::uint64_t live,
                                  std::span<const std::uint16_t> before, decoded_changes& changes) {
  const delta_chunk_header& h = chunk.header;
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

}  // namespace

result<state_digest> decode_verified(const delta_chunk& chunk,
                                     std::span<const std::uint16_t> before,
                                     decoded_changes& changes) {
  const delta_chunk_header& h = chunk.header;
  return decode_known(chunk, low_digest(h.parameter, h.first_element, before), before, changes);
}

result<std::vector<decoded_chunk>> decode_delta(std::span<const std::byte> file,
                                                const state_reader& live, cores use) {
  const auto scanned = scan(file);
  if (!scanned) return fail(scanned.error());
  std::vector<decoded_chunk> chunks(scanned->chunks.size());
  auto done = for_each_index(
      chunks.size(), worth(use, scanned->num_elements), [&](std::size_t i) -> result<void> {
        thread_local std::vector<std::uint16_t> before;
        const auto chunk = read_chunk(scanned->chunks[i].bytes, scanned->version);
        if (!chunk) return fail(chunk.error());
        const delta_chunk_header& h = chunk->header;
        before.resize(h.num_elements);
        if (auto got = live(h.parameter, h.first_element, before); !got) return got;
        decoded_changes changes;
        const auto change = decode_verified(*chunk, before, changes);
        if (!change) return fail(change.error());
        chunks[i] = {h.parameter, std::move(changes.elements), std::move(changes.after), *change};
        return {};
      });
  if (!done) return fail(done.error());
  return chunks;
}

std::optional<std::uint64_t> delta_walk::known(const delta_chunk_header& chunk) const {
  const auto found = seen_.find({chunk.parameter, chunk.first_element});
  if (found == seen_.end() || found->second.num_elements != chunk.num_elements) return std::nullopt;
  return found->second.digest;
}

/// Chunks that another division of the model left there are known no longer.
void delta_walk::note(const delta_chunk_header& chunk) {
  const place first{chunk.parameter, chunk.first_element};
  auto at = seen_.lower_bound(first);
  if (at != seen_.begin()) {
    const auto before = std::prev(at);
    if (before->first.first == chunk.parameter &&
        before->first.second + before->second.num_elements > chunk.first_element)
      at = before;
  }
  while (at != seen_.end() &&
         at->first < place{chunk.parameter, chunk.first_element + chunk.num_elements})
    at = seen_.erase(at);
  seen_[first] = {chunk.num_elements, chunk.after};
}

result<state_digest> delta_walk::apply(std::span<const std::byte> file, cores use) {
  const auto scanned = scan(file);
  if (!scanned) return fail(scanned.error());
  std::vector<state_digest> added(scanned->chunks.size());
  auto done = for_each_index(
      added.size(), worth(use, scanned->num_elements), [&](std::size_t i) -> result<void> {
        thread_local decoded_changes changes;
        const auto chunk = read_chunk(scanned->chunks[i].bytes, scanned->version);
        if (!chunk) return fail(chunk.error());
        const delta_chunk_header& h = chunk->header;
        const auto state = elements_(h.parameter, h.first_element, h.num_elements);
        if (!state) return fail(state.error());
        const auto digest = known(h);
        const auto change = digest ? decode_known(*chunk, *digest, *state, changes)
                                   : decode_verified(*chunk, *state, changes);
        if (!change) return fail(change.error());
        for (std::size_t c = 0; c < changes.elements.size(); ++c)
          (*state)[changes.elements[c] - h.first_element] = changes.after[c];
        added[i] = *change;
        return {};
      });
  if (!done) return fail(done.error());
  state_digest sum;
  for (std::size_t i = 0; i < added.size(); ++i) {
    sum += added[i];
    note(scanned->chunks[i].header);
  }
  return sum;
}

}  // namespace troupe::storage
