#include "storage/hf_config.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>

#include <boost/json.hpp>

#include "config/limits.hpp"
#include "storage/json_print.hpp"
#include "storage/json_text.hpp"

namespace troupe::storage {

namespace {

namespace json = boost::json;

/// How a family is named in config.json, and its defaults for members that are not there.
struct known_architecture {
  model_family family;
  const char* architecture;
  const char* model_type;
  std::uint32_t num_kv_heads;  ///< 0: as many as query heads
  bool null_kv_heads;          ///< null is taken, for as many as query heads
  std::uint32_t head_dim;      ///< 0: hidden_size / num_attention_heads
  std::uint32_t max_positions;
};
constexpr std::array<known_architecture, 4> architectures{{
    {model_family::qwen3, "Qwen3ForCausalLM", "qwen3", 32, true, 128, 32768},
    {model_family::llama, "LlamaForCausalLM", "llama", 0, true, 0, 2048},
    {model_family::qwen2, "Qwen2ForCausalLM", "qwen2", 32, true, 0, 32768},
    {model_family::qwen3_moe, "Qwen3MoeForCausalLM", "qwen3_moe", 4, false, 0, 32768},
}};

/// What transformers computes with where a rope scaling names no theta.
constexpr double default_rope_theta = 10000;

/// One config.json while it is being read. The first failure is kept; what follows reads as zero,
/// so that a caller asks once at the end.
class config_reader {
 public:
  config_reader(const json::object& members, const std::string& source)
      : members_(members), source_(source) {}

  [[nodiscard]] const std::optional<error>& failure() const { return failure_; }

  const json::value* find(const char* name) const {
    const json::value* value = members_.if_contains(name);
    return value == nullptr || value->is_null() ? nullptr : value;
  }

  [[nodiscard]] bool is_null(const char* name) const {
    const json::value* value = members_.if_contains(name);
    return value != nullptr && value->is_null();
  }

  std::uint32_t count(const char* name, std::uint64_t most,
                      std::optional<std::uint32_t> otherwise = std::nullopt) {
    const json::value* value = find(name);
    if (value == nullptr && otherwise) return *otherwise;
    if (value == nullptr) {
      bad(std::string(name) + " is missing");
      return 0;
    }
    const auto number = to_unsigned(*value, name);
    if (number && *number >= 1 && *number <= most) return static_cast<std::uint32_t>(*number);
    bad(std::string(name) + " is " + json::serialize(*value).substr(0, 32) +
        ", not a number from 1 to " + std::to_string(most));
    return 0;
  }

  double positive(const json::value* value, const char* name, double otherwise) {
    if (value == nullptr) return otherwise;
    json::error_code no_number;
    const double number = value->to_number<double>(no_number);
    if (!no_number && std::isfinite(number) && number > 0) return number;
    bad(std::string(name) + " is " + json::serialize(*value).substr(0, 32) +
        ", not a positive number");
    return otherwise;
  }

  bool flag(const char* name) {
    const json::value* value = find(name);
    if (value == nullptr) return false;
    if (const bool* truth = value->if_bool()) return *truth;
    bad(std::string(name) + " is neither true nor false");
    return false;
  }

  std::string text(const char* name, const char* otherwise) {
    const json::value* value = find(name);
    if (value == nullptr) return otherwise;
    if (const auto* string = value->if_string()) return std::string(*string);
    bad(std::string(name) + " is no text");
    return otherwise;
  }

  void require(bool holds, const std::string& otherwise) {
    if (!holds) bad(otherwise);
  }

  void refuse(bool present, const std::string& feature) {
    if (!present || failure_) return;
    failure_ = error{errc::unsupported, source_ + ": " + feature + " is not supported",
                     "the model uses a feature this version does not compute",
                     "choose a model without it"};
  }

 private:
  void bad(const std::string& what) {
    if (failure_) return;
    failure_ = error{errc::bad_model, source_ + ": " + what,
                     "the file is damaged or was edited by hand", "fetch it again from its origin"};
  }

  const json::object& members_;
  const std::string& source_;
  std::optional<error> failure_;
};

std::string architecture_of(const json::object& members) {
  if (const auto* names = members.if_contains("architectures"); names && names->is_array()) {
    const auto& list = names->get_array();
    if (list.size() == 1 && list[0].is_string()) return std::string(list[0].get_string());
    if (!list.empty()) return json::serialize(*names).substr(0, 128);
  }
  const auto* type = members.if_contains("model_type");
  if (type == nullptr || !type->is_string()) return "(none)";
  for (const known_architecture& known : architectures)
    if (type->get_string() == known.model_type) return known.architecture;
  return std::string(type->get_string());
}

const json::value* member_of(const json::value* value, const char* name) {
  if (value == nullptr || !value->is_object()) return nullptr;
  const json::value* member = value->get_object().if_contains(name);
  return member == nullptr || member->is_null() ? nullptr : member;
}

rope_scaling read_llama3(config_reader& reader, const json::value* rope) {
  rope_scaling out;
  out.kind = rope_kind::llama3;
  const auto number = [&](const char* name) {
    const json::value* value = member_of(rope, name);
    reader.require(value != nullptr, std::string(name) + " of the rope scaling is missing");
    return reader.positive(value, name, 1);
  };
  out.factor = number("factor");
  out.low_freq_factor = number("low_freq_factor");
  out.high_freq_factor = number("high_freq_factor");
  const double positions = number("original_max_position_embeddings");
  reader.require(positions <= static_cast<double>(limits::model_positions_max) &&
                     positions == std::floor(positions),
                 "original_max_position_embeddings is no number of positions");
  out.original_positions = static_cast<std::uint32_t>(
      std::min(positions, static_cast<double>(limits::model_positions_max)));
  return out;
}

/// Newer versions of transformers write num_local_experts for num_experts.
void read_experts(config_reader& reader, model_config& model) {
  if (model.family != model_family::qwen3_moe) return;
  const char* const count =
      reader.find("num_local_experts") != nullptr ? "num_local_experts" : "num_experts";
  model.experts.count = reader.count(count, limits::model_experts_max, 128);
  model.experts.per_token = reader.count("num_experts_per_tok", limits::model_experts_max, 8);
  model.experts.width = reader.count("moe_intermediate_size", limits::model_width_max, 768);
  model.experts.weights_sum_to_one = reader.flag("norm_topk_prob");
  reader.require(model.experts.per_token <= model.experts.count,
                 "num_experts_per_tok is more than num_experts");
  reader.refuse(reader.count("decoder_sparse_step", limits::model_layers_max, 1) != 1,
                "decoder_sparse_step other than 1");
  const json::value* dense = reader.find("mlp_only_layers");
  const bool has_dense = dense != nullptr && !(dense->is_array() && dense->get_array().empty());
  reader.refuse(has_dense, "mlp_only_layers");
}

/// What one of the two places says of the rotary frequencies.
struct stated_rope {
  rope_scaling scaling;
  std::optional<double> theta;
};

/// Empty where the place says nothing, as `{}` does.
std::optional<stated_rope> read_place(config_reader& reader, model_family family,
                                      const char* place) {
  const json::value* rope = reader.find(place);
  if (rope == nullptr) return std::nullopt;
  reader.require(rope->is_object(), std::string(place) + " is no object");
  if (!rope->is_object() || rope->get_object().empty()) return std::nullopt;
  for (const auto& member : rope->get_object())
    reader.refuse(member.value().is_object(),
                  std::string(place) + " by layer type (" +
                      json::serialize(json::string(member.key())).substr(0, 64) + ")");
  const json::value* kind = member_of(rope, "rope_type");
  if (kind == nullptr) kind = member_of(rope, "type");
  const auto is = [&](const char* name) {
    return kind != nullptr && kind->is_string() && kind->get_string() == name;
  };
  const bool is_llama3 = is("llama3") && family == model_family::llama;
  reader.refuse(kind != nullptr && !is("default") && !is_llama3,
                kind == nullptr ? "" : "rope type " + json::serialize(*kind).substr(0, 64));
  reader.refuse(!is_llama3 && member_of(rope, "factor") != nullptr, "a rope scaling factor");
  const json::value* partial = member_of(rope, "partial_rotary_factor");
  const bool is_whole =
      partial == nullptr || (partial->is_number() && json::value_to<double>(*partial) == 1);
  reader.refuse(!is_whole, "partial_rotary_factor");
  stated_rope out;
  if (is_llama3) out.scaling = read_llama3(reader, rope);
  if (const json::value* theta = member_of(rope, "rope_theta"))
    out.theta = reader.positive(theta, "rope_theta", default_rope_theta);
  return out;
}

/// transformers 4 knows `rope_scaling` and a theta at the top; transformers 5 writes
/// `rope_parameters`, and reads `rope_scaling` where both are there. Two that disagree would make
/// one model in this program and another one there.
void read_rope(config_reader& reader, model_config& model) {
  const auto older = read_place(reader, model.family, "rope_scaling");
  const auto newer = read_place(reader, model.family, "rope_parameters");
  std::optional<double> theta;
  if (const json::value* top = reader.find("rope_theta"))
    theta = reader.positive(top, "rope_theta", default_rope_theta);
  const auto check_top = [&](const std::optional<stated_rope>& inner, const char* place) {
    reader.require(!theta || !inner || !inner->theta || *inner->theta == *theta,
                   std::string("rope_theta and the one of ") + place + " disagree");
  };
  check_top(older, "rope_scaling");
  check_top(newer, "rope_parameters");
  if (older && newer) {
    const double otherwise = theta.value_or(default_rope_theta);
    reader.require(older->scaling == newer->scaling &&
                       older->theta.value_or(otherwise) == newer->theta.value_or(otherwise),
                   "rope_scaling and rope_parameters disagree");
  }
  for (const auto& inner : {older, newer}) {
    if (!inner) continue;
    model.rope = inner->scaling;
    if (inner->theta) theta = inner->theta;
  }
  // The first Llama configs name none.
  if (model.family == model_family::llama && !theta) theta = default_rope_theta;
  reader.require(theta.has_value(), "rope_theta is missing");
  model.rope_theta = theta.value_or(default_rope_theta);
}

/// Missing and null are two cases: the one is the default of the family, the other is as many as
/// query heads where the family takes it.
std::uint32_t read_kv_heads(config_reader& reader, const known_architecture& known,
                            std::uint32_t num_heads) {
  constexpr const char* name = "num_key_value_heads";
  const bool is_null = reader.is_null(name);
  reader.require(!is_null || known.null_kv_heads,
                 std::string(name) + " is null, which " + known.architecture + " does not take");
  const bool as_query_heads = is_null || known.num_kv_heads == 0;
  return reader.count(name, limits::model_heads_max,
                      as_query_heads ? num_heads : known.num_kv_heads);
}

void read_layer_types(config_reader& reader, std::uint32_t num_layers) {
  const json::value* kinds = reader.find("layer_types");
  if (kinds == nullptr) return;
  reader.require(kinds->is_array(), "layer_types is no list");
  if (!kinds->is_array()) return;
  for (const json::value& kind : kinds->get_array()) {
    const bool full = kind.is_string() && kind.get_string() == "full_attention";
    reader.refuse(!full, "layer type " + json::serialize(kind).substr(0, 64));
  }
  const std::size_t length = kinds->get_array().size();
  reader.require(length == num_layers, "layer_types names " + std::to_string(length) +
                                           " layers where num_hidden_layers is " +
                                           std::to_string(num_layers));
}

void refuse_other_computations(config_reader& reader) {
  reader.refuse(reader.flag("attention_bias"), "attention_bias");
  reader.refuse(reader.flag("mlp_bias"), "mlp_bias");
  reader.refuse(reader.flag("use_sliding_window"), "use_sliding_window");
  reader.refuse(reader.find("quantization_config") != nullptr, "quantization_config");
  const std::string activation = reader.text("hidden_act", "silu");
  reader.refuse(activation != "silu", "hidden_act '" + activation + "'");
  if (const json::value* dropout = reader.find("attention_dropout"))
    reader.refuse(!dropout->is_number() || dropout->to_number<double>() != 0, "attention_dropout");
}

dtype read_weights_type(config_reader& reader) {
  std::string name = reader.text("dtype", "");
  if (name.empty()) name = reader.text("torch_dtype", "float32");
  if (name.starts_with("torch.")) name = name.substr(6);
  reader.refuse(name != "float32" && name != "bfloat16" && name != "float16",
                "weights of type '" + name.substr(0, 32) + "'");
  return name == "bfloat16" ? dtype::bf16 : dtype::f32;
}

result<json::value> parse_object(std::string_view text, const std::string& source) {
  auto value = parse_json(text, source);
  if (!value) return fail(as_bad_model(value.error()));
  if (value->is_object()) return value;
  return fail(errc::bad_model, source + " is no JSON object", "it is another kind of file",
              "fetch it again from its origin");
}

json::object llama3_rope(const model_config& model) {
  return {{"rope_theta", model.rope_theta},
          {"rope_type", "llama3"},
          {"factor", model.rope.factor},
          {"low_freq_factor", model.rope.low_freq_factor},
          {"high_freq_factor", model.rope.high_freq_factor},
          {"original_max_position_embeddings", model.rope.original_positions}};
}

const char* type_name(dtype type) {
  return type == dtype::f32 ? "float32" : "bfloat16";
}

}  // namespace

error as_bad_model(error failure) {
  if (failure.code == errc::corrupt || failure.code == errc::invalid_argument)
    failure.code = errc::bad_model;
  return failure;
}

result<hf_config> parse_hf_config(std::string_view text, const std::string& source) {
  const auto value = parse_object(text, source);
  if (!value) return fail(value.error());
  const json::object& members = value->get_object();
  const std::string name = architecture_of(members);
  const auto known = std::ranges::find(architectures, name, &known_architecture::architecture);
  if (known == architectures.end())
    return fail(errc::unsupported, source + ": architecture " + name + " is not supported",
                "this version trains Llama, Qwen2, Qwen3 and Qwen3-MoE models",
                "choose one of these models");
  config_reader reader(members, source);
  const std::string type = reader.text("model_type", known->model_type);
  reader.require(
      type == known->model_type,
      "architectures names " + name + " where model_type is '" + type.substr(0, 64) + "'");
  hf_config config;
  model_config& model = config.model;
  model.family = known->family;
  model.vocab_size = reader.count("vocab_size", limits::model_vocab_max);
  model.hidden_size = reader.count("hidden_size", limits::model_width_max);
  model.intermediate_size = reader.count("intermediate_size", limits::model_width_max);
  model.num_layers = reader.count("num_hidden_layers", limits::model_layers_max);
  model.num_heads = reader.count("num_attention_heads", limits::model_heads_max);
  model.num_kv_heads = read_kv_heads(reader, *known, model.num_heads);
  const std::uint32_t share = model.num_heads == 0 ? 0 : model.hidden_size / model.num_heads;
  model.head_dim = reader.count("head_dim", limits::model_head_dim_max,
                                known->head_dim == 0 ? share : known->head_dim);
  model.max_positions =
      reader.count("max_position_embeddings", limits::model_positions_max, known->max_positions);
  read_rope(reader, model);
  model.rms_norm_eps = reader.positive(reader.find("rms_norm_eps"), "rms_norm_eps", 1e-6);
  model.tied_head = reader.flag("tie_word_embeddings");
  config.weights = read_weights_type(reader);
  read_experts(reader, model);
  refuse_other_computations(reader);
  read_layer_types(reader, model.num_layers);
  reader.require(model.num_kv_heads != 0 && model.num_heads % model.num_kv_heads == 0,
                 "num_attention_heads is no multiple of num_key_value_heads");
  reader.require(model.head_dim % 2 == 0, "head_dim is odd");
  if (reader.failure()) return fail(*reader.failure());
  return config;
}

std::string write_hf_config(const model_config& model, dtype type) {
  const auto* known = std::ranges::find(architectures, model.family, &known_architecture::family);
  if (known == architectures.end()) known = architectures.begin();
  json::object rope = {{"rope_theta", model.rope_theta}, {"rope_type", "default"}};
  if (model.rope.kind == rope_kind::llama3) rope = llama3_rope(model);
  json::object config = {{"architectures", json::array{known->architecture}},
                         {"attention_bias", false},
                         {"attention_dropout", 0.0},
                         {"dtype", type_name(type)},
                         {"head_dim", model.head_dim},
                         {"hidden_act", "silu"},
                         {"hidden_size", model.hidden_size},
                         {"intermediate_size", model.intermediate_size},
                         {"max_position_embeddings", model.max_positions},
                         {"model_type", known->model_type},
                         {"num_attention_heads", model.num_heads},
                         {"num_hidden_layers", model.num_layers},
                         {"num_key_value_heads", model.num_kv_heads},
                         {"rms_norm_eps", model.rms_norm_eps},
                         {"rope_parameters", rope},
                         {"rope_theta", model.rope_theta},
                         {"tie_word_embeddings", model.tied_head},
                         {"torch_dtype", type_name(type)},
                         {"use_cache", true},
                         {"use_sliding_window", false},
                         {"vocab_size", model.vocab_size}};
  if (model.rope.kind == rope_kind::llama3) {
    rope.erase("rope_theta");
    config["rope_scaling"] = rope;
  }
  if (model.experts.count != 0) {
    config["num_experts"] = model.experts.count;
    config["num_experts_per_tok"] = model.experts.per_token;
    config["moe_intermediate_size"] = model.experts.width;
    config["norm_topk_prob"] = model.experts.weights_sum_to_one;
    config["decoder_sparse_step"] = 1;
    config["mlp_only_layers"] = json::array{};
  }
  return print_json(config);
}

result<std::string> retype_hf_config(std::string_view text, dtype type, const std::string& source) {
  auto value = parse_object(text, source);
  if (!value) return fail(value.error());
  json::object& members = value->get_object();
  const bool has_old = members.contains("torch_dtype");
  if (has_old) members["torch_dtype"] = type_name(type);
  if (!has_old || members.contains("dtype")) members["dtype"] = type_name(type);
  return print_json(*value);
}

}  // namespace troupe::storage
