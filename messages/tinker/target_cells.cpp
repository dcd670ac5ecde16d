#include "messages/tinker/target_cells.hpp"

#include <algorithm>
#include <limits>
#include <string>

#include "config/limits.hpp"
#include "messages/tinker/detail_tensors.hpp"

namespace troupe::tinker {
namespace {

tl::unexpected<error> wrong(const std::string& what) {
  return fail(errc::invalid_argument, "target_prompt_logprobs " + what,
              "it is an int64 matrix with a row for each token of the prompt but the first",
              "make it with TensorData.from_torch or from_torch_sparse(pad_value=-1)");
}

result<std::vector<std::int64_t>> numbers(const boost::json::object& in, const char* key) {
  const auto* value = in.if_contains(key);
  const auto* list = value == nullptr ? nullptr : value->if_array();
  if (list == nullptr) return wrong(std::string("has no list ") + key);
  if (list->size() > limits::topk_cells_max) {
    return wrong("has more than " + std::to_string(limits::topk_cells_max) + " cells");
  }
  std::vector<std::int64_t> out;
  for (const auto& entry : *list) {
    if (!entry.is_int64()) return wrong(std::string("holds what is no integer in ") + key);
    out.push_back(entry.get_int64());
  }
  return out;
}

/// The cells of a dense matrix are all listed.
void list_all(target_cells& out) {
  for (std::int64_t row = 0; row <= out.shape[0]; ++row)
    out.rows.push_back(row * out.shape[1]);
}

result<void> list_some(const boost::json::object& in, std::size_t num_cells, target_cells& out) {
  auto rows = numbers(in, "sparse_crow_indices");
  if (!rows) return fail(rows.error());
  auto columns = numbers(in, "sparse_col_indices");
  if (!columns) return fail(columns.error());
  const bool fits = rows->size() == static_cast<std::size_t>(out.shape[0]) + 1 &&
                    rows->front() == 0 && std::is_sorted(rows->begin(), rows->end()) &&
                    rows->back() == static_cast<std::int64_t>(num_cells) &&
                    columns->size() == num_cells;
  if (!fits) return wrong("has rows that do not fit its data");
  const auto is_outside = [&](std::int64_t c) { return c < 0 || c >= out.shape[1]; };
  if (std::any_of(columns->begin(), columns->end(), is_outside)) {
    return wrong("has a column outside of its shape");
  }
  out.rows = std::move(*rows);
  out.columns = std::move(*columns);
  return {};
}

/// Packs the cells that ask for something to the left of their rows.
result<void> pack(const std::vector<std::int64_t>& data, target_cells& out) {
  std::vector<std::size_t> slots(data.size());
  std::size_t width = 0;
  for (std::size_t row = 0; row + 1 < out.rows.size(); ++row) {
    std::size_t used = 0;
    for (auto i = static_cast<std::size_t>(out.rows[row]);
         i < static_cast<std::size_t>(out.rows[row + 1]); ++i) {
      if (data[i] < -1 || data[i] > std::numeric_limits<token_id>::max()) {
        return wrong("holds " + std::to_string(data[i]) + ", which is no token and not -1");
      }
      if (data[i] >= 0) slots[i] = used++;
    }
    width = std::max(width, used);
  }
  const std::size_t num_rows = out.rows.size() - 1;
  if (width > limits::topk_cells_max / num_rows) return wrong("asks for too many tokens");
  out.tokens.assign(num_rows * width, 0);
  out.places.resize(data.size());
  for (std::size_t row = 0; row < num_rows; ++row) {
    for (auto i = static_cast<std::size_t>(out.rows[row]);
         i < static_cast<std::size_t>(out.rows[row + 1]); ++i) {
      if (data[i] < 0) continue;
      out.places[i] = row * width + slots[i];
      out.tokens[*out.places[i]] = static_cast<token_id>(data[i]);
    }
  }
  return {};
}

}  // namespace

result<target_cells> read_target_cells(const boost::json::value& in,
                                       std::size_t num_prompt_tokens) {
  const auto* object = in.if_object();
  if (object == nullptr) return wrong("is no tensor");
  const auto data = numbers(*object, "data");
  if (!data) return fail(data.error());
  auto shape = numbers(*object, "shape");
  if (!shape) return fail(shape.error());
  const bool fits = num_prompt_tokens > 1 && shape->size() == 2 &&
                    (*shape)[0] == static_cast<std::int64_t>(num_prompt_tokens) - 1 &&
                    (*shape)[1] >= 1 && (*shape)[1] <= std::numeric_limits<token_id>::max();
  if (!fits) return wrong("has another shape than [len(prompt) - 1, K]");
  target_cells out;
  out.shape = std::move(*shape);
  const auto* crow = object->if_contains("sparse_crow_indices");
  out.is_sparse = crow != nullptr && !crow->is_null();
  if (out.is_sparse) {
    if (auto ok = list_some(*object, data->size(), out); !ok) return fail(ok.error());
  } else if (data->size() !=
             static_cast<std::uint64_t>(out.shape[0]) * static_cast<std::uint64_t>(out.shape[1])) {
    return wrong("has another shape than its data");
  } else {
    list_all(out);
  }
  if (auto ok = pack(*data, out); !ok) return fail(ok.error());
  return out;
}

void fill_tensor(tinker_public::Tensor& out, const target_cells& cells,
                 const std::vector<float>& logprobs) {
  std::vector<float> values(cells.places.size(), 0.0F);
  for (std::size_t i = 0; i < values.size(); ++i) {
    const auto& place = cells.places[i];
    if (place && *place < logprobs.size()) values[i] = logprobs[*place];
  }
  out.set_dtype(tinker_public::DTYPE_FLOAT32);
  for (const std::int64_t extent : cells.shape)
    out.add_shape(extent);
  if (!cells.is_sparse) return out.set_dense(detail::bytes_of(values));
  auto& csr = *out.mutable_sparse_csr();
  csr.set_values(detail::bytes_of(values));
  csr.set_crow_indices(detail::bytes_of(cells.rows));
  csr.set_col_indices(detail::bytes_of(cells.columns));
}

}  // namespace troupe::tinker
