#include "storage/posix/tensor_file.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "storage/float_formats.hpp"
#include "storage/hf_config.hpp"

namespace troupe::storage::posix {

namespace {

// Small enough for the cache, large enough to amortise a system call.
constexpr std::size_t halves_per_read = 256 * 1024;

result<safetensors_header> read_header(const file_descriptor& file, const std::string& path) {
  const auto size = file_size(file, path);
  if (!size) return fail(size.error());
  std::array<std::byte, safetensors_length_bytes> length{};
  if (const auto read = read_all_at(file, 0, length, path); !read) return fail(read.error());
  const auto text_bytes = safetensors_text_bytes(length, *size, path);
  if (!text_bytes) return fail(text_bytes.error());
  std::string text(static_cast<std::size_t>(*text_bytes), '\0');
  const auto read =
      read_all_at(file, safetensors_length_bytes, std::as_writable_bytes(std::span(text)), path);
  if (!read) return fail(read.error());
  return parse_safetensors_header(text, *size, path);
}

}  // namespace

result<tensor_file> tensor_file::open(const std::string& path) {
  auto file = open_for_reading(path);
  if (!file) return fail(file.error());
  auto header = read_header(*file, path);
  if (!header) return fail(as_bad_model(header.error()));
  return tensor_file(std::move(*file), path, std::move(*header));
}

result<void> tensor_file::read(const safetensors_entry& tensor, std::uint64_t begin,
                               std::span<float> out) {
  const bool is_f32 = tensor.type == "F32";
  if (!is_f32 && tensor.type != "BF16" && tensor.type != "F16")
    return fail(errc::unsupported, path_ + ": tensor '" + tensor.name + "' has type " + tensor.type,
                "weights are read from F32, BF16 and F16", "convert the model to BF16");
  const std::uint64_t element_bytes = is_f32 ? 4 : 2;
  const std::uint64_t elements = (tensor.end - tensor.begin) / element_bytes;
  if (begin > elements || out.size() > elements - begin)
    return fail(errc::invalid_argument,
                path_ + ": tensor '" + tensor.name + "' has " + std::to_string(elements) +
                    " elements, too few for a read at " + std::to_string(begin),
                "the range is of another layout", "check the model's layout first");
  const std::uint64_t offset = header_.data_begin + tensor.begin + begin * element_bytes;
  const auto read = is_f32 ? read_all_at(file_, offset, std::as_writable_bytes(out), path_)
                           : read_halves(offset, out, tensor.type);
  if (!read) return fail(as_bad_model(read.error()));
  return {};
}

result<void> tensor_file::read_halves(std::uint64_t offset, std::span<float> out,
                                      const std::string& type) {
  halves_.resize(std::min(halves_per_read, std::max(out.size(), halves_.size())));
  while (!out.empty()) {
    const std::span<std::uint16_t> halves(halves_.data(), std::min(halves_.size(), out.size()));
    const auto read = read_all_at(file_, offset, std::as_writable_bytes(halves), path_);
    if (!read) return read;
    if (type == "BF16")
      std::transform(halves.begin(), halves.end(), out.begin(), float_from_bf16);
    else
      std::transform(halves.begin(), halves.end(), out.begin(), float_from_f16);
    offset += halves.size_bytes();
    out = out.subspan(halves.size());
  }
  return {};
}

}  // namespace troupe::storage::posix
