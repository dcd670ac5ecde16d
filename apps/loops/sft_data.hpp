#pragma once

// Rows of supervised data from JSON lines, turned into datums. A row is
//   {"tokens":[...],"weights":[...]}       one weight per token, 0 where it is not trained on
//   {"prompt":"...","completion":"..."}    byte-level models: trains on the completion
//   {"text":"..."}                         byte-level models: trains on all of it
//
// Units: weight i belongs to token i; the first token is never predicted, so its weight is unused.
// Threading: pure functions. Errors: errc::invalid_argument naming file and line, errc::not_found.

#include <cstdint>
#include <iosfwd>
#include <string>
#include <string_view>
#include <vector>

#include "messages/training.hpp"

namespace troupe::loops {

/// Every token from `prompt_length` on counts once.
[[nodiscard]] datum make_datum(const std::vector<token_id>& sequence, std::size_t prompt_length);

[[nodiscard]] result<datum> parse_sft_row(std::string_view line, std::uint32_t vocab_size);

/// `name` stands in errors. Empty lines are skipped.
[[nodiscard]] result<std::vector<datum>> read_sft_rows(std::istream& in, const std::string& name,
                                                       std::uint32_t vocab_size);

[[nodiscard]] result<std::vector<datum>> read_sft_file(const std::string& path,
                                                       std::uint32_t vocab_size);

}  // namespace troupe::loops
