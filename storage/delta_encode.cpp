#include <algorithm>
#include <array>
#include <cstring>
#include <numeric>
#include <string>
#include <utility>

#include "messages/state_digest.hpp"
#include "storage/delta_format.hpp"
#include "storage/weight_delta.hpp"

namespace troupe::storage {

namespace {

using bits_span = std::span<const std::uint16_t>;

constexpr std::size_t chunks_at_once = 64;

/// One chunk of a slice, and what it becomes in the file.
struct chunk_work {
  std::uint32_t parameter = 0;
  std::uint64_t first = 0;
  bits_span before;
  bits_span after;
  std::uint32_t num_changed = 0;
  std::array<std::byte, delta_chunk_header_bytes> header{};
  std::vector<std::byte> payload = {};
};

/// What the listed changes add to the low half of a digest.
std::uint64_t change_of_digest(const chunk_work& chunk, const chunk_changes& changes,
                               std::vector<std::uint64_t>& elements) {
  elements.resize(changes.positions.size());
  std::transform(changes.positions.begin(), changes.positions.end(), elements.begin(),
                 [&](std::uint32_t position) { return chunk.first + position; });
  state_digest change;
  replace_elements(change, chunk.parameter, elements, changes.before, changes.after);
  return change.low;
}

void encode(chunk_work& chunk) {
  thread_local chunk_changes changes;
  thread_local std::vector<std::uint64_t> elements;
  coded_chunk coded = encode_chunk(chunk.before, chunk.after, changes);
  chunk.num_changed = coded.num_changed;
  if (coded.num_changed == 0) return;
  delta_chunk_header header;
  header.parameter = chunk.parameter;
  header.num_elements = static_cast<std::uint32_t>(chunk.before.size());
  header.first_element = chunk.first;
  header.num_changed = coded.num_changed;
  header.payload_bytes = static_cast<std::uint32_t>(coded.payload.size());
  header.codec = coded.codec;
  header.step_shift = coded.step_shift;
  header.payload_check = delta_checksum(coded.payload);
  header.before = low_digest(chunk.parameter, chunk.first, chunk.before);
  header.after = is_dense(coded.num_changed, chunk.before.size())
                     ? low_digest(chunk.parameter, chunk.first, chunk.after)
                     : header.before + change_of_digest(chunk, changes, elements);
  chunk.header = packed(header);
  chunk.payload = std::move(coded.payload);
}

/// The chunks of all slices in the order of the file.
std::vector<chunk_work> cut(const std::vector<const slice_change*>& slices) {
  std::vector<chunk_work> chunks;
  for (const slice_change* slice : slices) {
    for (std::size_t begin = 0; begin < slice->before.size(); begin += delta_chunk_elements) {
      const std::size_t count = std::min(delta_chunk_elements, slice->before.size() - begin);
      chunks.push_back({slice->parameter, slice->begin + begin, slice->before.subspan(begin, count),
                        slice->after.subspan(begin, count)});
    }
  }
  return chunks;
}

std::uint64_t num_elements_of(std::span<const slice_change> changes) {
  return std::accumulate(
      changes.begin(), changes.end(), std::uint64_t{0},
      [](std::uint64_t sum, const slice_change& slice) { return sum + slice.before.size(); });
}

class delta_writer {
 public:
  void append(const chunk_work& chunk) {
    encoded_.stats.num_elements += chunk.before.size();
    encoded_.stats.num_changed += chunk.num_changed;
    if (chunk.num_changed == 0) return;
    ++num_chunks_;
    encoded_.file.insert(encoded_.file.end(), chunk.header.begin(), chunk.header.end());
    encoded_.file.insert(encoded_.file.end(), chunk.payload.begin(), chunk.payload.end());
  }

  encoded_delta finish() {
    delta_file_header header;
    header.num_chunks = num_chunks_;
    header.num_elements = encoded_.stats.num_elements;
    header.num_changed = encoded_.stats.num_changed;
    header.file_bytes = encoded_.file.size();
    seal(header);
    std::memcpy(encoded_.file.data(), &header, sizeof header);
    encoded_.stats.bytes = encoded_.file.size();
    return std::move(encoded_);
  }

 private:
  encoded_delta encoded_{std::vector<std::byte>(sizeof(delta_file_header)), {}};
  std::uint32_t num_chunks_ = 0;
};

tl::unexpected<error> wrong_slice(const slice_change& slice, const std::string& what) {
  return fail(errc::invalid_argument,
              "slice at element " + std::to_string(slice.begin) + " of parameter " +
                  std::to_string(slice.parameter) + " " + what,
              "the states compared have different layouts", "publish a base checkpoint");
}

/// The slices in the order of the file.
result<std::vector<const slice_change*>> sorted(std::span<const slice_change> changes) {
  std::vector<const slice_change*> slices;
  slices.reserve(changes.size());
  for (const slice_change& slice : changes) {
    if (slice.before.size() != slice.after.size())
      return wrong_slice(slice, "has different lengths in both states");
    if (slice.parameter >= delta_parameter_limit || slice.begin >= delta_element_limit ||
        slice.before.size() > delta_element_limit - slice.begin)
      return wrong_slice(slice, "lies beyond any model");
    slices.push_back(&slice);
  }
  std::sort(slices.begin(), slices.end(), [](const auto* a, const auto* b) {
    return std::pair(a->parameter, a->begin) < std::pair(b->parameter, b->begin);
  });
  for (std::size_t i = 1; i < slices.size(); ++i) {
    const slice_change& previous = *slices[i - 1];
    if (previous.parameter == slices[i]->parameter &&
        slices[i]->begin < previous.begin + previous.before.size())
      return wrong_slice(*slices[i], "overlaps another");
  }
  return slices;
}

}  // namespace

result<encoded_delta> encode_delta(std::span<const slice_change> changes, cores use) {
  const auto slices = sorted(changes);
  if (!slices) return fail(slices.error());
  std::vector<chunk_work> chunks = cut(*slices);
  delta_writer file;
  const cores helpers = worth(use, num_elements_of(changes));
  // What is encoded waits in memory for what stands before it in the file.
  for (std::size_t begin = 0; begin < chunks.size(); begin += chunks_at_once) {
    const std::size_t count = std::min(chunks_at_once, chunks.size() - begin);
    const auto work = std::span(chunks).subspan(begin, count);
    auto done = for_each_index(count, helpers, [&](std::size_t i) -> result<void> {
      encode(work[i]);
      return {};
    });
    if (!done) return fail(done.error());
    for (chunk_work& chunk : work) {
      file.append(chunk);
      chunk.payload = {};
    }
  }
  return file.finish();
}

}  // namespace troupe::storage
