#include "messages/tinker/detail_tensors.hpp"

#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <optional>

#include "config/limits.hpp"

namespace troupe::tinker::detail {
namespace {

static_assert(std::endian::native == std::endian::little);

using tinker_public::DType;

tl::unexpected<error> wrong(std::string_view field, const std::string& what) {
  return fail(errc::invalid_argument, std::string(field) + " " + what,
              "the request was not made by a Tinker client", "send it again from the SDK");
}

std::size_t bytes_per_value(DType type) {
  switch (type) {
    case tinker_public::DTYPE_FLOAT32:
    case tinker_public::DTYPE_INT32:
      return 4;
    case tinker_public::DTYPE_INT64:
      return 8;
    case tinker_public::DTYPE_BFLOAT16:
      return 2;
    default:
      return 0;
  }
}

template <class T>
T load(std::string_view bytes, std::size_t index) {
  T out{};
  std::memcpy(&out, bytes.data() + index * sizeof(T), sizeof(T));
  return out;
}

double value_at(std::string_view bytes, DType type, std::size_t index) {
  switch (type) {
    case tinker_public::DTYPE_FLOAT32:
      return static_cast<double>(load<float>(bytes, index));
    case tinker_public::DTYPE_INT64:
      return static_cast<double>(load<std::int64_t>(bytes, index));
    case tinker_public::DTYPE_INT32:
      return static_cast<double>(load<std::int32_t>(bytes, index));
    default:
      return static_cast<double>(
          std::bit_cast<float>(std::uint32_t{load<std::uint16_t>(bytes, index)} << 16U));
  }
}

/// Where the numbers of a tensor lie; `at[i]` is the index of cell i's value, if it has one. Cells
/// of one row stand together.
struct layout {
  std::string_view values;
  std::vector<std::optional<std::size_t>> at;
};

/// Columns of a tensor of one or two dimensions.
result<std::size_t> columns_of(const tinker_public::Tensor& in, std::string_view field) {
  if (in.shape_size() > 2) return wrong(field, "has more than two dimensions");
  const std::int64_t columns = in.shape_size() == 2 ? in.shape(1) : 1;
  if (columns < 1 || static_cast<std::uint64_t>(columns) > limits::targets_per_position_max) {
    return fail(
        errc::unsupported,
        std::string(field) + " has " + std::to_string(columns) + " values per position",
        "a position has 1 to " + std::to_string(limits::targets_per_position_max) + " targets",
        "send fewer");
  }
  return static_cast<std::size_t>(columns);
}

result<layout> dense_layout(const tinker_public::Tensor& in, std::string_view field) {
  const std::string_view bytes = in.dense();
  const std::size_t width = bytes_per_value(in.dtype());
  if (width == 0 || bytes.size() % width != 0) return wrong(field, "has a wrong dtype or length");
  layout out{bytes, {}};
  const std::size_t count = bytes.size() / width;
  if (count > limits::datum_tokens_max) return wrong(field, "is too long");
  const auto columns = columns_of(in, field);
  if (!columns) return fail(columns.error());
  const std::int64_t rows = in.shape_size() > 0 ? in.shape(0) : static_cast<std::int64_t>(count);
  const bool fits =
      rows >= 0 && count % *columns == 0 && static_cast<std::uint64_t>(rows) == count / *columns;
  if (!fits) return wrong(field, "has another shape than data");
  for (std::size_t i = 0; i < count; ++i)
    out.at.emplace_back(i);
  return out;
}

result<layout> sparse_layout(const tinker_public::Tensor& in, std::string_view field) {
  const auto& csr = in.sparse_csr();
  const std::string_view crow = csr.crow_indices();
  const std::size_t width = bytes_per_value(in.dtype());
  const std::size_t row_bytes = sizeof(std::int64_t);
  if (in.shape_size() != 2 || width == 0 || crow.size() < 2 * row_bytes ||
      crow.size() % row_bytes != 0 || csr.values().size() % width != 0) {
    return wrong(field, "is no sparse matrix");
  }
  const std::size_t rows = crow.size() / row_bytes - 1;
  const std::size_t count = csr.values().size() / width;
  const auto columns = columns_of(in, field);
  if (!columns) return fail(columns.error());
  if (rows > limits::datum_tokens_max / *columns) return wrong(field, "is too long");
  if (in.shape(0) < 0 || static_cast<std::size_t>(in.shape(0)) != rows ||
      csr.col_indices().size() != count * row_bytes || load<std::int64_t>(crow, 0) != 0 ||
      load<std::int64_t>(crow, rows) != static_cast<std::int64_t>(count)) {
    return wrong(field, "has another shape than data");
  }
  layout out{csr.values(), std::vector<std::optional<std::size_t>>(rows * *columns)};
  for (std::size_t row = 0; row < rows; ++row) {
    const auto begin = load<std::int64_t>(crow, row);
    const auto end = load<std::int64_t>(crow, row + 1);
    if (begin < 0 || end < begin || end > static_cast<std::int64_t>(count)) {
      return wrong(field, "has rows out of order");
    }
    for (std::int64_t i = begin; i < end; ++i) {
      const auto index = static_cast<std::size_t>(i);
      const auto column = load<std::int64_t>(csr.col_indices(), index);
      if (column < 0 || static_cast<std::uint64_t>(column) >= *columns) {
        return wrong(field, "has a column outside of its shape");
      }
      out.at[row * *columns + static_cast<std::size_t>(column)] = index;
    }
  }
  return out;
}

result<layout> layout_of(const tinker_public::Tensor& in, std::string_view field) {
  return in.has_sparse_csr() ? sparse_layout(in, field) : dense_layout(in, field);
}

}  // namespace

result<std::vector<float>> float_row(const tinker_public::Tensor& in, std::string_view field) {
  const auto where = layout_of(in, field);
  if (!where) return fail(where.error());
  std::vector<float> out(where->at.size());
  for (std::size_t i = 0; i < out.size(); ++i) {
    if (where->at[i])
      out[i] = static_cast<float>(value_at(where->values, in.dtype(), *where->at[i]));
    if (!std::isfinite(out[i])) {
      return fail(errc::not_finite,
                  std::string(field) + " holds a NaN or infinity at position " + std::to_string(i),
                  "the program that made the data divided by zero or overflowed",
                  "check the data before it is sent");
    }
  }
  return out;
}

result<std::vector<token_id>> token_row(const tinker_public::Tensor& in, std::string_view field) {
  if (in.dtype() != tinker_public::DTYPE_INT64 && in.dtype() != tinker_public::DTYPE_INT32) {
    return wrong(field, "does not hold integers");
  }
  const auto where = layout_of(in, field);
  if (!where) return fail(where.error());
  std::vector<token_id> out(where->at.size());
  for (std::size_t i = 0; i < out.size(); ++i) {
    if (!where->at[i]) continue;
    const double value = value_at(where->values, in.dtype(), *where->at[i]);
    if (value < 0 || value > static_cast<double>(std::numeric_limits<token_id>::max())) {
      return fail(errc::invalid_argument,
                  std::string(field) + " holds no token at position " + std::to_string(i),
                  "token ids start at 0", "mask a position by a weight of 0, not by its target");
    }
    out[i] = static_cast<token_id>(value);
  }
  return out;
}

result<void> append_tokens(std::string_view bytes, std::vector<token_id>& out) {
  if (bytes.size() % sizeof(token_id) != 0) return wrong("model_input", "has a broken token list");
  const std::size_t count = bytes.size() / sizeof(token_id);
  if (out.size() + count > limits::datum_tokens_max) return wrong("model_input", "is too long");
  const std::size_t start = out.size();
  out.resize(start + count);
  std::memcpy(out.data() + start, bytes.data(), bytes.size());
  return {};
}

}  // namespace troupe::tinker::detail
