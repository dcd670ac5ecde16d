#pragma once

// Where the chunks of a chain's deltas lie, in the order of the model: what several deltas change
// at one place can be read together without holding their files in memory.
//
// Units: bytes in a file, elements of a parameter. Threading: one thread at a time.
// Errors: errc::corrupt, storage errors.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "messages/checkpoint.hpp"
#include "storage/blob_store.hpp"
#include "storage/weight_delta.hpp"

namespace troupe::storage {

class delta_index {
 public:
  struct entry {
    std::uint32_t parameter = 0;
    std::uint32_t num_elements = 0;
    std::uint64_t first_element = 0;
    std::uint32_t delta = 0;  ///< position in the chain
    std::uint32_t file = 0;
    std::uint64_t offset = 0;
    std::uint32_t bytes = 0;
  };

  /// Reads the headers of all files of these deltas, oldest first.
  static result<delta_index> open(blob_store& blobs, const std::vector<checkpoint_record>& deltas);

  /// By parameter, first element, delta.
  [[nodiscard]] const std::vector<entry>& chunks() const { return chunks_; }

  /// The chunk itself; valid until the next call.
  result<delta_chunk> read(const entry& chunk);

 private:
  struct open_file {
    std::unique_ptr<blob_reader> reader;
    std::uint32_t version = 0;
  };

  delta_index() = default;
  result<void> add(std::uint32_t delta, std::unique_ptr<blob_reader> reader);

  std::vector<open_file> files_;
  std::vector<entry> chunks_;
  std::vector<std::byte> buffer_;
};

}  // namespace troupe::storage
