#pragma once

// A folder that appears under its final name only when it is complete: files are written and synced
// in a hidden sibling, which is then renamed. An interrupted draft is a folder ".<name>.draft.*"
// that nothing reads.
//
// Threading: one thread at a time. Errors: errc::already_exists, else as posix_file.hpp.

#include <string>
#include <string_view>

#include "messages/error.hpp"
#include "storage/posix/posix_file.hpp"

namespace troupe::storage::posix {

class folder_draft {
 public:
  static result<folder_draft> create(std::string target);

  folder_draft(folder_draft&& other) noexcept
      : path_(std::exchange(other.path_, {})), target_(std::move(other.target_)) {}
  folder_draft& operator=(folder_draft&&) = delete;
  /// Removes the draft unless it was published.
  ~folder_draft();

  /// A new file in the draft, readable by everybody as model directories are.
  result<file_descriptor> create_file(const std::string& name);
  result<void> write_file(const std::string& name, std::string_view content);

  result<void> publish();

  [[nodiscard]] std::string path_of(const std::string& name) const { return path_ + "/" + name; }

 private:
  folder_draft(std::string path, std::string target)
      : path_(std::move(path)), target_(std::move(target)) {}

  std::string path_;
  std::string target_;
};

}  // namespace troupe::storage::posix
