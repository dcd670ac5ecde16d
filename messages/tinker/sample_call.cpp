#include "messages/tinker/sample_call.hpp"

#include <limits>

#include "config/limits.hpp"
#include "messages/tinker/json_fields.hpp"

namespace troupe::tinker {
namespace {

bool append_token(const boost::json::value& value, std::vector<token_id>& out) {
  if (!value.is_int64() || value.get_int64() < 0 ||
      value.get_int64() > std::numeric_limits<token_id>::max()) {
    return false;
  }
  out.push_back(static_cast<token_id>(value.get_int64()));
  return true;
}

void read_chunk(const boost::json::value& chunk, json_fields& in, std::vector<token_id>& out) {
  const auto* object = chunk.if_object();
  const auto* type = object == nullptr ? nullptr : object->if_contains("type");
  const auto* tokens = object == nullptr ? nullptr : object->if_contains("tokens");
  if (type != nullptr && type->is_string() && type->get_string() != "encoded_text") {
    return in.refuse("prompt", "holds more than text, which this server's models cannot read");
  }
  if (tokens == nullptr || !tokens->is_array()) return in.refuse("prompt", "has a broken chunk");
  if (out.size() + tokens->get_array().size() > limits::datum_tokens_max) {
    return in.refuse("prompt", "is too long");
  }
  for (const auto& token : tokens->get_array()) {
    if (!append_token(token, out)) return in.refuse("prompt", "holds what is no token id");
  }
}

std::vector<token_id> prompt_of(json_fields& in) {
  std::vector<token_id> out;
  const auto* prompt = in.find("prompt");
  const auto* object = prompt == nullptr ? nullptr : prompt->if_object();
  const auto* chunks = object == nullptr ? nullptr : object->if_contains("chunks");
  if (chunks == nullptr || !chunks->is_array()) {
    in.refuse("prompt", "has no list of chunks");
    return out;
  }
  for (const auto& chunk : chunks->get_array())
    read_chunk(chunk, in, out);
  if (out.empty()) in.refuse("prompt", "is empty");
  return out;
}

void read_stop_text(const boost::json::value& value, json_fields& in, sample_body& out) {
  const auto* text = value.if_string();
  const bool fits =
      text != nullptr && !text->empty() && text->size() <= limits::stop_text_bytes_max;
  if (!fits) {
    return in.refuse("stop", "holds what is neither a token id nor a text of 1 to " +
                                 std::to_string(limits::stop_text_bytes_max) + " bytes");
  }
  out.stop_texts.emplace_back(text->data(), text->size());
}

void read_stop(json_fields& in, sample_body& out) {
  const auto* stop = in.find("stop");
  if (stop == nullptr) return;
  out.stop = stop_rule::listed;
  const auto* list = stop->if_array();
  if (list == nullptr) return read_stop_text(*stop, in, out);
  if (list->size() > limits::stop_tokens_max) {
    return in.refuse("stop",
                     "has more than " + std::to_string(limits::stop_tokens_max) + " entries");
  }
  for (const auto& entry : *list) {
    const bool is_token = append_token(entry, out.request.params.stop_tokens);
    if (!is_token) read_stop_text(entry, in, out);
  }
}

std::uint32_t topk_of(json_fields& in, const char* key) {
  const auto value = in.integer_or(key, 0);
  if (value < 0 || static_cast<std::uint64_t>(value) > limits::topk_logprobs_max) {
    in.refuse(key, "is not from 0 to " + std::to_string(limits::topk_logprobs_max));
    return 0;
  }
  return static_cast<std::uint32_t>(value);
}

/// What a client wants to know beyond the tokens.
void read_scores(json_fields& in, sample_body& out) {
  out.request.prompt_logprobs = in.truth("prompt_logprobs").value_or(false);
  out.request.topk_prompt_logprobs = topk_of(in, "topk_prompt_logprobs");
  out.request.params.topk_logprobs = topk_of(in, "topk_sample_logprobs");
  const auto last = in.optional_integer("prompt_logprobs_last_n");
  const bool fits = !last || (*last >= 1 && *last < out.request.prompt.size());
  if (!fits || (last && !out.request.prompt_logprobs)) {
    return in.refuse("prompt_logprobs_last_n",
                     "is not from 1 to one less than the prompt's tokens, or comes without "
                     "prompt_logprobs");
  }
  if (last) out.prompt_logprobs_last = static_cast<std::size_t>(*last);
}

void read_params(const boost::json::object& object, json_fields& outer, sample_body& out) {
  json_fields in(object);
  sampling_params& params = out.request.params;
  const auto max_tokens = in.optional_integer("max_tokens");
  if (max_tokens && (*max_tokens == 0 || *max_tokens > limits::sample_tokens_max)) {
    in.refuse("max_tokens", "is not from 1 to " + std::to_string(limits::sample_tokens_max));
  }
  params.max_tokens = static_cast<std::uint32_t>(max_tokens.value_or(0));
  params.seed = static_cast<std::uint64_t>(in.integer_or("seed", 0));
  params.temperature = in.number_or("temperature", 1.0);
  params.top_p = in.number_or("top_p", 1.0);
  const auto top_k = in.integer_or("top_k", -1);
  if (params.temperature < 0) in.refuse("temperature", "is negative");
  if (params.top_p <= 0 || params.top_p > 1) in.refuse("top_p", "is not above 0 and up to 1");
  if (top_k < -1 || top_k > std::numeric_limits<std::int32_t>::max()) {
    in.refuse("top_k", "is neither -1 nor a number of tokens");
  }
  params.top_k = top_k == 0 ? -1 : static_cast<std::int32_t>(top_k);
  read_stop(in, out);
  if (in.failure()) outer.refuse("sampling_params", "is wrong: " + in.failure()->what);
}

/// Options that would change the answer must not be ignored.
void refuse_missing(json_fields& in) {
  if (in.integer_or("prompt_alt_tokens_k", 0) != 0) {
    in.refuse("prompt_alt_tokens_k", "is not served: use topk_prompt_logprobs");
  }
  if (in.truth("record_stability_info").value_or(false)) {
    in.refuse("record_stability_info", "is not served: use importance_sampling or ppo");
  }
}

result<sample_body> body_of(const boost::json::object& object, std::uint64_t num_samples) {
  json_fields in(object);
  sample_body out;
  if (num_samples < 1 || num_samples > limits::samples_per_request_max) {
    in.refuse("num_samples", "is not from 1 to " + std::to_string(limits::samples_per_request_max));
  }
  out.request.num_samples = static_cast<std::uint32_t>(num_samples);
  out.request.prompt = prompt_of(in);
  read_scores(in, out);
  const auto* params = in.find("sampling_params");
  if (params != nullptr && params->is_object()) {
    read_params(params->get_object(), in, out);
  } else {
    in.refuse("sampling_params", "is missing");
  }
  refuse_missing(in);
  if (in.failure()) return fail(*in.failure());
  if (const auto* targets = in.find("target_prompt_logprobs")) {
    auto cells = read_target_cells(*targets, out.request.prompt.size());
    if (!cells) return fail(cells.error());
    out.request.prompt_targets = cells->tokens;
    out.targets = std::move(*cells);
  }
  return out;
}

}  // namespace

result<sample_call> decode_sample_call(const boost::json::object& in) {
  json_fields fields(in);
  const std::string session = fields.text("sampling_session_id");
  const std::uint64_t seq_id = fields.integer("seq_id");
  const auto num_samples = fields.optional_integer("num_samples").value_or(1);
  if (fields.failure()) return fail(*fields.failure());
  sample_call out{session, seq_id, 1, body_of(in, num_samples)};
  if (out.body) out.num_samples = out.body->request.num_samples;
  return out;
}

}  // namespace troupe::tinker
