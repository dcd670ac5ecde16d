#include "actors/engine_io/parameter_files.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <filesystem>
#include <numeric>
#include <system_error>

#include "config/failpoint.hpp"
#include "gpu/models/parameter_layout.hpp"
#include "messages/state_digest.hpp"

namespace troupe::actors {
namespace {

storage::slice_part stored(gpu::state_part part) {
  return static_cast<storage::slice_part>(static_cast<std::uint8_t>(part));
}

}  // namespace

std::uint16_t to_bf16(float value) {
  const auto bits = std::bit_cast<std::uint32_t>(value);
  if (std::isnan(value)) return static_cast<std::uint16_t>((bits >> 16) | 0x40U);
  return static_cast<std::uint16_t>((bits + 0x7fffU + ((bits >> 16) & 1U)) >> 16);
}

float from_bf16(std::uint16_t bits) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
}

result<opened_model> open_model(const model_source& source) {
  auto files = storage::open_hf_directory(source.directory);
  if (!files) return fail(files.error());
  if (auto valid = gpu::validate((*files)->config()); !valid) return fail(valid.error());
  auto layout = gpu::parameter_layout((*files)->config());
  if (auto fits = (*files)->check_layout(layout); !fits) return fail(fits.error());
  return opened_model{std::move(*files), std::move(layout)};
}

std::vector<gpu::parameter_slice> whole_model(const std::vector<parameter_spec>& layout) {
  std::vector<gpu::parameter_slice> slices;
  for (std::uint32_t i = 0; i < layout.size(); ++i)
    slices.push_back({i, 0, layout[i].num_elements()});
  return slices;
}

std::string weights_identity(const model_source& source) {
  namespace fs = std::filesystem;
  std::error_code problem;
  std::vector<std::string> files;
  for (fs::directory_iterator each(source.directory, problem), end; !problem && each != end;
       each.increment(problem)) {
    const auto size = each->file_size(problem);
    if (problem) break;
    const auto time = each->last_write_time(problem).time_since_epoch().count();
    files.push_back(each->path().filename().string() + " " + std::to_string(size) + " " +
                    std::to_string(time));
  }
  if (problem || files.empty()) return {};
  std::ranges::sort(files);
  std::string identity = source.directory;
  for (const std::string& file : files)
    identity += "\n" + file;
  return identity;
}

result<void> hf_source::read(gpu::state_part part, const gpu::parameter_slice& slice,
                             std::span<float> out) {
  if (part != gpu::state_part::weights) {
    return fail(errc::internal, "a model directory holds no optimizer state");
  }
  return model_.files->read(model_.layout[slice.parameter].name, slice.begin, out);
}

result<void> slice_source::read(gpu::state_part part, const gpu::parameter_slice& slice,
                                std::span<float> out) {
  return reader_.read(stored(part), slice.parameter, slice.begin, out);
}

result<void> slice_sink::write(gpu::state_part, const gpu::parameter_slice&,
                               std::span<const float> values) {
  return writer_.append(values);
}

result<void> memory_sink::write(gpu::state_part part, const gpu::parameter_slice& slice,
                                std::span<const float> values) {
  if (values_.size() == entries_.size()) values_.emplace_back();
  values_[entries_.size()].assign(values.begin(), values.end());
  entries_.push_back({stored(part), slice.parameter, slice.begin, slice.end});
  return {};
}

void memory_sink::start_again() {
  entries_.clear();
}

result<storage::blob_info> memory_sink::write_to(storage::blob_store& blobs) const {
  auto writer = storage::slice_writer::create(blobs, dtype::f32, entries_);
  if (!writer) return fail(writer.error());
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    const std::span<const float> values(values_[i]);
    if (auto put = writer->append(values); !put) return fail(put.error());
    config::failpoint("s2");
  }
  return writer->commit();
}

bf16_state::bf16_state(const std::vector<gpu::parameter_slice>& slices) : slices_(slices) {
  std::sort(slices_.begin(), slices_.end(), [](const auto& a, const auto& b) {
    return std::pair{a.parameter, a.begin} < std::pair{b.parameter, b.begin};
  });
  for (const auto& slice : slices_)
    bits_.emplace_back(slice.num_elements());
}

std::uint16_t* bf16_state::find(std::uint32_t parameter, std::uint64_t begin, std::uint64_t end) {
  const auto after = std::upper_bound(slices_.begin(), slices_.end(), std::pair{parameter, begin},
                                      [](const auto& key, const gpu::parameter_slice& slice) {
                                        return key < std::pair{slice.parameter, slice.begin};
                                      });
  if (after == slices_.begin()) return nullptr;
  const auto& slice = *std::prev(after);
  if (slice.parameter != parameter || end > slice.end) return nullptr;
  return bits_[static_cast<std::size_t>(after - slices_.begin()) - 1].data() +
         (begin - slice.begin);
}

result<void> bf16_state::write(const gpu::parameter_slice& slice,
                               std::span<const std::uint16_t> bits) {
  auto* to = find(slice.parameter, slice.begin, slice.end);
  if (to == nullptr) return fail(errc::internal, "a slice outside of this state was written");
  std::copy(bits.begin(), bits.end(), to);
  return {};
}

result<std::span<std::uint16_t>> bf16_state::elements(const gpu::parameter_slice& slice) {
  auto* const from = find(slice.parameter, slice.begin, slice.end);
  if (from == nullptr) {
    return fail(errc::wrong_base,
                "elements " + std::to_string(slice.begin) + " to " + std::to_string(slice.end) +
                    " of parameter " + std::to_string(slice.parameter) + " are not held here",
                "the weights are of another model",
                "sync a checkpoint of the model that is served");
  }
  return std::span(from, slice.num_elements());
}

result<void> bf16_state::read(const gpu::parameter_slice& slice, std::span<std::uint16_t> out) {
  const auto from = elements(slice);
  if (!from) return fail(from.error());
  std::copy(from->begin(), from->end(), out.begin());
  return {};
}

result<state_digest> bf16_state::digest_with(const std::vector<storage::decoded_chunk>& chunks) {
  state_digest digest = digest_;
  for (const auto& chunk : chunks) {
    if (chunk.elements.empty()) continue;
    if (find(chunk.parameter, chunk.elements.front(), chunk.elements.back() + 1) == nullptr)
      return fail(errc::wrong_base, "the delta changes elements that are not held here",
                  "it was made for another model", "sync a base checkpoint");
    digest += chunk.change;
  }
  return digest;
}

void bf16_state::apply(const std::vector<storage::decoded_chunk>& chunks,
                       const state_digest& after) {
  for (const auto& chunk : chunks) {
    if (chunk.elements.empty()) continue;
    const std::uint64_t first = chunk.elements.front();
    auto* const to = find(chunk.parameter, first, chunk.elements.back() + 1);
    if (to == nullptr) continue;
    for (std::size_t i = 0; i < chunk.elements.size(); ++i)
      to[chunk.elements[i] - first] = chunk.bits[i];
  }
  digest_ = after;
}

void bf16_state::refresh_digest() {
  std::vector<state_digest> parts(slices_.size());
  std::uint64_t num_elements = 0;
  for (const auto& slice : slices_)
    num_elements += slice.num_elements();
  const auto use = storage::worth(storage::cores::all, num_elements);
  // Nothing of it can fail.
  (void)storage::for_each_index(parts.size(), use, [&](std::size_t i) {
    add_elements(parts[i], slices_[i].parameter, slices_[i].begin,
                 std::span<const std::uint16_t>(bits_[i]));
    return result<void>{};
  });
  digest_ = std::accumulate(parts.begin(), parts.end(), state_digest{},
                            [](state_digest sum, const state_digest& part) { return sum += part; });
}

result<void> load_base(storage::blob_store& blobs, const checkpoint_manifest& base,
                       bf16_state& state) {
  using verification = storage::slice_reader::verification;
  auto reader = storage::slice_reader::open(blobs, base.files, verification::contents);
  if (!reader) return fail(reader.error());
  for (const auto& slice : state.slices()) {
    const auto bits = state.elements(slice);
    if (!bits) return fail(bits.error());
    auto got = reader->read(storage::slice_part::weights, slice.parameter, slice.begin, *bits);
    if (!got) return got;
  }
  state.refresh_digest();
  return {};
}

}  // namespace troupe::actors
