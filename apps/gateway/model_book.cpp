#include "apps/gateway/model_book.hpp"

#include <algorithm>
#include <filesystem>

#include "apps/gateway/names.hpp"
#include "apps/support/json.hpp"
#include "apps/support/text_file.hpp"
#include "config/limits.hpp"
#include "config/log.hpp"
#include "messages/tinker/json_fields.hpp"

namespace troupe::gateway {
namespace {

result<void> write_record(const std::string& path, const model_record& record) {
  const boost::json::object out{{"model_id", record.model_id},
                                {"base_model", record.base_model},
                                {"directory", record.directory},
                                {"is_lora", record.is_lora},
                                {"has_adapters", record.has_adapters},
                                {"seed", record.lora.seed},
                                {"rank", record.lora.rank},
                                {"train_unembed", record.lora.train_unembed},
                                {"train_mlp", record.lora.train_mlp},
                                {"train_attn", record.lora.train_attn},
                                {"user_metadata", record.user_metadata},
                                {"created_unix_ms", record.created_unix_ms},
                                {"is_copy", record.is_copy}};
  return apps::replace_text_file(path, boost::json::serialize(out) + "\n");
}

result<model_record> read_record(const std::string& path) {
  const auto text = apps::read_text_file(path, limits::config_file_bytes_max);
  if (!text) return fail(text.error());
  const auto object = tinker::parse_object(*text);
  if (!object) return fail(object.error());
  tinker::json_fields in(*object);
  model_record out;
  out.model_id = in.text("model_id");
  out.run = run_of(out.model_id).value_or(run_id{});
  out.base_model = in.text("base_model");
  out.directory = in.text("directory");
  out.is_lora = in.truth("is_lora").value_or(false);
  out.has_adapters = in.truth("has_adapters").value_or(false);
  out.lora.seed = in.optional_integer("seed").value_or(0);
  out.lora.rank = static_cast<std::uint32_t>(in.integer("rank"));
  out.lora.train_unembed = in.truth("train_unembed").value_or(true);
  out.lora.train_mlp = in.truth("train_mlp").value_or(true);
  out.lora.train_attn = in.truth("train_attn").value_or(true);
  out.created_unix_ms = in.optional_integer("created_unix_ms").value_or(0);
  out.is_copy = in.truth("is_copy").value_or(false);
  if (const auto* metadata = in.find("user_metadata"); metadata && metadata->is_object()) {
    out.user_metadata = metadata->get_object();
  }
  if (in.failure() || out.run.empty()) {
    return fail(errc::corrupt, path + " is damaged", "it was edited", "restore it from a backup");
  }
  return out;
}

}  // namespace

std::optional<troupe::lora_config> model_record::adapters() const {
  if (!has_adapters) return std::nullopt;
  troupe::lora_config out;
  out.rank = lora.rank;
  out.seed = lora.seed;
  out.train_attn = lora.train_attn;
  out.train_mlp = lora.train_mlp;
  out.train_unembed = lora.train_unembed;
  return out;
}

model_book::model_book(std::string folder) : folder_(std::move(folder)) {
  std::error_code problem;
  std::filesystem::create_directories(folder_, problem);
  for (const auto& file : std::filesystem::directory_iterator(folder_, problem)) {
    if (file.path().extension() != ".json") continue;
    if (auto record = read_record(file.path().string())) {
      records_[record->model_id] = std::move(*record);
    } else {
      config::log(config::log_level::failure, to_string(record.error()));
    }
  }
}

result<void> model_book::add(model_record record) {
  auto ok = write_record(folder_ + "/" + record.run.value + ".json", record);
  if (ok) records_[record.model_id] = std::move(record);
  return ok;
}

result<model_record> model_book::find(const std::string& model_id) const {
  const auto known = records_.find(model_id);
  if (known != records_.end()) return known->second;
  return fail(errc::not_found, "there is no model '" + model_id.substr(0, 200) + "'",
              "it was never made here, or its data folder was replaced", "make a training client");
}

std::vector<model_record> model_book::of_prefix(const std::string& prefix) const {
  std::vector<model_record> out;
  for (auto it = records_.lower_bound(prefix); it != records_.end(); ++it) {
    if (!it->first.starts_with(prefix)) break;
    out.push_back(it->second);
  }
  std::stable_sort(out.begin(), out.end(), [](const auto& one, const auto& other) {
    return one.created_unix_ms > other.created_unix_ms;
  });
  return out;
}

}  // namespace troupe::gateway
