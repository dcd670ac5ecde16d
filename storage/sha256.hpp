#pragma once

// Incremental SHA-256, the name of every blob and checkpoint. A thin value over OpenSSL, so that
// the hashing code of the platform's crypto instructions is used and its headers stay in one .cpp.
//
// Threading: one thread at a time. Errors: none; a process whose OpenSSL lacks SHA-256 ends.

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace troupe::storage {

class sha256 {
 public:
  sha256();
  ~sha256();
  sha256(sha256&&) noexcept;
  sha256& operator=(sha256&&) noexcept;

  void update(std::span<const std::byte> bytes);

  /// 64 lower-case hexadecimal digits of everything so far; the object is used up.
  [[nodiscard]] std::string finish_hex();

 private:
  struct context;
  std::unique_ptr<context> context_;
};

[[nodiscard]] std::string sha256_hex(std::span<const std::byte> bytes);

/// True for 64 lower-case hexadecimal digits.
[[nodiscard]] bool is_sha256_hex(std::string_view text);

}  // namespace troupe::storage
