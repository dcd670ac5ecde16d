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

namespace {

/// Gives the head the embedding's values, but for one element.
class head_reader final : public tensor_reader {
 public:
  head_reader(std::uint32_t head, std::uint64_t other_element)
      : head_(head), other_element_(other_element) {}

  result<void> read(std::uint32_t parameter, std::uint64_t begin, std::span<float> out) override {
    auto got = values_.read(parameter == head_ ? 0 : parameter, begin, out);
    const bool is_here = begin <= other_element_ && other_element_ - begin < out.size();
    if (parameter == head_ && is_here) out[other_element_ - begin] *= 2;
    return got;
  }

 private:
  pattern_reader values_;
  std::uint32_t head_;
  std::uint64_t other_element_;
};

}  // namespace

BOOST_AUTO_TEST_CASE(a_head_beside_a_tied_one_must_be_a_copy) {
  const scratch_folder folder;
  auto layout = small_layout();
  layout.push_back({"lm_head.weight", {10, 4}});
  const auto written = [&](const std::string& name, bool tied, std::uint64_t other_element) {
    head_reader values(3, other_element);
    hf_export target{folder.path() + "/" + name, {}, small_model(), dtype::bf16, 1};
    target.config.tied_head = tied;
    BOOST_REQUIRE(write_hf_directory(target, layout, values));
    return open_hf_directory(target.directory).value()->check_layout(small_layout());
  };
  BOOST_TEST(written("copy", true, 40).has_value());
  for (const std::uint64_t element : {0U, 17U, 39U}) {
    const auto other = written("other-" + std::to_string(element), true, element);
    BOOST_REQUIRE(!other);
    BOOST_TEST((other.error().code == errc::bad_model));
    BOOST_TEST(other.error().what.find("'lm_head.weight'") != std::string::npos);
    BOOST_TEST(other.error().action.find("tie_word_embeddings") != std::string::npos);
  }
  BOOST_TEST((written("untied", false, 40).error().code == errc::bad_model));
}

BOOST_AUTO_TEST_CASE(a_tied_head_is_compared_to_its_last_element) {
  const scratch_folder folder;
  constexpr std::uint64_t rows = 3;
  constexpr std::uint64_t width = (1U << 17) + 1;
  const std::vector<parameter_spec> layout = {{"model.embed_tokens.weight", {rows, width}}};
  auto with_head = layout;
  with_head.push_back({"lm_head.weight", {rows, width}});
  for (const bool is_copy : {true, false}) {
    head_reader values(1, is_copy ? rows * width : rows * width - 1);
    const hf_export target{
        folder.path() + (is_copy ? "/copy" : "/other"), {}, small_model(), dtype::f32, 1U << 30};
    BOOST_REQUIRE(write_hf_directory(target, with_head, values));
    const auto model = open_hf_directory(target.directory).value();
    BOOST_TEST(model->check_layout(layout).has_value() == is_copy);
  }
}

BOOST_AUTO_TEST_CASE(a_tied_head_of_another_shape_is_refused) {
  const scratch_folder folder;
  auto layout = small_layout();
  layout.push_back({"lm_head.weight", {4, 10}});
  head_reader values(3, 40);
  const hf_export target{folder.path() + "/model", {}, small_model(), dtype::f32, 1U << 30};
  BOOST_REQUIRE(write_hf_directory(target, layout, values));
  BOOST_TEST(!open_hf_directory(target.directory).value()->check_layout(small_layout()));
}

BOOST_AUTO_TEST_CASE(rotary_frequencies_of_old_files_are_ignored) {
  const scratch_folder folder;
  auto layout = small_layout();
  layout.push_back({"model.layers.0.self_attn.rotary_emb.inv_freq", {1}});
  pattern_reader values;
  const hf_export old{folder.path() + "/old", {}, small_model(), dtype::f32, 1};
  BOOST_REQUIRE(write_hf_directory(old, layout, values));
  const auto model = open_hf_directory(old.directory).value();
  BOOST_TEST(model->check_layout(small_layout()).has_value());
  check_values(*model);
  layout.back().name = "model.layers.0.self_attn.rotary_emb.inv_freq_scale";
  const hf_export other{folder.path() + "/other", {}, small_model(), dtype::f32, 1};
  BOOST_REQUIRE(write_hf_directory(other, layout, values));
  const auto refused = open_hf_directory(other.directory).value()->check_layout(small_layout());
  BOOST_REQUIRE(!refused);
  BOOST_TEST(refused.error().what.find(layout.back().name) != std::string::npos);
}

BOOST_AUTO_TEST_CASE(what_an_index_leaves_out_is_named) {
  const scratch_folder folder;
  // The norm shares a file with the embedding.
  const std::string path = write_small(folder.path(), dtype::bf16, 88);
  const std::string index = path + "/model.safetensors.index.json";
  const std::string good = slurp(index);
  const auto without = [&](const std::string& tensor) {
    const std::size_t begin = good.find("\"" + tensor);
    BOOST_REQUIRE(begin != std::string::npos);
    std::size_t end = good.find('"', good.find(": \"", begin) + 3) + 1;
    std::string text = good;
    // A list's last member has its comma in front.
    if (text[end] == ',') return text.erase(begin, end + 1 - begin);
    const std::size_t comma = text.rfind(',', begin);
    return text.erase(comma, end - comma);
  };
  spill(index, without("model.norm.weight"));
  const auto in_a_file = open_hf_directory(path);
  BOOST_REQUIRE(!in_a_file);
  BOOST_TEST(in_a_file.error().what.find("'model.norm.weight'") != std::string::npos);
  spill(index, without("model.layers.0.mlp.up_proj.weight"));
  const auto missing = open_hf_directory(path).value()->check_layout(small_layout());
  BOOST_REQUIRE(!missing);
  BOOST_TEST(missing.error().what.find("'model.layers.0.mlp.up_proj.weight'") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(a_whole_file_is_read_before_an_index) {
  const scratch_folder whole;
  const scratch_folder shards;
  const std::string path = write_small(whole.path(), dtype::bf16, 1U << 30);
  const std::string other = write_small(shards.path(), dtype::bf16, 1);
  spill(path + "/model.safetensors.index.json", slurp(other + "/model.safetensors.index.json"));
  const auto model = open_hf_directory(path);
  BOOST_REQUIRE(model.has_value());
  check_values(**model);
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
