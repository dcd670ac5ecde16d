#include "storage/hf_config.hpp"

#include <algorithm>
#include <vector>

#include <boost/test/unit_test.hpp>

using namespace troupe;
using namespace troupe::storage;

namespace {

/// As transformers 5.x writes it, with `extra` members in front.
std::string config_text(const std::string& extra = {},
                        const std::string& rope = R"("rope_parameters": {"rope_theta": 5000.0,
                        "rope_type": "default"},)") {
  return "{" + extra + rope + R"(
    "architectures": ["Qwen3ForCausalLM"], "attention_bias": false, "attention_dropout": 0.0,
    "bos_token_id": null, "dtype": "bfloat16", "head_dim": 16, "hidden_act": "silu",
    "hidden_size": 32, "intermediate_size": 64,
    "layer_types": ["full_attention", "full_attention"], "max_position_embeddings": 4096,
    "model_type": "qwen3", "num_attention_heads": 4,
    "num_hidden_layers": 2, "num_key_value_heads": 2, "rms_norm_eps": 1e-05,
    "sliding_window": null, "tie_word_embeddings": true, "use_sliding_window": false,
    "vocab_size": 128})";
}

std::string replaced(std::string text, const std::string& from, const std::string& to) {
  const auto at = text.find(from);
  BOOST_REQUIRE(at != std::string::npos);
  return text.replace(at, from.size(), to);
}

model_config expected_model() {
  model_config model;
  model.vocab_size = 128;
  model.hidden_size = 32;
  model.intermediate_size = 64;
  model.num_layers = 2;
  model.num_heads = 4;
  model.num_kv_heads = 2;
  model.head_dim = 16;
  model.max_positions = 4096;
  model.rope_theta = 5000;
  model.rms_norm_eps = 1e-5;
  model.tied_head = true;
  return model;
}

}  // namespace

BOOST_AUTO_TEST_CASE(both_generations_of_files_are_read) {
  const auto newer = parse_hf_config(config_text(), "c").value();
  BOOST_TEST((newer.model == expected_model()));
  BOOST_TEST((newer.weights == dtype::bf16));
  const std::string older_text =
      replaced(config_text({}, R"("rope_theta": 5000, "rope_scaling": null,)"),
               R"("dtype": "bfloat16")", R"("torch_dtype": "float16")");
  const auto older = parse_hf_config(older_text, "c").value();
  BOOST_TEST((older.model == expected_model()));
  BOOST_TEST((older.weights == dtype::f32));
}

BOOST_AUTO_TEST_CASE(other_computations_are_refused_by_name) {
  struct refused {
    std::string from;
    std::string to;
    std::string name;
  };
  const std::vector<refused> cases = {
      {R"("use_sliding_window": false)", R"("use_sliding_window": true)", "use_sliding_window"},
      {R"("attention_bias": false)", R"("attention_bias": true)", "attention_bias"},
      {R"("attention_dropout": 0.0)", R"("attention_dropout": 0.1)", "attention_dropout"},
      {R"("rope_type": "default")", R"("rope_type": "yarn", "factor": 4.0)", "yarn"},
      {R"("rope_type": "default")", R"("type": "linear")", "linear"},
      {R"("hidden_act": "silu")", R"("hidden_act": "gelu")", "gelu"},
      {R"("bos_token_id": null)", R"("quantization_config": {"bits": 4})", "quantization_config"},
      {R"("full_attention")", R"("sliding_attention")", "sliding_attention"},
      {R"("rope_theta": 5000.0)", R"("full_attention": {"rope_theta": 5000.0})", "full_attention"},
      {R"("rope_theta": 5000.0)", R"("rope_theta": 5000.0, "\u0000": {})", "by layer type"},
      {R"("dtype": "bfloat16")", R"("dtype": "int8")", "int8"},
      {R"("rope_type": "default")", R"("rope_type": "llama3", "factor": 8.0)", "llama3"},
      {R"("bos_token_id": null)", R"("mlp_bias": true)", "mlp_bias"},
      {"Qwen3ForCausalLM", "MistralForCausalLM", "MistralForCausalLM"}};
  for (const refused& bad : cases) {
    const auto config = parse_hf_config(replaced(config_text(), bad.from, bad.to), "c.json");
    BOOST_TEST_CONTEXT(bad.name) {
      BOOST_REQUIRE(!config);
      BOOST_TEST((config.error().code == errc::unsupported));
      BOOST_TEST(config.error().what.find(bad.name) != std::string::npos);
      BOOST_TEST(config.error().what.find("c.json") != std::string::npos);
    }
  }
}

BOOST_AUTO_TEST_CASE(impossible_numbers_are_bad_models) {
  const std::vector<std::pair<std::string, std::string>> cases = {
      {R"("hidden_size": 32)", R"("hidden_size": 0)"},
      {R"("hidden_size": 32)", R"("hidden_size": -1)"},
      {R"("hidden_size": 32)", R"("hidden_size": 32.5)"},
      {R"("hidden_size": 32)", R"("hidden_size": "32")"},
      {R"("hidden_size": 32)", R"("hidden_size": 4294967328)"},
      {R"("hidden_size": 32,)", ""},
      {R"("num_key_value_heads": 2)", R"("num_key_value_heads": 3)"},
      {R"("head_dim": 16)", R"("head_dim": 15)"},
      {R"("rms_norm_eps": 1e-05)", R"("rms_norm_eps": 0)"},
      {R"("rope_theta": 5000.0)", R"("rope_theta": -1)"},
      {R"("rope_theta": 5000.0,)", ""},
      {R"("rope_theta": 5000.0)", R"("rope_theta": "5000")"},
      {R"("rope_theta": 5000.0)", R"("rope_theta": [5000])"},
      {R"("rope_theta": 5000.0)", R"("rope_theta": 1e999)"},
      {R"({"rope_theta": 5000.0,
                        "rope_type": "default"})",
       "[5000]"},
      {R"("tie_word_embeddings": true)", R"("tie_word_embeddings": 1)"},
      {R"("vocab_size": 128)", R"("vocab_size": 128, "vocab_size": 256)"},
      {R"("vocab_size": 128})", R"("vocab_size": 128)"}};
  for (const auto& [from, to] : cases) {
    const auto config = parse_hf_config(replaced(config_text(), from, to), "c.json");
    BOOST_TEST_CONTEXT(to) {
      BOOST_REQUIRE(!config);
      BOOST_TEST((config.error().code == errc::bad_model));
    }
  }
  BOOST_TEST((parse_hf_config("[]", "c").error().code == errc::bad_model));
}

namespace {

/// The failure of a text that differs from config_text() in one place.
error refusal(const std::string& text) {
  const auto config = parse_hf_config(text, "c.json");
  BOOST_REQUIRE(!config);
  return config.error();
}

bool names(const error& failure, const std::vector<std::string>& words) {
  return std::ranges::all_of(
      words, [&](const std::string& word) { return failure.what.find(word) != std::string::npos; });
}

}  // namespace

BOOST_AUTO_TEST_CASE(an_architecture_of_another_model_type_is_refused) {
  for (const char* type : {"mistral", "llama", "qwen3_moe", ""}) {
    const auto failure = refusal(replaced(config_text(), R"("model_type": "qwen3")",
                                          R"("model_type": ")" + std::string(type) + "\""));
    BOOST_TEST((failure.code == errc::bad_model));
    BOOST_TEST(names(failure, {"c.json", "Qwen3ForCausalLM", "'" + std::string(type) + "'"}));
  }
  refusal(replaced(config_text(), R"("model_type": "qwen3")", R"("model_type": 3)"));
  BOOST_TEST(
      parse_hf_config(replaced(config_text(), R"("model_type": "qwen3",)", ""), "c").has_value());
}

BOOST_AUTO_TEST_CASE(two_places_of_the_rope_must_agree) {
  const std::string scaling = R"({"rope_type": "default", "rope_theta": 5000})";
  const std::string parameters = R"("rope_parameters": {"rope_theta": 5000.0},)";
  const std::vector<std::string> agreeing_ropes = {
      R"("rope_theta": 5e3,)" + parameters, R"("rope_scaling": )" + scaling + "," + parameters,
      R"("rope_theta": 5000, "rope_scaling": {"type": "default"},)" + parameters,
      R"("rope_theta": 5000, "rope_scaling": {}, "rope_parameters": {},)",
      R"("rope_scaling": {},)" + parameters};
  for (const std::string& agreeing : agreeing_ropes) {
    BOOST_TEST_CONTEXT(agreeing)
    BOOST_TEST((parse_hf_config(config_text({}, agreeing), "c").value().model == expected_model()));
  }
  struct contradiction {
    std::string rope;
    std::vector<std::string> places;
  };
  const std::vector<contradiction> cases = {
      {R"("rope_theta": 5001,)" + parameters, {"rope_theta", "rope_parameters"}},
      {R"("rope_theta": 5000.000000000001,)" + parameters, {"rope_theta", "rope_parameters"}},
      {R"("rope_theta": 5e-324, "rope_scaling": )" + scaling + ",", {"rope_theta", "rope_scaling"}},
      {R"("rope_scaling": {"rope_theta": 7},)" + parameters, {"rope_scaling", "rope_parameters"}},
      // Without a theta, transformers computes the older place with 10000.
      {R"("rope_scaling": {"type": "default"},)" + parameters,
       {"rope_scaling", "rope_parameters"}}};
  for (const contradiction& bad : cases) {
    const auto failure = refusal(config_text({}, bad.rope));
    BOOST_TEST_CONTEXT(bad.rope) {
      BOOST_TEST((failure.code == errc::bad_model));
      BOOST_TEST(names(failure, bad.places));
    }
  }
}

BOOST_AUTO_TEST_CASE(key_value_heads_may_be_null_where_transformers_takes_it) {
  const std::string null_heads =
      replaced(config_text(), R"("num_key_value_heads": 2)", R"("num_key_value_heads": null)");
  struct family {
    const char* type;
    const char* architecture;
  };
  for (const auto& [type, architecture] : {family{"qwen3", "Qwen3ForCausalLM"},
                                           {"qwen2", "Qwen2ForCausalLM"},
                                           {"llama", "LlamaForCausalLM"}}) {
    const std::string text = replaced(replaced(null_heads, "Qwen3ForCausalLM", architecture),
                                      R"("qwen3")", "\"" + std::string(type) + "\"");
    BOOST_TEST(parse_hf_config(text, "c").value().model.num_kv_heads == 4U);
  }
  const auto failure = refusal(
      replaced(replaced(null_heads, "Qwen3For", "Qwen3MoeFor"), R"("qwen3")", R"("qwen3_moe")"));
  BOOST_TEST((failure.code == errc::bad_model));
  BOOST_TEST(names(failure, {"num_key_value_heads is null", "Qwen3MoeForCausalLM"}));
  const std::string no_heads = replaced(config_text(), R"("num_key_value_heads": 2,)", "");
  BOOST_TEST(names(refusal(no_heads), {"num_attention_heads is no multiple"}));
}

BOOST_AUTO_TEST_CASE(layer_types_name_every_layer) {
  const std::string two = R"(["full_attention", "full_attention"])";
  for (const char* other : {"[]", R"(["full_attention"])",
                            R"(["full_attention", "full_attention", "full_attention"])"}) {
    const auto failure = refusal(replaced(config_text(), two, other));
    BOOST_TEST((failure.code == errc::bad_model));
    BOOST_TEST(names(failure, {"layer_types", "num_hidden_layers is 2"}));
  }
  const auto no_list = refusal(replaced(config_text(), two, R"({"0": "full_attention"})"));
  BOOST_TEST(names(no_list, {"layer_types is no list"}));
  BOOST_TEST(parse_hf_config(replaced(config_text(), two, "null"), "c").has_value());
}

BOOST_AUTO_TEST_CASE(what_is_written_is_read_back) {
  for (const dtype type : {dtype::f32, dtype::bf16}) {
    const auto config = parse_hf_config(write_hf_config(expected_model(), type), "c").value();
    BOOST_TEST((config.model == expected_model()));
    BOOST_TEST((config.weights == type));
  }
}

namespace {

constexpr const char* llama_text = R"({
  "architectures": ["LlamaForCausalLM"], "model_type": "llama", "attention_bias": false,
  "hidden_act": "silu", "hidden_size": 64, "intermediate_size": 96, "mlp_bias": false,
  "max_position_embeddings": 131072, "num_attention_heads": 4, "num_hidden_layers": 2,
  "num_key_value_heads": 2, "rms_norm_eps": 1e-05, "rope_theta": 500000.0,
  "rope_scaling": {"factor": 32.0, "high_freq_factor": 4.0, "low_freq_factor": 1.0,
                   "original_max_position_embeddings": 8192, "rope_type": "llama3"},
  "pretraining_tp": 1, "tie_word_embeddings": true, "torch_dtype": "bfloat16",
  "vocab_size": 128})";

}  // namespace

BOOST_AUTO_TEST_CASE(llama_configs_are_read) {
  const auto config = parse_hf_config(llama_text, "c").value();
  BOOST_TEST((config.model.family == model_family::llama));
  BOOST_TEST(config.model.head_dim == 16U);
  BOOST_TEST(config.model.rope_theta == 500000.0);
  BOOST_TEST((config.model.rope == rope_scaling{rope_kind::llama3, 32, 1, 4, 8192}));
  const auto newer = parse_hf_config(
      replaced(replaced(llama_text, R"("rope_theta": 500000.0,)", ""), R"("rope_scaling": {)",
               R"("rope_parameters": {"rope_theta": 500000.0, )"),
      "c");
  BOOST_TEST((newer.value().model == config.model));
  const std::string scaling =
      R"({"rope_type": "llama3", "factor": 32, "low_freq_factor": 1, "high_freq_factor": 4,
          "original_max_position_embeddings": 8192)";
  const std::string twice =
      replaced(llama_text, R"("pretraining_tp": 1)", R"("rope_parameters": )" + scaling + "}");
  BOOST_TEST((parse_hf_config(twice, "c").value().model == config.model));
  for (const std::string& other :
       {replaced(twice, R"("factor": 32,)", R"("factor": 8,)"),
        replaced(twice, R"("rope_type": "llama3", "factor")", R"("rope_type": "default", "f")")}) {
    const auto broken = parse_hf_config(other, "c");
    BOOST_REQUIRE(!broken);
    BOOST_TEST(broken.error().what.find("rope_scaling and rope_parameters") != std::string::npos);
  }
  for (const char* member : {"factor", "high_freq_factor", "original_max_position_embeddings"}) {
    const std::string name = std::string("\"") + member + "\"";
    const auto broken = parse_hf_config(replaced(llama_text, name, "\"x\""), "c");
    BOOST_REQUIRE(!broken);
    BOOST_TEST((broken.error().code == errc::bad_model));
    BOOST_TEST(broken.error().what.find(member) != std::string::npos);
  }
}

BOOST_AUTO_TEST_CASE(every_family_is_written_and_read_back) {
  model_config model = expected_model();
  for (const model_family family :
       {model_family::qwen3, model_family::llama, model_family::qwen2}) {
    model.family = family;
    BOOST_TEST((parse_hf_config(write_hf_config(model, dtype::f32), "c").value().model == model));
  }
  model.family = model_family::llama;
  model.rope = {rope_kind::llama3, 8, 1, 4, 4096};
  BOOST_TEST((parse_hf_config(write_hf_config(model, dtype::f32), "c").value().model == model));
}

BOOST_AUTO_TEST_CASE(experts_are_read_as_both_transformers_versions_write_them) {
  model_config model = expected_model();
  model.family = model_family::qwen3_moe;
  model.experts = {6, 2, 24, true};
  const std::string old_names = write_hf_config(model, dtype::f32);
  BOOST_TEST((parse_hf_config(old_names, "c").value().model == model));
  const std::string new_names = replaced(old_names, "\"num_experts\"", "\"num_local_experts\"");
  BOOST_TEST((parse_hf_config(new_names, "c").value().model == model));

  const auto code_of = [](const std::string& text) {
    const auto config = parse_hf_config(text, "c");
    return config ? errc::none : config.error().code;
  };
  const std::string sparse =
      replaced(old_names, "\"decoder_sparse_step\": 1", "\"decoder_sparse_step\": 2");
  BOOST_TEST((code_of(sparse) == errc::unsupported));
  const std::string dense =
      replaced(old_names, "\"mlp_only_layers\": []", "\"mlp_only_layers\": [0]");
  BOOST_TEST((code_of(dense) == errc::unsupported));
  const std::string many =
      replaced(old_names, "\"num_experts_per_tok\": 2", "\"num_experts_per_tok\": 7");
  BOOST_TEST((code_of(many) == errc::bad_model));
}

BOOST_AUTO_TEST_CASE(missing_members_have_the_defaults_of_their_family) {
  std::string text = replaced(config_text(), R"("head_dim": 16,)", "");
  BOOST_TEST(parse_hf_config(text, "c").value().model.head_dim == 128U);
  text = replaced(text, "Qwen3ForCausalLM", "Qwen2ForCausalLM");
  text = replaced(text, R"("model_type": "qwen3")", R"("model_type": "qwen2")");
  const auto qwen2 = parse_hf_config(text, "c").value().model;
  BOOST_TEST((qwen2.family == model_family::qwen2));
  BOOST_TEST(qwen2.head_dim == 8U);
  text = replaced(text, R"("architectures": ["Qwen2ForCausalLM"],)", "");
  text = replaced(text, R"("model_type": "qwen2")", R"("model_type": "llama")");
  BOOST_TEST((parse_hf_config(text, "c").value().model.family == model_family::llama));
}

BOOST_AUTO_TEST_CASE(retyping_keeps_everything_else) {
  const std::string text = config_text(R"("an_unknown_member": [1, {"deep": 1.5}],)");
  const auto retyped = retype_hf_config(text, dtype::f32, "c").value();
  const auto config = parse_hf_config(retyped, "c").value();
  BOOST_TEST((config.model == expected_model()));
  BOOST_TEST((config.weights == dtype::f32));
  BOOST_TEST(retyped.find("an_unknown_member") != std::string::npos);
  BOOST_TEST(retyped.find("torch_dtype") == std::string::npos);
}
