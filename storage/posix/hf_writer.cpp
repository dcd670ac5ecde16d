#include <algorithm>
#include <array>
#include <cstdio>

#include <boost/json.hpp>

#include "config/limits.hpp"
#include "storage/hf_config.hpp"
#include "storage/hf_directory.hpp"
#include "storage/json_print.hpp"
#include "storage/posix/folder_draft.hpp"
#include "storage/posix/posix_file.hpp"
#include "storage/posix/weights_writer.hpp"

namespace troupe::storage {

namespace {

namespace json = boost::json;
using posix::folder_draft;
using posix::weight_file;

/// What makes a directory usable beside its weights, where the source has it.
constexpr std::array<const char*, 7> companion_files = {
    "tokenizer.json", "tokenizer_config.json",   "generation_config.json", "vocab.json",
    "merges.txt",     "special_tokens_map.json", "chat_template.jinja"};

std::string file_name(std::size_t number, std::size_t count) {
  if (count == 1) return "model.safetensors";
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), "model-%05zu-of-%05zu.safetensors", number, count);
  return text.data();
}

std::vector<weight_file> plan_files(const std::vector<parameter_spec>& layout, dtype type,
                                    std::uint64_t file_bytes_max) {
  std::vector<weight_file> files(1);
  std::uint64_t bytes = 0;
  for (std::size_t i = 0; i < layout.size(); ++i) {
    const std::uint64_t next = layout[i].num_elements() * bytes_per_element(type);
    if (i > files.back().first && bytes + next > file_bytes_max) {
      files.push_back({{}, i, i});
      bytes = 0;
    }
    bytes += next;
    files.back().last = i + 1;
  }
  for (std::size_t i = 0; i < files.size(); ++i)
    files[i].name = file_name(i + 1, files.size());
  return files;
}

std::string index_of(const std::vector<weight_file>& files,
                     const std::vector<parameter_spec>& layout, dtype type) {
  json::object weight_map;
  std::uint64_t total = 0;
  for (const weight_file& file : files) {
    for (std::size_t i = file.first; i < file.last; ++i) {
      weight_map[layout[i].name] = file.name;
      total += layout[i].num_elements() * bytes_per_element(type);
    }
  }
  return print_json({{"metadata", {{"total_size", total}}}, {"weight_map", weight_map}});
}

result<void> copy_companions(folder_draft& draft, const std::string& source) {
  for (const char* name : companion_files) {
    const auto text = posix::read_text(source + "/" + name, limits::model_companion_file_bytes_max);
    if (!text && text.error().code == errc::not_found) continue;
    if (!text) return fail(text.error());
    if (auto written = draft.write_file(name, *text); !written) return written;
  }
  return {};
}

result<std::string> config_text(const hf_export& target) {
  if (target.copy_files_from.empty()) return write_hf_config(target.config, target.type);
  const std::string path = target.copy_files_from + "/config.json";
  const auto text = posix::read_text(path, limits::model_config_bytes_max);
  if (!text) return fail(text.error());
  return retype_hf_config(*text, target.type, path);
}

}  // namespace

result<void> write_hf_directory(const hf_export& target, const std::vector<parameter_spec>& layout,
                                tensor_reader& tensors) {
  auto draft = folder_draft::create(target.directory);
  if (!draft) return fail(draft.error());
  const auto config = config_text(target);
  if (!config) return fail(config.error());
  if (auto written = draft->write_file("config.json", *config); !written) return written;
  if (!target.copy_files_from.empty()) {
    if (auto copied = copy_companions(*draft, target.copy_files_from); !copied) return copied;
  }
  const auto files = plan_files(layout, target.type, target.file_bytes_max);
  posix::weights_writer writer(*draft, layout, target.type, tensors);
  for (const weight_file& file : files) {
    if (auto written = writer.write(file); !written) return written;
  }
  if (files.size() > 1) {
    const std::string index = index_of(files, layout, target.type);
    if (auto written = draft->write_file("model.safetensors.index.json", index); !written)
      return written;
  }
  return draft->publish();
}

}  // namespace troupe::storage
