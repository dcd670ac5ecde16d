#pragma once

// The files below a data folder, as the blob store needs them. A port, so that simulations can put
// a disk below the store that loses what was not synced, tears writes, fails and fills up.
//
// Durability is that of POSIX: bytes after sync(), a name after sync_folder() of its folder.
//
// Threading: a file system may be used from several threads; a draft or reader from one at a time.
// Errors: errc::not_found, errc::storage_full, errc::corrupt (a file ends before its size), else
// errc::storage.

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "storage/blob_store.hpp"

namespace troupe::storage {

struct file_info {
  std::uint64_t bytes = 0;
  std::uint64_t written_unix_ms = 0;
};

/// A file being written under a name that nobody knows. Dropped, it is removed, unless it was
/// moved.
class draft_file {
 public:
  virtual ~draft_file() = default;
  virtual result<void> append(std::span<const std::byte> bytes) = 0;
  virtual result<void> sync() = 0;
  /// Replaces what is there.
  virtual result<void> move_to(const std::string& target) = 0;
};

class file_system {
 public:
  virtual ~file_system() = default;
  virtual result<std::unique_ptr<draft_file>> create_draft(const std::string& folder) = 0;
  /// Removes the drafts in a folder that no living process writes.
  virtual result<void> remove_abandoned(const std::string& folder) = 0;
  virtual result<std::unique_ptr<blob_reader>> open(const std::string& path) = 0;
  virtual result<file_info> inspect(const std::string& path) = 0;
  virtual result<void> remove(const std::string& path) = 0;
  /// With their parents, each name durable.
  virtual result<void> make_folders(const std::string& path) = 0;
  virtual result<void> sync_folder(const std::string& path) = 0;
  /// Names in it, sorted.
  virtual result<std::vector<std::string>> list(const std::string& path) = 0;
};

}  // namespace troupe::storage
