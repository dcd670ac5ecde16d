#pragma once

// Tokens whose logprobs a client wants at each position of a prompt: a matrix with one row for each
// token but the first, dense or with its listed cells only, in which -1 asks for nothing. The
// cluster takes as many tokens at each position, so rows are packed to the left and filled up, and
// the answer is put back into the client's own shape.
//
// Threading: pure functions. Errors: errc::invalid_argument naming the field.

#include <cstdint>
#include <optional>
#include <vector>

#include <boost/json.hpp>

#include "messages/error.hpp"
#include "messages/ids.hpp"

namespace tinker_public {
class Tensor;
}

namespace troupe::tinker {

struct target_cells {
  std::vector<std::int64_t> shape;  ///< rows, columns
  std::vector<std::int64_t> rows;   ///< where each row's cells begin and the last one's end
  std::vector<std::int64_t> columns;
  bool is_sparse = false;
  std::vector<std::optional<std::size_t>> places;  ///< of each cell in `tokens`
  std::vector<token_id> tokens;                    ///< as sample_request::prompt_targets
};

/// Of a TensorData in JSON, for a prompt of this length.
[[nodiscard]] result<target_cells> read_target_cells(const boost::json::value& in,
                                                     std::size_t num_prompt_tokens);

/// The logprobs of `cells.tokens` in the client's layout; 0 where it asked for nothing.
void fill_tensor(tinker_public::Tensor& out, const target_cells& cells,
                 const std::vector<float>& logprobs);

}  // namespace troupe::tinker
