#include <map>
#include <set>
#include <utility>

#include <boost/json.hpp>

#include "config/limits.hpp"
#include "storage/hf_config.hpp"
#include "storage/hf_directory.hpp"
#include "storage/json_text.hpp"
#include "storage/posix/posix_file.hpp"
#include "storage/posix/tensor_file.hpp"

namespace troupe::storage {

namespace {

using posix::tensor_file;

constexpr const char* index_name = "model.safetensors.index.json";
constexpr const char* single_name = "model.safetensors";
constexpr const char* tied_head_name = "lm_head.weight";

tl::unexpected<error> bad_model(const std::string& what) {
  return fail(errc::bad_model, what, "the directory is incomplete or mixes two models",
              "fetch the model again from its origin");
}

std::string print_shape(const std::vector<std::uint64_t>& shape) {
  std::string text = "[";
  for (const std::uint64_t extent : shape)
    text += (text.size() > 1 ? ", " : "") + std::to_string(extent);
  return text + "]";
}

struct located_tensor {
  std::size_t file = 0;
  std::size_t entry = 0;
};

class posix_hf_directory final : public hf_directory {
 public:
  posix_hf_directory(std::string directory, const hf_config& config)
      : directory_(std::move(directory)), config_(config) {}

  const model_config& config() const override { return config_.model; }
  dtype weights_dtype() const override { return config_.weights; }

  /// Opens one file and takes up its tensors.
  result<void> add_file(const std::string& name) {
    auto file = tensor_file::open(directory_ + "/" + name);
    if (!file) return fail(file.error());
    for (std::size_t entry = 0; entry < file->tensors().size(); ++entry) {
      const std::string& tensor = file->tensors()[entry].name;
      if (!tensors_.try_emplace(tensor, located_tensor{files_.size(), entry}).second)
        return bad_model(directory_ + ": two files hold tensor '" + tensor + "'");
    }
    files_.push_back(std::move(*file));
    file_names_.push_back(name);
    return {};
  }

  /// The index must tell of every tensor where it is.
  result<void> check_index(const std::map<std::string, std::string>& weight_map) const {
    for (const auto& [tensor, file] : weight_map) {
      const auto found = tensors_.find(tensor);
      if (found == tensors_.end() || file_names_[found->second.file] != file)
        return bad_model(directory_ + ": the index places tensor '" + tensor + "' in " + file +
                         ", which does not hold it");
    }
    if (weight_map.size() != tensors_.size())
      return bad_model(directory_ + ": the files hold tensors that the index does not list");
    return {};
  }

  result<void> check_layout(const std::vector<parameter_spec>& layout) const override {
    std::set<std::string> expected;
    for (const parameter_spec& parameter : layout) {
      expected.insert(parameter.name);
      if (const auto ok = check_parameter(parameter); !ok) return ok;
    }
    for (const auto& [name, place] : tensors_) {
      const bool ignored = name == tied_head_name && config_.model.tied_head;
      if (!ignored && !expected.contains(name))
        return bad_model(directory_ + ": tensor '" + name + "' does not belong to the model");
    }
    return {};
  }

  result<void> read(const std::string& name, std::uint64_t begin, std::span<float> out) override {
    const auto found = tensors_.find(name);
    if (found == tensors_.end()) return bad_model(directory_ + " has no tensor '" + name + "'");
    tensor_file& file = files_[found->second.file];
    return file.read(file.tensors()[found->second.entry], begin, out);
  }

 private:
  result<void> check_parameter(const parameter_spec& parameter) const {
    const auto found = tensors_.find(parameter.name);
    if (found == tensors_.end())
      return bad_model(directory_ + " has no tensor '" + parameter.name + "'");
    const std::string place =
        directory_ + "/" + file_names_[found->second.file] + ": tensor '" + parameter.name + "'";
    const safetensors_entry& tensor = files_[found->second.file].tensors()[found->second.entry];
    if (tensor.shape != parameter.shape)
      return bad_model(place + " has shape " + print_shape(tensor.shape) +
                       " where config.json implies " + print_shape(parameter.shape));
    if (tensor.type != "F32" && tensor.type != "BF16" && tensor.type != "F16")
      return fail(errc::unsupported, place + " has type " + tensor.type,
                  "weights are read from F32, BF16 and F16", "convert the model to BF16");
    return {};
  }

  std::string directory_;
  hf_config config_;
  std::vector<tensor_file> files_;
  std::vector<std::string> file_names_;
  std::map<std::string, located_tensor> tensors_;
};

bool is_plain_file_name(std::string_view name) {
  return !name.empty() && name.size() <= limits::name_bytes_max && name != "." && name != ".." &&
         name.find('/') == std::string_view::npos && name.find('\0') == std::string_view::npos;
}

result<std::map<std::string, std::string>> parse_index(std::string_view text,
                                                       const std::string& source) {
  const auto root = parse_json(text, source);
  if (!root) return fail(as_bad_model(root.error()));
  const auto* object = root->if_object();
  const auto* value = object ? object->if_contains("weight_map") : nullptr;
  const auto* entries = value ? value->if_object() : nullptr;
  if (entries == nullptr || entries->empty() || entries->size() > limits::safetensors_tensors_max)
    return bad_model(source + " has no usable weight_map");
  std::map<std::string, std::string> weight_map;
  for (const auto& entry : *entries) {
    const auto* file = entry.value().if_string();
    if (file == nullptr || !is_plain_file_name({file->data(), file->size()}))
      return bad_model(source + ": tensor '" + std::string(entry.key()) +
                       "' is not placed in a file of this directory");
    weight_map.emplace(entry.key(), std::string(*file));
  }
  return weight_map;
}

result<void> add_indexed_files(posix_hf_directory& model, const std::string& text,
                               const std::string& source) {
  const auto weight_map = parse_index(text, source);
  if (!weight_map) return fail(weight_map.error());
  std::set<std::string> names;
  for (const auto& [tensor, file] : *weight_map)
    names.insert(file);
  if (names.size() > limits::checkpoint_files_max)
    return bad_model(source + " lists " + std::to_string(names.size()) + " files");
  for (const std::string& name : names) {
    if (const auto added = model.add_file(name); !added) return added;
  }
  return model.check_index(*weight_map);
}

}  // namespace

result<std::unique_ptr<hf_directory>> open_hf_directory(const std::string& directory) {
  const std::string config_path = directory + "/config.json";
  const auto config_text = posix::read_text(config_path, limits::model_config_bytes_max);
  if (!config_text) return fail(as_bad_model(config_text.error()));
  const auto config = parse_hf_config(*config_text, config_path);
  if (!config) return fail(config.error());
  auto model = std::make_unique<posix_hf_directory>(directory, *config);
  const std::string index_path = directory + "/" + index_name;
  const auto index = posix::read_text(index_path, limits::safetensors_header_bytes_max);
  if (!index && index.error().code != errc::not_found) return fail(as_bad_model(index.error()));
  const auto added =
      index ? add_indexed_files(*model, *index, index_path) : model->add_file(single_name);
  if (!added) return fail(added.error());
  return model;
}

}  // namespace troupe::storage
