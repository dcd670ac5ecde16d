#pragma once

// The few file operations that storage needs, with errors that name the path and say what to do.
// Everything is relative to the guarantees of POSIX: data is durable after sync_data(), a name
// after sync_directory() of its folder.
//
// Threading: plain functions. Errors: errc::not_found (ENOENT), errc::storage_full (ENOSPC,
// EDQUOT), errc::already_exists (EEXIST), errc::corrupt (file ends early), else errc::storage.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "messages/error.hpp"
#include "storage/file_system.hpp"

namespace troupe::storage::posix {

class file_descriptor {
 public:
  file_descriptor() = default;
  explicit file_descriptor(int number) : number_(number) {}
  file_descriptor(file_descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  file_descriptor& operator=(file_descriptor&& other) noexcept;
  ~file_descriptor();

  [[nodiscard]] int get() const { return number_; }
  [[nodiscard]] bool is_open() const { return number_ >= 0; }
  void close();

 private:
  int number_ = -1;
};

/// The error of a failed system call: "cannot <verb> <path>: <reason>".
[[nodiscard]] tl::unexpected<error> system_failure(std::string_view verb, std::string_view path,
                                                   int number);

/// Opens for reading; errc::not_found also for anything that is no regular file.
[[nodiscard]] result<file_descriptor> open_for_reading(const std::string& path);

/// Creates a file of its own, mode 0600; errc::already_exists when the name is taken.
[[nodiscard]] result<file_descriptor> create_new_file(const std::string& path);

[[nodiscard]] result<file_info> inspect(const file_descriptor& file, const std::string& path);

[[nodiscard]] result<std::uint64_t> file_size(const file_descriptor& file, const std::string& path);

[[nodiscard]] result<void> write_all(const file_descriptor& file, std::span<const std::byte> bytes,
                                     const std::string& path);

[[nodiscard]] result<void> read_all_at(const file_descriptor& file, std::uint64_t offset,
                                       std::span<std::byte> out, const std::string& path);

/// The whole file; errc::invalid_argument above `bytes_max`.
[[nodiscard]] result<std::string> read_text(const std::string& path, std::uint64_t bytes_max);

[[nodiscard]] result<void> sync_data(const file_descriptor& file, const std::string& path);
[[nodiscard]] result<void> sync_directory(const std::string& path);
[[nodiscard]] result<void> rename_path(const std::string& from, const std::string& to);
[[nodiscard]] result<void> remove_file(const std::string& path);

/// Makes the folder and its missing parents, mode 0700, each name durable.
[[nodiscard]] result<void> make_directories(const std::string& path);

/// Names in a folder, sorted, without "." and "..".
[[nodiscard]] result<std::vector<std::string>> list_directory(const std::string& path);

}  // namespace troupe::storage::posix
