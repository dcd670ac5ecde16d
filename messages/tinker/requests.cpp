#include "messages/tinker/requests.hpp"

#include "config/limits.hpp"
#include "messages/tinker/json_fields.hpp"

namespace troupe::tinker {
namespace {

template <class T>
result<T> finish(const json_fields& in, T out) {
  if (in.failure()) return fail(*in.failure());
  return out;
}

boost::json::object metadata_of(json_fields& in) {
  const auto* value = in.find("user_metadata");
  if (value == nullptr) return {};
  if (!value->is_object() ||
      boost::json::serialize(*value).size() > limits::user_metadata_bytes_max) {
    in.refuse("user_metadata", "is no object of up to " +
                                   std::to_string(limits::user_metadata_bytes_max) + " bytes");
    return {};
  }
  return value->get_object();
}

void require_adamw(json_fields& in) {
  const auto* value = in.find("optimizer_config");
  if (value == nullptr) return;
  const auto* type = value->is_object() ? value->get_object().if_contains("type") : nullptr;
  if (type == nullptr || !type->is_string() || type->get_string() != "adamw") {
    in.refuse("optimizer_config",
              "asks for an optimizer that this server does not have; it has "
              "adamw");
  }
}

std::string name_or_empty(json_fields& in) {
  const auto name = in.optional_text("path");
  if (name && !is_valid_name(*name)) {
    in.refuse("path", "is no name: use 1 to 128 letters, digits, '.', '_' or '-'");
  }
  return name.value_or(std::string());
}

std::optional<lora_config> lora_of(json_fields& in) {
  const auto* value = in.find("lora_config");
  if (value == nullptr) return std::nullopt;
  if (!value->is_object()) {
    in.refuse("lora_config", "is no object");
    return std::nullopt;
  }
  json_fields fields(value->get_object());
  lora_config out;
  const auto rank = fields.integer("rank");
  out.seed = static_cast<std::uint64_t>(fields.integer_or("seed", 0));
  out.train_unembed = fields.truth("train_unembed").value_or(true);
  out.train_mlp = fields.truth("train_mlp").value_or(true);
  out.train_attn = fields.truth("train_attn").value_or(true);
  if (rank > limits::lora_rank_max) fields.refuse("rank", "is too large");
  out.rank = static_cast<std::uint32_t>(rank);
  if (fields.failure()) in.refuse("lora_config", "is wrong: " + fields.failure()->what);
  return out;
}

}  // namespace

result<create_model_call> decode_create_model(const boost::json::object& in) {
  json_fields fields(in);
  create_model_call out;
  out.session_id = fields.text("session_id");
  out.model_seq_id = fields.integer("model_seq_id");
  out.base_model = fields.text("base_model");
  out.lora = lora_of(fields);
  out.user_metadata = metadata_of(fields);
  require_adamw(fields);
  return finish(fields, std::move(out));
}

result<optim_step_call> decode_optim_step(const boost::json::object& in) {
  json_fields fields(in);
  optim_step_call out;
  out.model_id = fields.text("model_id");
  out.seq_id = fields.integer("seq_id");
  const auto* value = fields.find("adam_params");
  if (value == nullptr || !value->is_object()) {
    fields.refuse("adam_params", "is missing; this server has no other optimizer");
    return finish(fields, std::move(out));
  }
  json_fields params(value->get_object());
  adam_params& adam = out.adam;
  adam.learning_rate = params.number_or("learning_rate", adam.learning_rate);
  adam.beta1 = params.number_or("beta1", adam.beta1);
  adam.beta2 = params.number_or("beta2", adam.beta2);
  adam.eps = params.number_or("eps", adam.eps);
  adam.weight_decay = params.number_or("weight_decay", adam.weight_decay);
  adam.grad_clip_norm = params.number_or("grad_clip_norm", adam.grad_clip_norm);
  if (params.failure()) fields.refuse("adam_params", "is wrong: " + params.failure()->what);
  return finish(fields, std::move(out));
}

result<save_weights_call> decode_save_weights(const boost::json::object& in) {
  json_fields fields(in);
  save_weights_call out;
  out.model_id = fields.text("model_id");
  out.seq_id = fields.integer("seq_id");
  out.name = name_or_empty(fields);
  out.ttl_seconds = fields.optional_integer("ttl_seconds").value_or(0);
  out.overwrite = fields.truth("overwrite").value_or(false);
  out.user_metadata = metadata_of(fields);
  return finish(fields, std::move(out));
}

result<save_for_sampler_call> decode_save_for_sampler(const boost::json::object& in) {
  json_fields fields(in);
  save_for_sampler_call out;
  out.model_id = fields.text("model_id");
  out.seq_id = fields.integer("seq_id");
  out.name = name_or_empty(fields);
  out.sampling_session_seq_id = fields.optional_integer("sampling_session_seq_id");
  out.ttl_seconds = fields.optional_integer("ttl_seconds").value_or(0);
  out.overwrite = fields.truth("overwrite").value_or(false);
  out.user_metadata = metadata_of(fields);
  if (out.name.empty() && !out.sampling_session_seq_id) {
    fields.refuse("path", "is missing, and so is sampling_session_seq_id");
  }
  return finish(fields, std::move(out));
}

result<load_weights_call> decode_load_weights(const boost::json::object& in) {
  json_fields fields(in);
  load_weights_call out;
  out.model_id = fields.optional_text("model_id").value_or(std::string());
  out.session_id = fields.optional_text("session_id").value_or(std::string());
  if (out.model_id.empty()) {
    out.session_id = fields.text("session_id");
    out.model_seq_id = fields.integer("model_seq_id");
  } else {
    out.seq_id = fields.integer("seq_id");
  }
  out.base_model = fields.optional_text("base_model");
  out.user_metadata = metadata_of(fields);
  out.path = fields.text("path");
  out.optimizer =
      fields.truth("optimizer").value_or(false) ? optimizer_state::restore : optimizer_state::reset;
  require_adamw(fields);
  return finish(fields, std::move(out));
}

result<create_sampling_session_call> decode_create_sampling_session(const boost::json::object& in) {
  json_fields fields(in);
  create_sampling_session_call out;
  out.session_id = fields.text("session_id");
  out.sampling_session_seq_id = fields.integer("sampling_session_seq_id");
  out.base_model = fields.optional_text("base_model");
  out.model_path = fields.optional_text("model_path");
  if (!out.base_model && !out.model_path) {
    fields.refuse("base_model", "is missing, and so is model_path");
  }
  return finish(fields, std::move(out));
}

}  // namespace troupe::tinker
