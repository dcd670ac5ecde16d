#include "apps/gateway/weights_book.hpp"

#include <algorithm>
#include <filesystem>

#include "apps/gateway/names.hpp"
#include "apps/support/text_file.hpp"
#include "config/limits.hpp"
#include "messages/tinker/json_fields.hpp"

namespace troupe::gateway {
namespace {

boost::json::object object_of(const saved_weights& entry) {
  boost::json::array recipients(entry.recipients.begin(), entry.recipients.end());
  return {{"path", to_string(entry.path)},
          {"checkpoint", entry.checkpoint.value},
          {"bytes", entry.bytes},
          {"created_unix_ms", entry.created_unix_ms},
          {"expires_unix_ms", entry.expires_unix_ms},
          {"is_public", entry.readers == visibility::everybody},
          {"user_metadata", entry.user_metadata},
          {"made_by", entry.made_by},
          {"recipients", std::move(recipients)}};
}

std::optional<saved_weights> entry_of(const boost::json::value& value) {
  if (!value.is_object()) return std::nullopt;
  tinker::json_fields in(value.get_object());
  saved_weights out;
  auto path = tinker::parse_checkpoint_path(in.text("path"));
  out.checkpoint.value = in.text("checkpoint");
  out.bytes = in.integer("bytes");
  out.created_unix_ms = in.integer("created_unix_ms");
  out.expires_unix_ms = in.integer("expires_unix_ms");
  out.made_by = in.optional_text("made_by").value_or(std::string());
  if (in.truth("is_public").value_or(false)) out.readers = visibility::everybody;
  if (const auto* metadata = in.find("user_metadata"); metadata && metadata->is_object()) {
    out.user_metadata = metadata->get_object();
  }
  if (const auto* list = in.find("recipients"); list && list->is_array()) {
    for (const auto& one : list->get_array())
      if (one.is_string()) out.recipients.emplace_back(one.get_string().c_str());
  }
  if (in.failure() || !path) return std::nullopt;
  out.path = std::move(*path);
  return out;
}

tl::unexpected<error> unknown(const tinker::checkpoint_path& path) {
  return fail(errc::not_found, "there are no weights " + to_string(path),
              "the path is mistyped, was deleted, has expired, or belongs to another key",
              "use a path that save_state or save_weights_for_sampler answered");
}

}  // namespace

weights_book::weights_book(std::string folder) : folder_(std::move(folder)) {
  std::error_code problem;
  std::filesystem::create_directories(folder_, problem);
  for (const auto& file : std::filesystem::directory_iterator(folder_, problem)) {
    if (file.path().extension() == ".json") load(file.path().string());
  }
}

void weights_book::load(const std::string& path) {
  const auto text = apps::read_text_file(path, limits::weights_file_bytes_max);
  const auto object = text ? tinker::parse_object(*text) : fail(text.error());
  const auto* list = object ? object->if_contains("weights") : nullptr;
  if (list == nullptr || !list->is_array()) return;
  for (const auto& value : list->get_array()) {
    if (auto entry = entry_of(value)) {
      models_[entry->path.model_id][id_of(entry->path)] = std::move(*entry);
    }
  }
}

result<void> weights_book::write(const std::string& model_id) const {
  const auto run = run_of(model_id);
  if (!run) return fail(errc::not_found, "'" + model_id.substr(0, 200) + "' is no model");
  boost::json::array list;
  for (const auto& [id, entry] : models_.at(model_id))
    list.push_back(object_of(entry));
  return apps::replace_text_file(
      folder_ + "/" + run->value + ".json",
      boost::json::serialize(boost::json::object{{"weights", std::move(list)}}) + "\n");
}

result<void> weights_book::put(saved_weights entry) {
  const std::string model_id = entry.path.model_id;
  models_[model_id][id_of(entry.path)] = std::move(entry);
  return write(model_id);
}

const saved_weights* weights_book::find(const tinker::checkpoint_path& path) const {
  const auto model = models_.find(path.model_id);
  if (model == models_.end()) return nullptr;
  const auto entry = model->second.find(id_of(path));
  return entry == model->second.end() ? nullptr : &entry->second;
}

result<saved_weights> weights_book::readable(const std::string& key_id,
                                             const tinker::checkpoint_path& path) const {
  const saved_weights* entry = find(path);
  if (entry == nullptr) return unknown(path);
  const bool may_read = entry->readers == visibility::everybody || owns(key_id, path.model_id);
  if (!may_read) return unknown(path);
  return *entry;
}

result<checkpoint_id> weights_book::remove(const tinker::checkpoint_path& path) {
  const saved_weights* entry = find(path);
  if (entry == nullptr) return unknown(path);
  checkpoint_id out = entry->checkpoint;
  models_[path.model_id].erase(id_of(path));
  if (const auto ok = write(path.model_id); !ok) return fail(ok.error());
  for (const auto& [model, own_names] : models_) {
    const bool is_used = std::any_of(own_names.begin(), own_names.end(), [&](const auto& other) {
      return other.second.checkpoint == out;
    });
    if (is_used) return checkpoint_id{};
  }
  return out;
}

std::vector<saved_weights> weights_book::of_model(const std::string& model_id) const {
  std::vector<saved_weights> out;
  if (const auto model = models_.find(model_id); model != models_.end()) {
    for (const auto& [id, entry] : model->second)
      out.push_back(entry);
  }
  std::stable_sort(out.begin(), out.end(), [](const auto& one, const auto& other) {
    return one.created_unix_ms < other.created_unix_ms;
  });
  return out;
}

std::vector<saved_weights> weights_book::of_key(const std::string& key_id) const {
  std::vector<saved_weights> out;
  for (auto it = models_.lower_bound(key_id); it != models_.end(); ++it) {
    if (!it->first.starts_with(key_id)) break;
    if (!owns(key_id, it->first)) continue;
    for (const auto& [id, entry] : it->second)
      out.push_back(entry);
  }
  std::stable_sort(out.begin(), out.end(), [](const auto& one, const auto& other) {
    return one.created_unix_ms > other.created_unix_ms;
  });
  return out;
}

std::vector<tinker::checkpoint_path> weights_book::expired(std::uint64_t now_unix_ms) const {
  std::vector<tinker::checkpoint_path> out;
  for (const auto& [model, own_names] : models_) {
    for (const auto& [id, entry] : own_names) {
      const bool is_over = entry.expires_unix_ms != 0 && entry.expires_unix_ms <= now_unix_ms;
      if (is_over) out.push_back(entry.path);
    }
  }
  return out;
}

}  // namespace troupe::gateway
