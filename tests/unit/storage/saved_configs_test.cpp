// config.json as save_pretrained() of two generations of transformers wrote it: both read to the
// model they were made of. tests/goldens/hf_configs/make_configs.py has its numbers.

#include <fstream>
#include <ostream>
#include <sstream>

#include <boost/test/data/test_case.hpp>
#include <boost/test/unit_test.hpp>

#include "storage/hf_config.hpp"

using namespace troupe;

namespace {

struct saved_model {
  const char* name;
  model_config model;
};
std::ostream& operator<<(std::ostream& out, const saved_model& saved) {
  return out << saved.name;
}

model_config common_numbers() {
  model_config model;
  model.vocab_size = 120;
  model.hidden_size = 32;
  model.intermediate_size = 48;
  model.num_layers = 2;
  model.num_heads = 4;
  model.rms_norm_eps = 1e-5;
  return model;
}

std::vector<saved_model> saved_models() {
  model_config llama = common_numbers();
  llama.family = model_family::llama;
  llama.num_kv_heads = 2;
  llama.head_dim = 16;
  llama.max_positions = 131072;
  llama.rope_theta = 500000;
  llama.rope = {rope_kind::llama3, 32, 1, 4, 8192};
  llama.tied_head = true;
  model_config qwen2 = common_numbers();
  qwen2.family = model_family::qwen2;
  qwen2.num_kv_heads = 4;
  qwen2.head_dim = 8;
  qwen2.max_positions = 4096;
  qwen2.tied_head = true;
  model_config qwen3 = common_numbers();
  qwen3.num_kv_heads = 2;
  qwen3.head_dim = 24;
  qwen3.max_positions = 40960;
  model_config experts = common_numbers();
  experts.family = model_family::qwen3_moe;
  experts.num_kv_heads = 1;
  experts.head_dim = 16;
  experts.max_positions = 2048;
  experts.rope_theta = 20000;
  experts.experts = {6, 2, 20, true};
  return {{"llama", llama}, {"qwen2", qwen2}, {"qwen3", qwen3}, {"qwen3_moe", experts}};
}

std::string read_saved(const std::string& name) {
  const std::string path = TROUPE_SOURCE "/tests/goldens/hf_configs/" + name + ".json";
  std::ifstream file(path);
  BOOST_REQUIRE_MESSAGE(file.is_open(), "no " << path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

const auto saved = boost::unit_test::data::make(saved_models());
const auto versions = boost::unit_test::data::make({"4.57.3", "5.23.0"});

}  // namespace

BOOST_DATA_TEST_CASE(what_transformers_saves_is_read, saved* versions, of, version) {
  const std::string name = std::string(of.name) + "-" + version;
  const auto config = storage::parse_hf_config(read_saved(name), name);
  BOOST_REQUIRE(config.has_value());
  BOOST_TEST((config->model == of.model));
  BOOST_TEST((config->weights == dtype::bf16));
}
