#include <algorithm>
#include <cstring>
#include <map>
#include <set>
#include <string_view>
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
constexpr std::string_view head_name = "lm_head.weight";
constexpr std::string_view embedding_name = "model.embed_tokens.weight";
constexpr std::uint64_t elements_per_comparison = 1U << 18;

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
    for (const auto& [tensor, place] : tensors_) {
      if (!is_ignored(tensor) && !weight_map.contains(tensor))
        return bad_model(directory_ + ": the index does not list tensor '" + tensor + "', which " +
                         file_names_[place.file] + " holds");
    }
    return {};
  }

  result<void> check_layout(const std::vector<parameter_spec>& layout) override {
    std::set<std::string> expected;
    for (const parameter_spec& parameter : layout) {
      expected.insert(parameter.name);
      if (const auto ok = check_parameter(parameter); !ok) return ok;
    }
    for (const auto& [name, place] : tensors_) {
      if (!is_ignored(name) && !expected.contains(name))
        return bad_model(directory_ + ": tensor '" + name + "' does not belong to the model");
    }
    return check_tied_head();
  }

  result<void> read(const std::string& name, std::uint64_t begin, std::span<float> out) override {
    const auto found = tensors_.find(name);
    if (found == tensors_.end()) return bad_model(directory_ + " has no tensor '" + name + "'");
    return files_[found->second.file].read(entry_of(found->second), begin, out);
  }

 private:
  /// Old Llama files hold the rotary frequencies of each block, which follow from config.json.
  [[nodiscard]] bool is_ignored(std::string_view name) const {
    return (name == head_name && config_.model.tied_head) || name.ends_with(".rotary_emb.inv_freq");
  }

  /// A head that is a copy may be left out; another one may not, as transformers computes with it.
  result<void> check_tied_head() {
    const auto head = tensors_.find(std::string(head_name));
    const auto embedding = tensors_.find(std::string(embedding_name));
    if (!config_.model.tied_head || head == tensors_.end() || embedding == tensors_.end())
      return {};
    const auto& shape = entry_of(embedding->second).shape;
    if (entry_of(head->second).shape != shape) return other_head();
    const std::uint64_t elements = parameter_spec{{}, shape}.num_elements();
    std::vector<float> of_head;
    std::vector<float> of_embedding;
    for (std::uint64_t begin = 0; begin < elements; begin += of_head.size()) {
      of_head.resize(std::min(elements_per_comparison, elements - begin));
      of_embedding.resize(of_head.size());
      if (auto got = read(head->first, begin, of_head); !got) return got;
      if (auto got = read(embedding->first, begin, of_embedding); !got) return got;
      const bool equal =
          std::memcmp(of_head.data(), of_embedding.data(), of_head.size() * sizeof(float)) == 0;
      if (!equal) return other_head();
    }
    return {};
  }

  [[nodiscard]] tl::unexpected<error> other_head() const {
    return fail(errc::bad_model,
                directory_ + ": tensor '" + std::string(head_name) + "' differs from '" +
                    std::string(embedding_name) + "', where config.json ties the two",
                "the head was trained apart from the embedding, or is left of an older model",
                "set tie_word_embeddings to false to compute with this head, as transformers "
                "does, or remove the tensor");
  }

  [[nodiscard]] const safetensors_entry& entry_of(const located_tensor& place) const {
    return files_[place.file].tensors()[place.entry];
  }

  result<void> check_parameter(const parameter_spec& parameter) const {
    const auto found = tensors_.find(parameter.name);
    if (found == tensors_.end())
      return bad_model(directory_ + " has no tensor '" + parameter.name + "'");
    const std::string place =
        directory_ + "/" + file_names_[found->second.file] + ": tensor '" + parameter.name + "'";
    const safetensors_entry& tensor = entry_of(found->second);
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
  // Where both are there, the whole file is the model, as for transformers.
  auto added = model->add_file(single_name);
  if (!added && added.error().code == errc::not_found) {
    const std::string index_path = directory + "/" + index_name;
    const auto index = posix::read_text(index_path, limits::safetensors_header_bytes_max);
    if (!index && index.error().code != errc::not_found) return fail(as_bad_model(index.error()));
    if (index) added = add_indexed_files(*model, *index, index_path);
  }
  if (!added) return fail(added.error());
  return model;
}

}  // namespace troupe::storage
