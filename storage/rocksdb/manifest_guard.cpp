#include "storage/rocksdb/manifest_guard.hpp"

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <optional>
#include <span>
#include <sstream>
#include <utility>
#include <vector>

#include "config/limits.hpp"
#include "storage/posix/posix_file.hpp"
#include "storage/posix/temporary_file.hpp"
#include "storage/rocksdb/rocksdb_options.hpp"
#include "storage/sha256.hpp"

namespace troupe::storage {
namespace {

constexpr std::uint64_t mark_bytes_max = 256;
constexpr std::string_view manifest_prefix = "MANIFEST-";

struct manifest_end {
  std::string name;
  std::uint64_t bytes = 0;
  std::string digest;  ///< of so many bytes

  [[nodiscard]] std::string text() const {
    return name + " " + std::to_string(bytes) + " " + digest;
  }
};

/// Counts up with every new MANIFEST; nothing for another name.
std::optional<std::uint64_t> number_of(std::string_view name) {
  if (!name.starts_with(manifest_prefix)) return std::nullopt;
  name.remove_prefix(manifest_prefix.size());
  std::uint64_t number = 0;
  const auto [end, problem] = std::from_chars(name.data(), name.data() + name.size(), number);
  if (problem != std::errc() || end != name.data() + name.size()) return std::nullopt;
  return number;
}

tl::unexpected<error> damaged(const std::string& what) {
  return fail(errc::corrupt, what, "the disk lost or changed what was durable", damage_advice);
}

/// Of the first `bytes` of a file.
result<std::string> digest_of(const posix::file_descriptor& file, const std::string& path,
                              std::uint64_t bytes) {
  sha256 digest;
  std::vector<std::byte> piece(limits::blob_chunk_bytes);
  for (std::uint64_t at = 0; at < bytes; at += piece.size()) {
    piece.resize(std::min<std::uint64_t>(piece.size(), bytes - at));
    if (auto got = posix::read_all_at(file, at, piece, path); !got) return fail(got.error());
    digest.update(piece);
  }
  return digest.finish_hex();
}

/// Which MANIFEST counts, as CURRENT has it.
result<std::string> current_manifest(const std::string& folder) {
  const std::string path = folder + "/CURRENT";
  auto text = posix::read_text(path, mark_bytes_max);
  if (!text) return fail(text.error());
  if (text->ends_with('\n')) text->pop_back();
  if (!number_of(*text)) return damaged(path + " names no MANIFEST");
  return std::move(*text);
}

result<manifest_end> read_mark(const std::string& path) {
  const auto text = posix::read_text(path, mark_bytes_max);
  if (!text) return fail(text.error());
  manifest_end out;
  std::string digest;
  std::istringstream words(*text);
  words >> out.name >> out.bytes >> out.digest >> digest;
  const std::string said = out.text();
  if (!words || *text != said + " " + sha256_hex(std::as_bytes(std::span(said))) + "\n")
    return damaged(path + " is damaged");
  return out;
}

}  // namespace

manifest_guard::manifest_guard(std::string folder, std::string root)
    : folder_(std::move(folder)), root_(std::move(root)) {}

result<void> manifest_guard::check() const {
  const std::string mark_path = root_ + "/db.mark";
  const auto mark = read_mark(mark_path);
  if (!mark && mark.error().code == errc::not_found) return {};
  if (!mark) return fail(mark.error());
  const auto current = current_manifest(folder_);
  if (!current && current.error().code == errc::not_found)
    return damaged(folder_ + "/CURRENT is missing, but " + mark_path + " knows a database there");
  if (!current) return fail(current.error());
  const bool is_newer = *number_of(*current) > number_of(mark->name);
  if (!is_newer && *current != mark->name)
    return damaged(folder_ + "/CURRENT names " + *current + ", which is older than " + mark->name);
  const std::string path = folder_ + "/" + *current;
  const auto file = posix::open_for_reading(path);
  if (!file && file.error().code == errc::not_found)
    return damaged(path + " is missing, but " + folder_ + "/CURRENT names it");
  if (!file) return fail(file.error());
  if (is_newer) return {};
  const auto bytes = posix::file_size(*file, path);
  if (!bytes) return fail(bytes.error());
  if (*bytes < mark->bytes)
    return damaged(path + " has " + std::to_string(*bytes) + " bytes, " +
                   std::to_string(mark->bytes) + " of it were durable");
  const auto digest = digest_of(*file, path, mark->bytes);
  if (!digest) return fail(digest.error());
  if (*digest != mark->digest) return damaged(path + " holds other bytes than were written");
  return {};
}

result<void> manifest_guard::record() {
  const std::lock_guard lock(mutex_);
  auto current = current_manifest(folder_);
  if (!current) return fail(current.error());
  const std::string path = folder_ + "/" + *current;
  const auto file = posix::open_for_reading(path);
  if (!file) return fail(file.error());
  const auto bytes = posix::file_size(*file, path);
  if (!bytes) return fail(bytes.error());
  // Others may append at this moment: only what is durable may be asked for later.
  if (auto synced = posix::sync_data(*file, path); !synced) return synced;
  auto digest = digest_of(*file, path, *bytes);
  if (!digest) return fail(digest.error());
  const std::string said = manifest_end{std::move(*current), *bytes, std::move(*digest)}.text();
  const std::string line = said + " " + sha256_hex(std::as_bytes(std::span(said))) + "\n";
  auto mark = posix::temporary_file::create(root_ + "/tmp");
  if (!mark) return fail(mark.error());
  if (auto put = mark->append(std::as_bytes(std::span(line))); !put) return put;
  if (auto synced = mark->sync(); !synced) return synced;
  if (auto moved = mark->move_to(root_ + "/db.mark"); !moved) return moved;
  return posix::sync_directory(root_);
}

}  // namespace troupe::storage
