#include "storage/chain_fold.hpp"

#include <algorithm>
#include <utility>

#include "messages/state_digest.hpp"
#include "storage/delta_index.hpp"
#include "storage/slice_file.hpp"

namespace troupe::storage {

namespace {

// What is held at once: both states of so many elements, 64 MiB.
constexpr std::uint64_t elements_at_once = std::uint64_t{16} << 20;

/// Neighbouring elements that chunks of the chain cover together.
struct covered_range {
  std::uint32_t parameter = 0;
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
  std::size_t first_chunk = 0;
  std::size_t last_chunk = 0;  ///< one behind
};

/// Chunks that overlap belong together: deltas of other world sizes cut the model elsewhere.
std::vector<covered_range> ranges_of(const std::vector<delta_index::entry>& chunks) {
  std::vector<covered_range> ranges;
  for (std::size_t i = 0; i < chunks.size(); ++i) {
    const delta_index::entry& chunk = chunks[i];
    const std::uint64_t end = chunk.first_element + chunk.num_elements;
    const bool joins = !ranges.empty() && ranges.back().parameter == chunk.parameter &&
                       chunk.first_element < ranges.back().end;
    if (!joins) ranges.push_back({chunk.parameter, chunk.first_element, end, i, i});
    ranges.back().end = std::max(ranges.back().end, end);
    ranges.back().last_chunk = i + 1;
  }
  return ranges;
}

class folder {
 public:
  folder(blob_store& blobs, slice_reader base, delta_index deltas)
      : blobs_(blobs), base_(std::move(base)), deltas_(std::move(deltas)) {}

  result<std::vector<checkpoint_file>> run() {
    const auto ranges = ranges_of(deltas_.chunks());
    std::size_t next = 0;
    do {
      std::uint64_t held = 0;
      states_.clear();
      for (; next < ranges.size() && held < elements_at_once; ++next) {
        if (auto ok = bring_forward(ranges[next]); !ok) return fail(ok.error());
        held += ranges[next].end - ranges[next].begin;
      }
      if (auto ok = write(); !ok) return fail(ok.error());
    } while (next < ranges.size());
    return std::move(files_);
  }

  /// What the deltas added to the digest of the state.
  [[nodiscard]] const state_digest& change() const { return change_; }

 private:
  struct both_states {
    covered_range range;
    std::vector<std::uint16_t> before;
    std::vector<std::uint16_t> after;
  };

  result<void> bring_forward(const covered_range& range) {
    both_states states{range, std::vector<std::uint16_t>(range.end - range.begin), {}};
    auto got = base_.read(slice_part::weights, range.parameter, range.begin,
                          std::span<std::uint16_t>(states.before));
    if (!got) return got;
    states.after = states.before;
    std::vector<delta_index::entry> chunks(
        deltas_.chunks().begin() + static_cast<std::ptrdiff_t>(range.first_chunk),
        deltas_.chunks().begin() + static_cast<std::ptrdiff_t>(range.last_chunk));
    std::stable_sort(chunks.begin(), chunks.end(),
                     [](const auto& a, const auto& b) { return a.delta < b.delta; });
    for (const delta_index::entry& place : chunks) {
      const auto chunk = deltas_.read(place);
      if (!chunk) return fail(chunk.error());
      const auto live = std::span<const std::uint16_t>(states.after)
                            .subspan(place.first_element - range.begin, place.num_elements);
      const auto change = decode_verified(*chunk, live, changes_);
      if (!change) return fail(change.error());
      change_ += *change;
      for (std::size_t i = 0; i < changes_.elements.size(); ++i)
        states.after[changes_.elements[i] - range.begin] = changes_.after[i];
    }
    states_.push_back(std::move(states));
    return {};
  }

  result<void> write() {
    std::vector<slice_change> slices;
    for (const both_states& states : states_)
      slices.push_back({states.range.parameter, states.range.begin, states.before, states.after});
    const auto encoded = encode_delta(slices);
    if (!encoded) return fail(encoded.error());
    auto writer = blobs_.create();
    if (!writer) return fail(writer.error());
    if (auto put = (*writer)->append(encoded->file); !put) return put;
    auto blob = (*writer)->commit();
    if (!blob) return fail(blob.error());
    files_.push_back({blob->blob, blob->bytes, static_cast<std::uint32_t>(files_.size())});
    return {};
  }

  blob_store& blobs_;
  slice_reader base_;
  delta_index deltas_;
  std::vector<both_states> states_;
  std::vector<checkpoint_file> files_;
  decoded_changes changes_;
  state_digest change_;
};

}  // namespace

result<checkpoint_manifest> fold_chain(blob_store& blobs,
                                       const std::vector<checkpoint_record>& chain) {
  if (chain.size() < 2 || chain.front().manifest.kind != checkpoint_kind::sampler_base)
    return fail(errc::internal, "only a base with deltas can be folded");
  const checkpoint_record& base = chain.front();
  auto base_files =
      slice_reader::open(blobs, base.manifest.files, slice_reader::verification::headers);
  if (!base_files) return fail(base_files.error());
  auto deltas = delta_index::open(blobs, {chain.begin() + 1, chain.end()});
  if (!deltas) return fail(deltas.error());
  folder work(blobs, std::move(*base_files), std::move(*deltas));
  auto files = work.run();
  if (!files) return fail(files.error());
  checkpoint_manifest folded = chain.back().manifest;
  state_digest reached = base.manifest.state;
  reached += work.change();
  if (reached != folded.state)
    return fail(errc::corrupt, "the chain does not give the state that its last record promises",
                "a delta of it was damaged before it was recorded", "publish a base checkpoint");
  folded.name.clear();
  folded.parent = folded.base = base.id;
  folded.depth = 1;
  folded.parent_state = base.manifest.state;
  folded.files = std::move(*files);
  folded.folds = chain.back().id;
  return folded;
}

}  // namespace troupe::storage
