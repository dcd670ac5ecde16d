#include <algorithm>
#include <array>
#include <cstdio>
#include <utility>

#include <boost/json.hpp>

#include "config/limits.hpp"
#include "storage/float_formats.hpp"
#include "storage/hf_config.hpp"
#include "storage/hf_directory.hpp"
#include "storage/json_print.hpp"
#include "storage/posix/folder_draft.hpp"
#include "storage/posix/posix_file.hpp"
#include "storage/safetensors_header.hpp"

namespace troupe::storage {

namespace {

namespace json = boost::json;
using posix::folder_draft;

constexpr std::size_t elements_per_write = 512 * 1024;

/// What makes a directory usable beside its weights, where the source has it.
constexpr std::array<const char*, 7> companion_files = {
    "tokenizer.json", "tokenizer_config.json",   "generation_config.json", "vocab.json",
    "merges.txt",     "special_tokens_map.json", "chat_template.jinja"};

/// Parameters [first, last) of the layout in one file.
struct weight_file {
  std::string name;
  std::size_t first = 0;
  std::size_t last = 0;
};

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

class weights_writer {
 public:
  weights_writer(folder_draft& draft, const std::vector<parameter_spec>& layout, dtype type,
                 tensor_reader& tensors)
      : draft_(draft),
        layout_(layout),
        type_(type),
        tensors_(tensors),
        values_(elements_per_write) {
    if (type == dtype::bf16) bits_.resize(elements_per_write);
  }

  result<void> write(const weight_file& planned) {
    const auto header = write_safetensors_header(entries_of(planned), {{"format", "pt"}});
    if (!header) return fail(header.error());
    const auto file = draft_.create_file(planned.name);
    if (!file) return fail(file.error());
    const std::string path = draft_.path_of(planned.name);
    auto written = posix::write_all(*file, std::as_bytes(std::span(*header)), path);
    if (!written) return written;
    for (std::size_t i = planned.first; i < planned.last; ++i) {
      written = write_parameter(*file, static_cast<std::uint32_t>(i), path);
      if (!written) return written;
    }
    return posix::sync_data(*file, path);
  }

 private:
  std::vector<safetensors_entry> entries_of(const weight_file& planned) const {
    std::vector<safetensors_entry> entries;
    std::uint64_t position = 0;
    for (std::size_t i = planned.first; i < planned.last; ++i) {
      const std::uint64_t end = position + layout_[i].num_elements() * bytes_per_element(type_);
      const char* type = type_ == dtype::f32 ? "F32" : "BF16";
      entries.push_back({layout_[i].name, type, layout_[i].shape, position, end});
      position = end;
    }
    return entries;
  }

  result<void> write_parameter(const posix::file_descriptor& file, std::uint32_t parameter,
                               const std::string& path) {
    const std::uint64_t elements = layout_[parameter].num_elements();
    for (std::uint64_t begin = 0; begin < elements;) {
      const auto count =
          static_cast<std::size_t>(std::min<std::uint64_t>(elements_per_write, elements - begin));
      const std::span<float> values(values_.data(), count);
      if (auto read = tensors_.read(parameter, begin, values); !read) return read;
      auto written = posix::write_all(file, converted(values), path);
      if (!written) return written;
      begin += count;
    }
    return {};
  }

  std::span<const std::byte> converted(std::span<const float> values) {
    if (type_ == dtype::f32) return std::as_bytes(values);
    std::transform(values.begin(), values.end(), bits_.begin(), bf16_from_float);
    return std::as_bytes(std::span(bits_).first(values.size()));
  }

  folder_draft& draft_;
  const std::vector<parameter_spec>& layout_;
  dtype type_;
  tensor_reader& tensors_;
  std::vector<float> values_;
  std::vector<std::uint16_t> bits_;
};

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
  weights_writer writer(*draft, layout, target.type, tensors);
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
