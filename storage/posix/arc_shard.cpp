#include "storage/posix/arc_shard.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include <boost/json.hpp>
#include <zlib.h>
#include <zstd.h>

#include "config/limits.hpp"

namespace troupe::storage::posix {
namespace {

/// What the reference encoder uses.
constexpr int compression_level = 3;

/// Texts beside the tensors. The header was checked before: what is no text is not looked at.
std::map<std::string, std::string> metadata_of(const std::string& text) {
  std::map<std::string, std::string> out;
  boost::system::error_code problem;
  const auto parsed = boost::json::parse(text, problem);
  if (problem || !parsed.is_object()) return out;
  const auto* metadata = parsed.as_object().if_contains("__metadata__");
  if (metadata == nullptr || !metadata->is_object()) return out;
  for (const auto& [key, value] : metadata->as_object()) {
    if (value.is_string()) out.emplace(key, value.as_string().c_str());
  }
  return out;
}

void exclusive_or(byte_vector& into, std::span<const std::byte> with) {
  for (std::size_t i = 0; i < into.size(); ++i)
    into[i] ^= with[i];
}

}  // namespace

result<arc_shard> arc_shard::open(const std::string& path) {
  arc_shard out;
  out.path_ = path;
  auto file = open_for_reading(path);
  if (!file) return fail(file.error());
  out.file_ = std::move(*file);
  const auto size = file_size(out.file_, path);
  if (!size) return fail(size.error());
  std::array<std::byte, safetensors_length_bytes> length{};
  if (*size < length.size())
    return fail(errc::corrupt, path + " is too short for a safetensors file", "it was cut off",
                "write it again");
  if (auto got = read_all_at(out.file_, 0, length, path); !got) return fail(got.error());
  const auto text_bytes = safetensors_text_bytes(length, *size, path);
  if (!text_bytes) return fail(text_bytes.error());
  std::string text(static_cast<std::size_t>(*text_bytes), ' ');
  const auto got =
      read_all_at(out.file_, length.size(), std::as_writable_bytes(std::span(text)), path);
  if (!got) return fail(got.error());
  auto header = parse_safetensors_header(text, *size, path);
  if (!header) return fail(header.error());
  out.header_ = std::move(*header);
  out.metadata_ = metadata_of(text);
  return out;
}

const safetensors_entry* arc_shard::find(const std::string& name) const {
  const auto found = std::ranges::find(header_.entries, name, &safetensors_entry::name);
  return found == header_.entries.end() ? nullptr : &*found;
}

result<byte_vector> arc_shard::read(const safetensors_entry& tensor) const {
  byte_vector out(static_cast<std::size_t>(tensor.end - tensor.begin));
  auto got = read_all_at(file_, header_.data_begin + tensor.begin, out, path_);
  if (!got) return fail(got.error());
  return out;
}

result<byte_vector> arc_shard::beginning() const {
  byte_vector out(static_cast<std::size_t>(header_.data_begin));
  auto got = read_all_at(file_, 0, out, path_);
  if (!got) return fail(got.error());
  return out;
}

bool arc_shard::is_delta() const {
  return std::ranges::all_of(header_.entries, [this](const safetensors_entry& tensor) {
    return tensor.type == "U8" && metadata_.contains(tensor.name);
  });
}

result<byte_vector> arc_difference(std::span<const std::byte> before,
                                   std::span<const std::byte> after) {
  byte_vector difference(before.begin(), before.end());
  exclusive_or(difference, after);
  byte_vector out(ZSTD_compressBound(difference.size()));
  const std::size_t size = ZSTD_compress(out.data(), out.size(), difference.data(),
                                         difference.size(), compression_level);
  if (ZSTD_isError(size) != 0)
    return fail(errc::internal, std::string("zstd: ") + ZSTD_getErrorName(size));
  out.resize(size);
  return out;
}

result<byte_vector> arc_apply(byte_vector before, std::span<const std::byte> difference,
                              const std::string& checksum, const std::string& name) {
  byte_vector change(before.size());
  const std::size_t size =
      ZSTD_decompress(change.data(), change.size(), difference.data(), difference.size());
  if (difference.empty() || ZSTD_isError(size) != 0 || size != change.size())
    return fail(errc::corrupt, "the difference of " + name + " does not unpack to its size",
                "the delta is damaged or was made for another model", "make the delta again");
  exclusive_or(before, change);
  if (arc_checksum(before) != checksum)
    return fail(errc::wrong_base, "tensor " + name + " does not get its checksum",
                "the delta was made from other weights, was applied already, or is damaged",
                "apply it to the weights it was made from");
  return before;
}

std::string arc_checksum(std::span<const std::byte> bytes) {
  const auto* data = reinterpret_cast<const Bytef*>(bytes.data());
  return std::to_string(::adler32_z(1, data, bytes.size()));
}

}  // namespace troupe::storage::posix
