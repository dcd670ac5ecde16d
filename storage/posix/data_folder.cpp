#include "storage/posix/data_folder.hpp"

#include <filesystem>

namespace troupe::storage {
namespace {

bool has_entries(const std::filesystem::path& folder) {
  std::error_code problem;
  const std::filesystem::directory_iterator entries(folder, problem);
  return !problem && entries != std::filesystem::directory_iterator();
}

bool is_there(const std::filesystem::path& path) {
  std::error_code problem;
  return std::filesystem::exists(path, problem);
}

tl::unexpected<error> half(const std::string& missing, const std::string& left) {
  return fail(
      errc::corrupt, missing + " is missing, but " + left,
      "the data folder was deleted or copied in part",
      "restore it whole from a copy, or choose an empty folder; `troupe doctor` looks again");
}

}  // namespace

result<void> check_data_folder(const std::string& root) {
  const std::string database = root + "/db";
  const std::string blobs = root + "/blobs";
  if (is_there(database + "/CURRENT")) {
    if (is_there(blobs)) return {};
    return half(blobs, "there is a database in " + database);
  }
  if (has_entries(database)) {
    return half(database + "/CURRENT", "other files of a database are in " + database);
  }
  if (has_entries(blobs)) return half("the database " + database, blobs + " holds files");
  return {};
}

}  // namespace troupe::storage
