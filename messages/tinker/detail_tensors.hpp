#pragma once

// Tensors as they stand in Tinker's messages, decoded without trusting a single length: every
// buffer is compared with its shape before anything of the shape's size is allocated.
//
// Units: little-endian buffers; the machine is little-endian, too.
// Threading: pure functions. Errors: errc::invalid_argument naming the field, errc::unsupported.

#include <string>
#include <string_view>
#include <vector>

#include "messages/error.hpp"
#include "messages/ids.hpp"
#include "messages/tinker/tinker_public.pb.h"

namespace troupe::tinker::detail {

/// The values of a tensor of one or two dimensions, position by position; absent ones of sparse
/// tensors are 0.
[[nodiscard]] result<std::vector<float>> float_row(const tinker_public::Tensor& in,
                                                   std::string_view field);

/// The same for token ids, which arrive as 64-bit integers.
[[nodiscard]] result<std::vector<token_id>> token_row(const tinker_public::Tensor& in,
                                                      std::string_view field);

/// Tokens of a chunk, appended.
[[nodiscard]] result<void> append_tokens(std::string_view bytes, std::vector<token_id>& out);

/// The bytes of numbers as they stand in memory.
template <class T>
[[nodiscard]] std::string bytes_of(const std::vector<T>& values) {
  return std::string(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
}

}  // namespace troupe::tinker::detail
