#include "apps/loops/sft_data.hpp"

#include <cmath>
#include <fstream>

#include "apps/loops/byte_tokenizer.hpp"
#include "apps/support/json.hpp"
#include "config/limits.hpp"

namespace troupe::loops {
namespace {

using boost::json::array;
using boost::json::object;

tl::unexpected<error> bad_row(const std::string& what) {
  return fail(errc::invalid_argument, what, "the row is not in a known form",
              "rows are {\"tokens\":[..],\"weights\":[..]}, {\"prompt\":..,\"completion\":..} or "
              "{\"text\":..}");
}

/// Shifts a sequence with its weights into what the loss reads.
result<datum> shifted(const std::vector<token_id>& sequence, const std::vector<float>& weights) {
  if (sequence.size() < 2) return bad_row("a row needs at least two tokens");
  if (sequence.size() - 1 > limits::datum_tokens_max) return bad_row("the row is too long");
  datum out;
  out.tokens.assign(sequence.begin(), sequence.end() - 1);
  out.target_tokens.assign(sequence.begin() + 1, sequence.end());
  out.weights.assign(weights.begin() + 1, weights.end());
  return out;
}

result<datum> from_tokens(const object& row, std::uint32_t vocab_size) {
  const auto* tokens = row.if_contains("tokens");
  const auto* weights = row.if_contains("weights");
  if (weights == nullptr || !tokens->is_array() || !weights->is_array()) {
    return bad_row("\"tokens\" and \"weights\" must both be lists");
  }
  const array& ids = tokens->get_array();
  if (ids.size() != weights->get_array().size()) {
    return bad_row(std::to_string(ids.size()) + " tokens but " +
                   std::to_string(weights->get_array().size()) + " weights");
  }
  std::vector<token_id> sequence;
  std::vector<float> values;
  for (const auto& id : ids) {
    if (!id.is_int64() || id.get_int64() < 0 || id.get_int64() >= std::int64_t{vocab_size}) {
      return bad_row("token " + boost::json::serialize(id) + " is outside the vocabulary of " +
                     std::to_string(vocab_size));
    }
    sequence.push_back(static_cast<token_id>(id.get_int64()));
  }
  for (const auto& weight : weights->get_array()) {
    if (!weight.is_number()) return bad_row("a weight is no number");
    values.push_back(weight.to_number<float>());
    if (!std::isfinite(values.back())) return bad_row("a weight is not finite");
  }
  return shifted(sequence, values);
}

result<datum> from_text(const std::string& prompt, const std::string& completion,
                        std::uint32_t vocab_size) {
  if (vocab_size != byte_vocabulary) {
    return bad_row("text rows need a byte-level model, this one has a vocabulary of " +
                   std::to_string(vocab_size));
  }
  std::vector<float> weights(prompt.size(), 0.0F);
  weights.resize(prompt.size() + completion.size(), 1.0F);
  return shifted(encode_bytes(prompt + completion), weights);
}

}  // namespace

datum make_datum(const std::vector<token_id>& sequence, std::size_t prompt_length) {
  datum out;
  if (sequence.size() < 2) return out;
  out.tokens.assign(sequence.begin(), sequence.end() - 1);
  out.target_tokens.assign(sequence.begin() + 1, sequence.end());
  out.weights.assign(out.tokens.size(), 0.0F);
  for (std::size_t i = 0; i < out.weights.size(); ++i) {
    if (i + 1 >= prompt_length) out.weights[i] = 1.0F;
  }
  return out;
}

result<datum> parse_sft_row(std::string_view line, std::uint32_t vocab_size) {
  const auto parsed = apps::parse_json(line);
  if (!parsed) return fail(parsed.error());
  if (!parsed->is_object()) return bad_row("the row is no JSON object");
  const object& row = parsed->get_object();
  if (row.contains("tokens")) return from_tokens(row, vocab_size);
  if (const auto text = apps::text_of(row, "text")) return from_text("", *text, vocab_size);
  const auto prompt = apps::text_of(row, "prompt");
  const auto completion = apps::text_of(row, "completion");
  if (!prompt || !completion) return bad_row("the row has no known fields");
  return from_text(*prompt, *completion, vocab_size);
}

result<std::vector<datum>> read_sft_rows(std::istream& in, const std::string& name,
                                         std::uint32_t vocab_size) {
  std::vector<datum> rows;
  std::string line;
  for (std::uint64_t number = 1; std::getline(in, line); ++number) {
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    if (line.size() > limits::data_line_bytes_max || rows.size() >= limits::data_rows_max) {
      return fail(errc::invalid_argument, name + ":" + std::to_string(number) + ": too large",
                  "the file passes a limit", "split it");
    }
    auto row = parse_sft_row(line, vocab_size);
    if (!row) {
      error e = row.error();
      e.what = name + ":" + std::to_string(number) + ": " + e.what;
      return fail(std::move(e));
    }
    rows.push_back(std::move(*row));
  }
  if (rows.empty()) {
    return fail(errc::invalid_argument, name + " has no rows", "the file is empty",
                "give a file with one JSON object per line");
  }
  return rows;
}

result<std::vector<datum>> read_sft_file(const std::string& path, std::uint32_t vocab_size) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    return fail(errc::not_found, "cannot read " + path, "it is missing or not readable",
                "check the path");
  }
  return read_sft_rows(file, path, vocab_size);
}

}  // namespace troupe::loops
