#pragma once

// One rank's share of a checkpoint: element ranges of parameters, written as a safetensors file so
// that any tool can look inside. Tensor names are "<part>/<parameter index>/<first element>" with
// part one of weights, exp_avg, exp_avg_sq; all tensors are one-dimensional, F32 or BF16.
//
// A training checkpoint saved by N ranks is read by M ranks: a reader over all N files finds which
// of them hold a wanted range and reads only those bytes.
//
// Units: elements. Threading: one thread at a time.
// Errors: errc::corrupt (a file fails its checks), errc::not_found (a range is in no file),
// errc::invalid_argument (floats asked of a BF16 file, bits of an F32 one; a listing that repeats a
// slice), storage errors of the blob store.

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "messages/checkpoint.hpp"
#include "storage/blob_store.hpp"

namespace troupe::storage {

enum class slice_part : std::uint8_t { weights = 0, exp_avg = 1, exp_avg_sq = 2 };

/// What will be written, in order; the header needs it first.
struct slice_entry {
  slice_part part = slice_part::weights;
  std::uint32_t parameter = 0;
  std::uint64_t begin = 0;
  std::uint64_t end = 0;
};

class slice_writer {
 public:
  /// Writes the header.
  static result<slice_writer> create(blob_store& blobs, dtype type,
                                     std::vector<slice_entry> entries);

  /// The next entry's values, whole; F32 files take floats, BF16 files bits.
  result<void> append(std::span<const float> values);
  result<void> append(std::span<const std::uint16_t> bits);

  /// errc::internal when entries are missing.
  result<blob_info> commit();

 private:
  slice_writer(std::unique_ptr<blob_writer> out, dtype type, std::vector<slice_entry> entries);
  result<void> append_bytes(std::span<const std::byte> bytes, dtype type);

  std::unique_ptr<blob_writer> out_;
  dtype type_;
  std::vector<slice_entry> entries_;
  std::size_t next_ = 0;
};

class slice_reader {
 public:
  /// Opens and checks every file's header, and every blob's digest when `verify` says so.
  enum class verification : std::uint8_t { headers, contents };
  static result<slice_reader> open(blob_store& blobs, const std::vector<checkpoint_file>& files,
                                   verification verify);

  /// Values of [begin, begin + out.size()), from whichever files hold them.
  result<void> read(slice_part part, std::uint32_t parameter, std::uint64_t begin,
                    std::span<float> out);
  result<void> read(slice_part part, std::uint32_t parameter, std::uint64_t begin,
                    std::span<std::uint16_t> out);

 private:
  struct located_slice {
    slice_entry entry;
    dtype type = dtype::f32;
    std::size_t file = 0;
    std::uint64_t offset_bytes = 0;
  };

  slice_reader() = default;
  [[nodiscard]] const located_slice* find(slice_part part, std::uint32_t parameter,
                                          std::uint64_t element) const;
  template <class Element>
  result<void> read_as(slice_part part, std::uint32_t parameter, std::uint64_t begin,
                       std::span<Element> out, dtype type);

  std::vector<std::unique_ptr<blob_reader>> files_;
  std::vector<located_slice> slices_;  ///< sorted by part, parameter, begin
};

}  // namespace troupe::storage
