#pragma once

// Keeps a data folder to one process: a lock on `<root>/LOCK` for as long as this object lives. The
// kernel frees it when the process dies, however it dies, so there is no stale lock to clear. The
// file's text is the holder's process number, only for the message that a second opener gets.
//
// Threading: plain value. Errors: errc::in_use, else as storage/posix/posix_file.hpp.

#include <string>

#include "messages/error.hpp"
#include "storage/posix/posix_file.hpp"

namespace troupe::storage {

class folder_lock {
 public:
  static result<folder_lock> acquire(const std::string& root);

 private:
  explicit folder_lock(posix::file_descriptor file) : file_(std::move(file)) {}

  posix::file_descriptor file_;
};

}  // namespace troupe::storage
