// Model directories: what is exported is opened again with the same values, and every kind of
// damage is refused by naming the file.

#include "storage/hf_directory.hpp"

#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include <boost/test/unit_test.hpp>

#include "storage/float_formats.hpp"
#include "tests/support/scratch_folder.hpp"

using namespace troupe;
using namespace troupe::storage;
using tests::scratch_folder;

namespace {

model_config small_model() {
  model_config model;
  model.vocab_size = 10;
  model.hidden_size = 4;
  model.intermediate_size = 8;
  model.num_layers = 1;
  model.num_heads = 2;
  model.num_kv_heads = 1;
  model.head_dim = 2;
  model.max_positions = 64;
  model.tied_head = true;
  return model;
}

std::vector<parameter_spec> small_layout() {
  return {{"model.embed_tokens.weight", {10, 4}},
          {"model.norm.weight", {4}},
          {"model.layers.0.mlp.up_proj.weight", {8, 4}}};
}

/// bf16-exact values that differ between parameters and elements.
class pattern_reader final : public tensor_reader {
 public:
  result<void> read(std::uint32_t parameter, std::uint64_t begin, std::span<float> out) override {
    for (float& value : out)
      value = float_from_bf16(static_cast<std::uint16_t>(0x3c00U + 977U * parameter + begin++));
    return {};
  }
};

class failing_reader final : public tensor_reader {
 public:
  result<void> read(std::uint32_t, std::uint64_t, std::span<float>) override {
    return fail(errc::peer_lost, "a rank went away");
  }
};

std::string write_small(const std::string& folder, dtype type, std::uint64_t file_bytes_max) {
  pattern_reader values;
  const hf_export target{folder + "/model", {}, small_model(), type, file_bytes_max};
  BOOST_REQUIRE(write_hf_directory(target, small_layout(), values));
  return target.directory;
}

void check_values(hf_directory& model) {
  pattern_reader expected_values;
  const auto layout = small_layout();
  for (std::uint32_t i = 0; i < layout.size(); ++i) {
    const std::uint64_t elements = layout[i].num_elements();
    for (std::uint64_t begin = 0; begin < elements; ++begin) {
      std::vector<float> values(elements - begin), expected(elements - begin);
      BOOST_REQUIRE(model.read(layout[i].name, begin, values));
      BOOST_REQUIRE(expected_values.read(i, begin, expected));
      BOOST_REQUIRE((values == expected));
    }
  }
}

std::string slurp(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

void spill(const std::string& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

}  // namespace

BOOST_AUTO_TEST_CASE(exports_open_with_the_same_values) {
  for (const dtype type : {dtype::f32, dtype::bf16}) {
    for (const std::uint64_t file_bytes_max : {std::uint64_t{1}, std::uint64_t{1} << 30}) {
      const scratch_folder folder;
      const std::string path = write_small(folder.path(), type, file_bytes_max);
      const auto model = open_hf_directory(path).value();
      BOOST_TEST((model->config() == small_model()));
      BOOST_TEST((model->weights_dtype() == type));
      BOOST_TEST(model->check_layout(small_layout()).has_value());
      BOOST_TEST(std::filesystem::exists(path + "/model.safetensors.index.json") ==
                 (file_bytes_max == 1));
      check_values(*model);
      const auto entries = std::filesystem::directory_iterator(folder.path());
      BOOST_TEST(std::distance(begin(entries), end(entries)) == 1);
    }
  }
}

BOOST_AUTO_TEST_CASE(an_export_never_replaces_or_half_appears) {
  const scratch_folder folder;
  std::filesystem::create_directory(folder.path() + "/model");
  pattern_reader values;
  hf_export target{folder.path() + "/model", {}, small_model(), dtype::f32, 1U << 30};
  BOOST_TEST(
      (write_hf_directory(target, small_layout(), values).error().code == errc::already_exists));
  target.directory = folder.path() + "/other";
  failing_reader failing;
  BOOST_TEST((write_hf_directory(target, small_layout(), failing).error().code == errc::peer_lost));
  const auto entries = std::filesystem::directory_iterator(folder.path());
  BOOST_TEST(std::distance(begin(entries), end(entries)) == 1);
}

BOOST_AUTO_TEST_CASE(companion_files_are_copied_and_the_type_adjusted) {
  const scratch_folder folder;
  const std::string source = write_small(folder.path(), dtype::f32, 1U << 30);
  spill(source + "/tokenizer.json", "{\"a\": \"\xc3\xa9\"}");
  spill(source + "/notes.txt", "not copied");
  pattern_reader values;
  const hf_export target{folder.path() + "/copy", source, small_model(), dtype::bf16, 1U << 30};
  BOOST_REQUIRE(write_hf_directory(target, small_layout(), values));
  BOOST_TEST(slurp(target.directory + "/tokenizer.json") == slurp(source + "/tokenizer.json"));
  BOOST_TEST(!std::filesystem::exists(target.directory + "/notes.txt"));
  BOOST_TEST((open_hf_directory(target.directory).value()->weights_dtype() == dtype::bf16));
}

BOOST_AUTO_TEST_CASE(a_layout_must_fit_exactly) {
  const scratch_folder folder;
  const auto model = open_hf_directory(write_small(folder.path(), dtype::bf16, 1U << 30)).value();
  auto missing = small_layout();
  missing.push_back({"model.layers.1.mlp.up_proj.weight", {8, 4}});
  auto extra = small_layout();
  extra.pop_back();
  auto shaped = small_layout();
  shaped[0].shape = {4, 10};
  for (const auto& layout : {missing, extra, shaped})
    BOOST_TEST((model->check_layout(layout).error().code == errc::bad_model));
  std::vector<float> values(5);
  BOOST_TEST((model->read("model.norm.weight", 0, values).error().code == errc::invalid_argument));
  BOOST_TEST((model->read("nothing", 0, values).error().code == errc::bad_model));
}

BOOST_AUTO_TEST_CASE(a_head_beside_a_tied_one_is_ignored) {
  const scratch_folder folder;
  auto layout = small_layout();
  layout.push_back({"lm_head.weight", {10, 4}});
  pattern_reader values;
  const hf_export tied{folder.path() + "/tied", {}, small_model(), dtype::f32, 1U << 30};
  BOOST_REQUIRE(write_hf_directory(tied, layout, values));
  BOOST_TEST(open_hf_directory(tied.directory).value()->check_layout(small_layout()).has_value());
  hf_export untied{folder.path() + "/untied", {}, small_model(), dtype::f32, 1U << 30};
  untied.config.tied_head = false;
  BOOST_REQUIRE(write_hf_directory(untied, layout, values));
  BOOST_TEST(
      (open_hf_directory(untied.directory).value()->check_layout(small_layout()).error().code ==
       errc::bad_model));
}

BOOST_AUTO_TEST_CASE(damaged_directories_are_refused_naming_the_file) {
  const scratch_folder folder;
  const std::string path = write_small(folder.path(), dtype::bf16, 1);
  const std::string first = path + "/model-00001-of-00003.safetensors";
  const std::string index = path + "/model.safetensors.index.json";
  BOOST_REQUIRE(open_hf_directory(path));
  std::map<std::string, std::string> good;
  for (const std::string& file : {first, index})
    good[file] = slurp(file);
  std::string renamed = good[index];
  renamed.replace(renamed.find("model-00001"), 11, "model-00002");
  std::string escaped = good[index];
  escaped.replace(escaped.find("model-00001"), 11, "../../model");
  const std::vector<std::pair<std::string, std::string>> damages = {
      {first, good[first].substr(0, good[first].size() - 1)},
      {first, good[first] + "x"},
      {first, good[first].substr(0, 4)},
      {first, ""},
      {index, renamed},
      {index, escaped},
      {index, "{}"},
      {index, "{\"weight_map\": {}}"},
      {index, good[index].substr(0, 20)}};
  for (const auto& [file, text] : damages) {
    spill(file, text);
    const auto model = open_hf_directory(path);
    BOOST_REQUIRE(!model);
    BOOST_TEST((model.error().code == errc::bad_model));
    BOOST_TEST(model.error().what.find(path) != std::string::npos);
    spill(file, good[file]);
  }
  std::filesystem::remove(first);
  BOOST_TEST((open_hf_directory(path).error().code == errc::not_found));
  BOOST_TEST((open_hf_directory(folder.path() + "/absent").error().code == errc::not_found));
}
