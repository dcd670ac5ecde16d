#include <algorithm>
#include <array>
#include <tuple>
#include <utility>

#include "config/limits.hpp"
#include "config/planted_bug.hpp"
#include "storage/safetensors_header.hpp"
#include "storage/slice_file.hpp"
#include "storage/slice_name.hpp"

namespace troupe::storage {

namespace {

// Far above any real parameter, far below what could overflow a sum.
constexpr std::uint64_t element_limit = std::uint64_t{1} << 48;

std::string place_of(const checkpoint_file& file) {
  return "checkpoint file " + file.blob.value.substr(0, 12);
}

tl::unexpected<error> damaged(const std::string& what) {
  return fail(errc::corrupt, what, "the file is damaged or belongs to another checkpoint",
              "load an older checkpoint and verify the storage");
}

result<std::unique_ptr<blob_reader>> open_file(blob_store& blobs, const checkpoint_file& file,
                                               slice_reader::verification verify) {
  if (verify == slice_reader::verification::contents &&
      !config::is_planted(config::bug::unverified_load)) {
    if (const auto whole = blobs.verify(file.blob); !whole) return fail(whole.error());
  }
  auto reader = blobs.open(file.blob);
  if (!reader) return fail(reader.error());
  if ((*reader)->size() != file.bytes)
    return damaged(place_of(file) + " has " + std::to_string((*reader)->size()) +
                   " bytes where its record says " + std::to_string(file.bytes));
  return reader;
}

result<safetensors_header> read_header(blob_reader& reader, const std::string& place) {
  std::array<std::byte, safetensors_length_bytes> length{};
  if (const auto read = reader.read(0, length); !read) return fail(read.error());
  const auto text_bytes = safetensors_text_bytes(length, reader.size(), place);
  if (!text_bytes) return fail(text_bytes.error());
  std::string text(static_cast<std::size_t>(*text_bytes), '\0');
  const auto read = reader.read(safetensors_length_bytes, std::as_writable_bytes(std::span(text)));
  if (!read) return fail(read.error());
  return parse_safetensors_header(text, reader.size(), place);
}

}  // namespace

result<slice_reader> slice_reader::open(blob_store& blobs,
                                        const std::vector<checkpoint_file>& files,
                                        verification verify) {
  if (files.size() > limits::checkpoint_files_max)
    return damaged("a checkpoint of " + std::to_string(files.size()) + " files");
  slice_reader opened;
  for (const checkpoint_file& file : files) {
    auto reader = open_file(blobs, file, verify);
    if (!reader) return fail(reader.error());
    const std::string place = place_of(file);
    const auto header = read_header(**reader, place);
    if (!header) return fail(header.error());
    for (const safetensors_entry& tensor : header->entries) {
      auto entry = parse_slice_name(tensor.name);
      if (!entry) return fail(entry.error());
      const bool typed = tensor.type == "F32" || tensor.type == "BF16";
      if (!typed || tensor.shape.size() != 1 || tensor.shape[0] > element_limit ||
          entry->begin > element_limit)
        return damaged(place + ": tensor '" + tensor.name + "' is no flat F32 or BF16 slice");
      entry->end = entry->begin + tensor.shape[0];
      opened.slices_.push_back({*entry, tensor.type == "F32" ? dtype::f32 : dtype::bf16,
                                opened.files_.size(), header->data_begin + tensor.begin});
    }
    opened.files_.push_back(std::move(*reader));
  }
  std::sort(opened.slices_.begin(), opened.slices_.end(), [](const auto& a, const auto& b) {
    return std::tie(a.entry.part, a.entry.parameter, a.entry.begin) <
           std::tie(b.entry.part, b.entry.parameter, b.entry.begin);
  });
  return opened;
}

result<void> slice_reader::read(slice_part part, std::uint32_t parameter, std::uint64_t begin,
                                std::span<float> out) {
  return read_as(part, parameter, begin, out, dtype::f32);
}

result<void> slice_reader::read(slice_part part, std::uint32_t parameter, std::uint64_t begin,
                                std::span<std::uint16_t> out) {
  return read_as(part, parameter, begin, out, dtype::bf16);
}

template <class Element>
result<void> slice_reader::read_as(slice_part part, std::uint32_t parameter, std::uint64_t begin,
                                   std::span<Element> out, dtype type) {
  while (!out.empty()) {
    const located_slice* found = find(part, parameter, begin);
    if (found == nullptr)
      return fail(errc::not_found,
                  "no file of the checkpoint holds " + slice_name({part, parameter, begin, begin}),
                  "the checkpoint is of another model or incomplete",
                  "check that the run's model is the checkpoint's");
    if (found->type != type)
      return fail(errc::invalid_argument,
                  "slice " + slice_name(found->entry) + " is stored in another number format",
                  "a sampler checkpoint is read as a training one, or the reverse",
                  "choose a checkpoint of the right kind");
    const auto count =
        static_cast<std::size_t>(std::min<std::uint64_t>(out.size(), found->entry.end - begin));
    const std::uint64_t offset =
        found->offset_bytes + (begin - found->entry.begin) * bytes_per_element(type);
    const auto part_bytes = std::as_writable_bytes(out.first(count));
    if (const auto read = files_[found->file]->read(offset, part_bytes); !read) return read;
    begin += count;
    out = out.subspan(count);
  }
  return {};
}

// Ranks may hold the same range, so the nearest beginning need not be the one that reaches far
// enough: earlier ones are looked at as well.
const slice_reader::located_slice* slice_reader::find(slice_part part, std::uint32_t parameter,
                                                      std::uint64_t element) const {
  auto it = std::upper_bound(slices_.begin(), slices_.end(), std::tie(part, parameter, element),
                             [](const auto& wanted, const located_slice& slice) {
                               return wanted < std::tie(slice.entry.part, slice.entry.parameter,
                                                        slice.entry.begin);
                             });
  while (it != slices_.begin()) {
    --it;
    if (it->entry.part != part || it->entry.parameter != parameter) return nullptr;
    if (element < it->entry.end) return &*it;
  }
  return nullptr;
}

}  // namespace troupe::storage
