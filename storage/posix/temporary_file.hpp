#pragma once

// A file being written, invisible under its final name until it is complete and durable.
//
// Several processes, also of several machines, may write into one folder. Each holds a lock on its
// file, so that what a killed process left can be told from what a living one still writes: names
// start with the machine's boot id. A file of this boot whose lock is free has no writer and goes
// at once. Locks of another machine may not be visible here (network file systems differ), so a
// file of another boot goes only when it is also older than deadlines::abandoned_write, by the file
// system's own clock.
//
// Threading: one thread at a time per object. Errors: as posix_file.hpp.

#include <cstddef>
#include <span>
#include <string>

#include "messages/error.hpp"
#include "storage/posix/posix_file.hpp"

namespace troupe::storage::posix {

class temporary_file {
 public:
  static result<temporary_file> create(const std::string& folder);

  temporary_file(temporary_file&&) noexcept = default;
  temporary_file& operator=(temporary_file&&) = delete;
  /// Removes the file unless it was moved.
  ~temporary_file();

  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] const file_descriptor& file() const { return file_; }

  result<void> append(std::span<const std::byte> bytes);

  result<void> sync();

  /// Moves it to `target`, replacing what is there. The name is durable after sync_directory() of
  /// the target's folder.
  result<void> move_to(const std::string& target);

 private:
  temporary_file(file_descriptor file, std::string path)
      : file_(std::move(file)), path_(std::move(path)) {}

  file_descriptor file_;
  std::string path_;
};

/// Removes files in `folder` that no living process writes.
[[nodiscard]] result<void> remove_abandoned(const std::string& folder);

}  // namespace troupe::storage::posix
