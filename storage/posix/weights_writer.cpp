#include "storage/posix/weights_writer.hpp"

#include <algorithm>
#include <span>

#include "storage/float_formats.hpp"
#include "storage/posix/posix_file.hpp"

namespace troupe::storage::posix {
namespace {

constexpr std::size_t elements_per_write = 512 * 1024;

}  // namespace

weights_writer::weights_writer(folder_draft& draft, const std::vector<parameter_spec>& layout,
                               dtype type, tensor_reader& tensors)
    : draft_(draft), layout_(layout), type_(type), tensors_(tensors), values_(elements_per_write) {
  if (type == dtype::bf16) bits_.resize(elements_per_write);
}

result<void> weights_writer::write(const weight_file& planned) {
  const auto header = write_safetensors_header(entries_of(planned), {{"format", "pt"}});
  if (!header) return fail(header.error());
  const auto file = draft_.create_file(planned.name);
  if (!file) return fail(file.error());
  const std::string path = draft_.path_of(planned.name);
  auto written = write_all(*file, std::as_bytes(std::span(*header)), path);
  if (!written) return written;
  for (std::size_t i = planned.first; i < planned.last; ++i) {
    written = write_parameter(*file, static_cast<std::uint32_t>(i), path);
    if (!written) return written;
  }
  return sync_data(*file, path);
}

std::vector<safetensors_entry> weights_writer::entries_of(const weight_file& planned) const {
  std::vector<safetensors_entry> entries;
  std::uint64_t position = 0;
  for (std::size_t i = planned.first; i < planned.last; ++i) {
    const std::uint64_t end = position + layout_[i].num_elements() * bytes_per_element(type_);
    const char* type = type_ == dtype::f32 ? "F32" : "BF16";
    entries.push_back({layout_[i].name, type, layout_[i].shape, position, end});
    position = end;
  }
  return entries;
}

result<void> weights_writer::write_parameter(const file_descriptor& file, std::uint32_t parameter,
                                             const std::string& path) {
  const std::uint64_t elements = layout_[parameter].num_elements();
  for (std::uint64_t begin = 0; begin < elements;) {
    const auto count =
        static_cast<std::size_t>(std::min<std::uint64_t>(elements_per_write, elements - begin));
    const std::span<float> values(values_.data(), count);
    if (auto read = tensors_.read(parameter, begin, values); !read) return read;
    auto written = write_all(file, converted(values), path);
    if (!written) return written;
    begin += count;
  }
  return {};
}

std::span<const std::byte> weights_writer::converted(std::span<const float> values) {
  if (type_ == dtype::f32) return std::as_bytes(values);
  std::transform(values.begin(), values.end(), bits_.begin(), bf16_from_float);
  return std::as_bytes(std::span(bits_).first(values.size()));
}

}  // namespace troupe::storage::posix
