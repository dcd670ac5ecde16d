#include "apps/gateway/model_record.hpp"

#include <filesystem>

#include "apps/support/json.hpp"
#include "apps/support/text_file.hpp"
#include "config/limits.hpp"
#include "messages/tinker/json_fields.hpp"

namespace troupe::gateway {
namespace {

std::string folder_of(const std::string& data_folder) {
  return data_folder + "/gateway";
}

std::string path_of(const std::string& data_folder, const run_id& run) {
  return folder_of(data_folder) + "/" + run.value + ".json";
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

result<void> write_record(const std::string& data_folder, const model_record& record) {
  std::error_code problem;
  std::filesystem::create_directories(folder_of(data_folder), problem);
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
                                {"user_metadata", record.user_metadata}};
  return apps::replace_text_file(path_of(data_folder, record.run),
                                 boost::json::serialize(out) + "\n");
}

result<model_record> read_record(const std::string& data_folder, const run_id& run) {
  const std::string path = path_of(data_folder, run);
  const auto text = apps::read_text_file(path, limits::config_file_bytes_max);
  if (!text) {
    return fail(errc::not_found, "there is no model " + run.value,
                "it was never made here, or its data folder was replaced",
                "make a training client");
  }
  const auto object = tinker::parse_object(*text);
  if (!object) return fail(object.error());
  tinker::json_fields in(*object);
  model_record out;
  out.run = run;
  out.model_id = in.text("model_id");
  out.base_model = in.text("base_model");
  out.directory = in.text("directory");
  out.is_lora = in.truth("is_lora").value_or(false);
  out.has_adapters = in.truth("has_adapters").value_or(false);
  out.lora.seed = in.optional_integer("seed").value_or(0);
  out.lora.rank = static_cast<std::uint32_t>(in.integer("rank"));
  out.lora.train_unembed = in.truth("train_unembed").value_or(true);
  out.lora.train_mlp = in.truth("train_mlp").value_or(true);
  out.lora.train_attn = in.truth("train_attn").value_or(true);
  if (const auto* metadata = in.find("user_metadata"); metadata && metadata->is_object()) {
    out.user_metadata = metadata->get_object();
  }
  if (in.failure()) {
    return fail(errc::corrupt, path + " is damaged: " + in.failure()->what, "it was edited",
                "restore it from a backup");
  }
  return out;
}

std::vector<model_record> read_records(const std::string& data_folder, const std::string& prefix) {
  std::vector<model_record> out;
  std::error_code problem;
  for (const auto& file : std::filesystem::directory_iterator(folder_of(data_folder), problem)) {
    const run_id run{file.path().stem().string()};
    if (!run.value.starts_with(prefix) || file.path().extension() != ".json") continue;
    if (auto record = read_record(data_folder, run)) out.push_back(std::move(*record));
  }
  return out;
}

}  // namespace troupe::gateway
