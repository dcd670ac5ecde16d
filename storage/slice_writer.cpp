#include <set>
#include <utility>

#include "storage/safetensors_header.hpp"
#include "storage/slice_file.hpp"
#include "storage/slice_name.hpp"

namespace troupe::storage {

namespace {

// Far above any real parameter, far below what could overflow an offset.
constexpr std::uint64_t element_limit = std::uint64_t{1} << 48;

result<std::vector<safetensors_entry>> plan(dtype type, const std::vector<slice_entry>& entries) {
  std::vector<safetensors_entry> planned;
  planned.reserve(entries.size());
  std::set<std::string> names;
  std::uint64_t position = 0;
  for (const slice_entry& entry : entries) {
    std::string name = slice_name(entry);
    if (entry.begin > entry.end || entry.end > element_limit)
      return fail(errc::invalid_argument, "slice " + name + " ends before it begins",
                  "its range is wrong", "report this as a defect");
    if (!names.insert(name).second)
      return fail(errc::invalid_argument, "slice " + name + " is listed twice",
                  "the layout has overlapping ranges", "report this as a defect");
    const std::uint64_t elements = entry.end - entry.begin;
    const std::uint64_t end = position + elements * bytes_per_element(type);
    planned.push_back(
        {std::move(name), type == dtype::f32 ? "F32" : "BF16", {elements}, position, end});
    position = end;
  }
  return planned;
}

}  // namespace

slice_writer::slice_writer(std::unique_ptr<blob_writer> out, dtype type,
                           std::vector<slice_entry> entries)
    : out_(std::move(out)), type_(type), entries_(std::move(entries)) {}

result<slice_writer> slice_writer::create(blob_store& blobs, dtype type,
                                          std::vector<slice_entry> entries) {
  const auto planned = plan(type, entries);
  if (!planned) return fail(planned.error());
  const auto header = write_safetensors_header(*planned, {{"format", "troupe-slices-1"}});
  if (!header) return fail(header.error());
  auto out = blobs.create();
  if (!out) return fail(out.error());
  const auto written = (*out)->append(std::as_bytes(std::span(*header)));
  if (!written) return fail(written.error());
  return slice_writer(std::move(*out), type, std::move(entries));
}

result<void> slice_writer::append(std::span<const float> values) {
  return append_bytes(std::as_bytes(values), dtype::f32);
}

result<void> slice_writer::append(std::span<const std::uint16_t> bits) {
  return append_bytes(std::as_bytes(bits), dtype::bf16);
}

result<void> slice_writer::append_bytes(std::span<const std::byte> bytes, dtype type) {
  if (next_ == entries_.size() || type != type_)
    return fail(errc::internal, "a slice was appended that the header does not announce", "misuse",
                "report this as a defect");
  const slice_entry& entry = entries_[next_];
  if (bytes.size() != (entry.end - entry.begin) * bytes_per_element(type_))
    return fail(errc::internal, "slice " + slice_name(entry) + " was appended with another length",
                "misuse", "report this as a defect");
  const auto written = out_->append(bytes);
  if (written) ++next_;
  return written;
}

result<blob_info> slice_writer::commit() {
  if (next_ != entries_.size())
    return fail(errc::internal,
                std::to_string(entries_.size() - next_) + " announced slices were never appended",
                "misuse", "report this as a defect");
  return out_->commit();
}

}  // namespace troupe::storage
