#include "apps/gateway/tar_file.hpp"

#include <filesystem>
#include <fstream>
#include <memory>

#include <archive.h>
#include <archive_entry.h>

namespace troupe::gateway {
namespace {

constexpr std::size_t block_bytes = 1 << 20;
constexpr unsigned file_mode = 0644;

struct archive_end {
  void operator()(archive* open) const { archive_write_free(open); }
  void operator()(archive_entry* entry) const { archive_entry_free(entry); }
};
using open_archive = std::unique_ptr<archive, archive_end>;

tl::unexpected<error> failed(const open_archive& out, const std::string& path) {
  const char* reason = archive_error_string(out.get());
  return fail(errc::storage, "cannot write " + path, reason == nullptr ? "" : reason,
              "check that the data folder has space");
}

bool add_head(const open_archive& out, const std::string& name, std::uintmax_t bytes) {
  const std::unique_ptr<archive_entry, archive_end> entry(archive_entry_new());
  archive_entry_set_pathname(entry.get(), name.c_str());
  archive_entry_set_size(entry.get(), static_cast<la_int64_t>(bytes));
  archive_entry_set_filetype(entry.get(), AE_IFREG);
  archive_entry_set_perm(entry.get(), file_mode);
  return archive_write_header(out.get(), entry.get()) == ARCHIVE_OK;
}

bool add_file(const open_archive& out, const std::string& path, const std::string& name) {
  std::error_code problem;
  const auto bytes = std::filesystem::file_size(path, problem);
  std::ifstream file(path, std::ios::binary);
  if (problem || !file || !add_head(out, name, bytes)) return false;
  std::vector<char> block(block_bytes);
  while (file.read(block.data(), static_cast<std::streamsize>(block.size())) || file.gcount() > 0) {
    const auto count = static_cast<std::size_t>(file.gcount());
    if (archive_write_data(out.get(), block.data(), count) < 0) return false;
  }
  return true;
}

}  // namespace

result<void> write_tar(const std::string& path, const std::string& folder,
                       const std::vector<std::string>& names, const std::string& marker) {
  const open_archive out(archive_write_new());
  archive_write_set_format_pax_restricted(out.get());
  if (archive_write_open_filename(out.get(), path.c_str()) != ARCHIVE_OK) return failed(out, path);
  for (const std::string& name : names) {
    if (!add_file(out, folder + "/" + name, name)) return failed(out, path);
  }
  if (!add_head(out, marker, 0) || archive_write_close(out.get()) != ARCHIVE_OK) {
    return failed(out, path);
  }
  return {};
}

}  // namespace troupe::gateway
