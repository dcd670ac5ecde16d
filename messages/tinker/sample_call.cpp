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

void read_stop(json_fields& in, sample_body& out) {
  const auto* stop = in.find("stop");
  if (stop == nullptr) return;
  out.stop = stop_rule::listed;
  const auto* list = stop->if_array();
  if (list == nullptr || list->size() > limits::stop_tokens_max) {
    return in.refuse("stop", "is no list of up to " + std::to_string(limits::stop_tokens_max) +
                                 " token ids; texts need a tokenizer, which this server has not");
  }
  for (const auto& token : *list) {
    if (!append_token(token, out.request.params.stop_tokens)) {
      return in.refuse("stop",
                       "holds what is no token id; texts need a tokenizer, which this "
                       "server has not");
    }
  }
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
  if (in.truth("prompt_logprobs").value_or(false)) {
    in.refuse("prompt_logprobs", "is not served yet");
  }
  for (const char* key : {"topk_prompt_logprobs", "topk_sample_logprobs", "prompt_alt_tokens_k"}) {
    if (in.integer_or(key, 0) != 0) in.refuse(key, "is not served yet");
  }
  if (in.find("target_prompt_logprobs") != nullptr) {
    in.refuse("target_prompt_logprobs", "is not served yet");
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
  const auto* params = in.find("sampling_params");
  if (params != nullptr && params->is_object()) {
    read_params(params->get_object(), in, out);
  } else {
    in.refuse("sampling_params", "is missing");
  }
  refuse_missing(in);
  if (in.failure()) return fail(*in.failure());
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
