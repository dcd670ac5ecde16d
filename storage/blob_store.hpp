#pragma once

// Large immutable values: checkpoint slices, deltas and op payloads, each named by the SHA-256 of
// its bytes. A blob exists when commit() returned: it is then durable under its final name. A
// writer that is dropped leaves nothing behind but a temporary file that the next start removes.
//
// Threading: a store may be used from several threads; a writer or reader from one at a time.
// Errors: errc::storage, errc::storage_full, errc::not_found, errc::corrupt (bytes fail the name).

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "messages/error.hpp"
#include "messages/ids.hpp"

namespace troupe::storage {

struct blob_info {
  blob_id blob;
  std::uint64_t bytes = 0;
  std::uint64_t written_unix_ms = 0;  ///< last; 0 where a store does not know
};

class blob_writer {
 public:
  virtual ~blob_writer() = default;
  virtual result<void> append(std::span<const std::byte> bytes) = 0;
  /// Makes the blob durable. The writer is finished, whatever the answer.
  virtual result<blob_info> commit() = 0;
};

class blob_reader {
 public:
  virtual ~blob_reader() = default;
  [[nodiscard]] virtual std::uint64_t size() const = 0;
  /// Fills `out` from `offset`; errc::corrupt when the blob ends before.
  virtual result<void> read(std::uint64_t offset, std::span<std::byte> out) = 0;
};

class blob_store {
 public:
  virtual ~blob_store() = default;
  virtual result<std::unique_ptr<blob_writer>> create() = 0;
  virtual result<std::unique_ptr<blob_reader>> open(const blob_id& blob) = 0;
  /// Reads it all and compares with the name.
  virtual result<void> verify(const blob_id& blob) = 0;
  virtual result<blob_info> info(const blob_id& blob) = 0;
  virtual result<void> remove(const blob_id& blob) = 0;
  virtual result<std::vector<blob_info>> list() = 0;
};

}  // namespace troupe::storage
