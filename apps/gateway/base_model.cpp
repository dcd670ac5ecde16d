#include "apps/gateway/base_model.hpp"

#include <filesystem>
#include <limits>

#include "apps/support/json.hpp"
#include "apps/support/text_file.hpp"
#include "config/limits.hpp"
#include "config/log.hpp"

namespace troupe::gateway {
namespace {

result<boost::json::object> read_object(const std::string& path) {
  const auto text = apps::read_text_file(path, limits::model_config_bytes_max);
  if (!text) return fail(text.error());
  auto value = apps::parse_json(*text);
  if (!value) return fail(errc::bad_model, path + ": " + value.error().what);
  if (!value->is_object()) return fail(errc::bad_model, path + " holds no object");
  return std::move(value->get_object());
}

void add_token(const boost::json::value& value, std::vector<token_id>& out) {
  if (!value.is_int64() || value.get_int64() < 0) return;
  if (value.get_int64() > std::numeric_limits<token_id>::max()) return;
  out.push_back(static_cast<token_id>(value.get_int64()));
}

void add_end_tokens(const boost::json::object& object, std::vector<token_id>& out) {
  const auto* value = object.if_contains("eos_token_id");
  if (value == nullptr) return;
  if (!value->is_array()) return add_token(*value, out);
  for (const auto& one : value->get_array())
    add_token(one, out);
}

}  // namespace

result<base_model> open_base_model(const std::string& name, const std::string& directory) {
  const auto config = read_object(directory + "/config.json");
  if (!config) {
    return fail(errc::bad_model, "model '" + name + "': " + config.error().what,
                directory + " is no Hugging Face directory",
                "correct [models] in the cluster file");
  }
  base_model out;
  out.name = name;
  out.directory = directory;
  const auto positions = apps::integer_of(*config, "max_position_embeddings");
  if (!positions || *positions < 1 ||
      static_cast<std::uint64_t>(*positions) > limits::model_positions_max) {
    return fail(errc::bad_model, "model '" + name + "' has no max_position_embeddings");
  }
  out.max_positions = static_cast<std::uint32_t>(*positions);
  const auto* tied = config->if_contains("tie_word_embeddings");
  out.has_tied_head = tied != nullptr && tied->is_bool() && tied->get_bool();
  const auto generation = read_object(directory + "/generation_config.json");
  if (generation) add_end_tokens(*generation, out.end_tokens);
  if (out.end_tokens.empty()) add_end_tokens(*config, out.end_tokens);
  std::error_code problem;
  out.has_tokenizer = std::filesystem::exists(directory + "/tokenizer_config.json", problem) ||
                      std::filesystem::exists(directory + "/tokenizer.json", problem);
  if (auto texts = token_texts::read(directory)) {
    out.texts = std::make_shared<const token_texts>(std::move(*texts));
  } else if (texts.error().code != errc::not_found) {
    config::log(config::log_level::failure, to_string(texts.error()));
  }
  return out;
}

result<base_models> base_models::open(const std::map<std::string, std::string>& named) {
  base_models out;
  for (const auto& [name, directory] : named) {
    auto model = open_base_model(name, directory);
    if (!model) return fail(model.error());
    out.models_.emplace(name, std::move(*model));
  }
  return out;
}

result<const base_model*> base_models::find(const std::string& name) const {
  if (const auto known = models_.find(name); known != models_.end()) return &known->second;
  std::string served;
  for (const auto& [other, model] : models_)
    served += (served.empty() ? "" : ", ") + other;
  return fail(errc::not_found, "there is no base model '" + name.substr(0, 200) + "' here",
              served.empty() ? "the cluster file has no [models]" : "served are: " + served,
              "add it to [models] of the cluster file and restart");
}

const base_model* base_models::of_directory(const std::string& directory) const {
  for (const auto& [name, model] : models_) {
    if (model.directory == directory) return &model;
  }
  return nullptr;
}

}  // namespace troupe::gateway
