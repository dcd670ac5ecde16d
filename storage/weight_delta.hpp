#pragma once

// What changed between two bf16 states of one rank's slices: lossless, only the changed elements,
// with digests of each chunk before and after, so that it applies to nothing but its own base and
// never twice. Format: docs/formats/delta.md.
//
// Why ULP steps: a small update moves most changed bf16 values to a neighbour, so positions, coded
// as Rice gaps, are nearly all of the cost. Each chunk takes the codec that is smallest by exact
// size, and a dense one bounds it from above.
//
// Units: elements; bits are the 16 bits of a bf16. Threading: stateless; chunks are encoded and
// decoded on all cores unless a caller wants one.
// Errors: errc::corrupt (damaged bytes), errc::wrong_base (well-formed, but the state it meets is
// not the one it was made from), errc::invalid_argument (sizes differ).
// Invariants: DELTA-1 decode(encode(a, b), a) == b for every bit pattern, -0 and NaN included.
//             DELTA-2 an encoding is never larger than dense by more than 0.1 % plus its header.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "messages/error.hpp"
#include "messages/model.hpp"
#include "storage/core_loop.hpp"
#include "storage/delta_format.hpp"

namespace troupe::storage {

/// Elements [begin, begin + before.size()) of one parameter in both states.
struct slice_change {
  std::uint32_t parameter = 0;
  std::uint64_t begin = 0;
  std::span<const std::uint16_t> before;
  std::span<const std::uint16_t> after;
};

struct delta_stats {
  std::uint64_t num_elements = 0;
  std::uint64_t num_changed = 0;
  std::uint64_t bytes = 0;
};

/// The delta file of one rank.
struct encoded_delta {
  std::vector<std::byte> file;
  delta_stats stats;
};

[[nodiscard]] result<encoded_delta> encode_delta(std::span<const slice_change> changes,
                                                 cores use = cores::all);

/// New bits of changed elements of one chunk, ascending.
struct decoded_chunk {
  std::uint32_t parameter = 0;
  std::vector<std::uint64_t> elements;
  std::vector<std::uint16_t> bits;
  state_digest change;  ///< what they add to the digest of the whole state
};

/// Changes of one chunk against its elements before, both checked against its digests; answers what
/// they add to the digest of the whole state. errc::wrong_base, errc::corrupt.
[[nodiscard]] result<state_digest> decode_verified(const delta_chunk& chunk,
                                                   std::span<const std::uint16_t> before,
                                                   decoded_changes& changes);

/// Reads the live state: fills `out` with elements [begin, begin + out.size()).
using state_reader = std::function<result<void>(std::uint32_t parameter, std::uint64_t begin,
                                                std::span<std::uint16_t> out)>;

/// Decodes and verifies a whole delta file against the live state without changing it: every
/// chunk's digest before must fit the state, its digest after must fit the result. `live` is called
/// from several threads at once.
[[nodiscard]] result<std::vector<decoded_chunk>> decode_delta(std::span<const std::byte> file,
                                                              const state_reader& live,
                                                              cores use = cores::all);

/// Gives elements [begin, begin + count) of a state to be changed; fails where it holds none.
using state_elements = std::function<result<std::span<std::uint16_t>>(
    std::uint32_t parameter, std::uint64_t begin, std::uint64_t count)>;

/// Brings a state forward along deltas in place, for who throws it away when one of them fails.
/// What a chunk's elements are after one delta is known when the next one names the same chunk, so
/// along a chain each element is digested once and not once for every delta.
///
/// Threading: one thread at a time. Errors: as decode_delta; the state is then between two.
class delta_walk {
 public:
  explicit delta_walk(state_elements elements) : elements_(std::move(elements)) {}

  /// What the delta adds to the digest of the state.
  [[nodiscard]] result<state_digest> apply(std::span<const std::byte> file, cores use = cores::all);

 private:
  struct seen_chunk {
    std::uint32_t num_elements = 0;
    std::uint64_t digest = 0;  ///< low half
  };
  using place = std::pair<std::uint32_t, std::uint64_t>;  ///< parameter, first element

  [[nodiscard]] std::optional<std::uint64_t> known(const delta_chunk_header& chunk) const;
  void note(const delta_chunk_header& chunk);

  state_elements elements_;
  std::map<place, seen_chunk> seen_;
};

}  // namespace troupe::storage
