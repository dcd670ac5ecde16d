#include <algorithm>
#include <bit>
#include <cstring>
#include <string>
#include <utility>

#include "messages/state_digest.hpp"
#include "storage/delta_format.hpp"
#include "storage/weight_delta.hpp"

namespace troupe::storage {

namespace {

using bits_span = std::span<const std::uint16_t>;

/// Collects where two spans of one length differ; four elements are compared at a time, because
/// most of them are equal.
void find_changes(bits_span before, bits_span after, chunk_changes& changes) {
  changes.clear();
  const auto add_if_changed = [&](std::size_t i) {
    if (before[i] == after[i]) return;
    changes.positions.push_back(static_cast<std::uint32_t>(i));
    changes.before.push_back(before[i]);
    changes.after.push_back(after[i]);
  };
  std::size_t i = 0;
  for (; i + 4 <= before.size(); i += 4) {
    std::uint64_t old_four = 0;
    std::uint64_t new_four = 0;
    std::memcpy(&old_four, before.data() + i, sizeof old_four);
    std::memcpy(&new_four, after.data() + i, sizeof new_four);
    std::uint64_t flipped = old_four ^ new_four;
    while (flipped != 0) {
      const auto lane = static_cast<unsigned>(std::countr_zero(flipped)) / 16;
      add_if_changed(i + lane);
      flipped &= ~(std::uint64_t{0xffff} << (16 * lane));
    }
  }
  for (; i < before.size(); ++i)
    add_if_changed(i);
}

class delta_encoder {
 public:
  void add(const slice_change& slice) {
    encoded_.stats.num_elements += slice.before.size();
    for (std::size_t begin = 0; begin < slice.before.size(); begin += delta_chunk_elements) {
      const std::size_t count = std::min(delta_chunk_elements, slice.before.size() - begin);
      add_chunk(slice.parameter, slice.begin + begin, slice.before.subspan(begin, count),
                slice.after.subspan(begin, count));
    }
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
  void add_chunk(std::uint32_t parameter, std::uint64_t first, bits_span before, bits_span after) {
    find_changes(before, after, changes_);
    if (changes_.positions.empty()) return;
    const coded_chunk coded = encode_chunk(changes_, before, after);
    delta_chunk_header header;
    header.parameter = parameter;
    header.num_elements = static_cast<std::uint32_t>(before.size());
    header.first_element = first;
    header.num_changed = static_cast<std::uint32_t>(changes_.positions.size());
    header.payload_bytes = static_cast<std::uint32_t>(coded.payload.size());
    header.codec = coded.codec;
    header.step_shift = coded.step_shift;
    header.payload_check = delta_checksum(coded.payload);
    header.before = low_digest(parameter, first, before);
    elements_.resize(changes_.positions.size());
    std::transform(changes_.positions.begin(), changes_.positions.end(), elements_.begin(),
                   [&](std::uint32_t position) { return first + position; });
    state_digest change;
    replace_elements(change, parameter, elements_, changes_.before, changes_.after);
    header.after = header.before + change.low;
    append(packed(header));
    append(coded.payload);
    ++num_chunks_;
    encoded_.stats.num_changed += changes_.positions.size();
  }

  void append(std::span<const std::byte> bytes) {
    encoded_.file.insert(encoded_.file.end(), bytes.begin(), bytes.end());
  }

  encoded_delta encoded_{std::vector<std::byte>(sizeof(delta_file_header)), {}};
  std::uint32_t num_chunks_ = 0;
  chunk_changes changes_;
  std::vector<std::uint64_t> elements_;
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

result<encoded_delta> encode_delta(std::span<const slice_change> changes) {
  const auto slices = sorted(changes);
  if (!slices) return fail(slices.error());
  delta_encoder encoder;
  for (const slice_change* slice : *slices)
    encoder.add(*slice);
  return encoder.finish();
}

}  // namespace troupe::storage
