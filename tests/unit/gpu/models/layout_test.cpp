#include <limits>
#include <set>
#include <string>

#include <boost/test/unit_test.hpp>

#include "gpu/models/parameter_layout.hpp"

namespace {

using namespace troupe;

model_config odd_model() {
  model_config m;
  m.vocab_size = 37;
  m.hidden_size = 12;
  m.intermediate_size = 21;
  m.num_layers = 2;
  m.num_heads = 6;
  m.num_kv_heads = 2;
  m.head_dim = 10;
  m.max_positions = 64;
  return m;
}

errc refusal(const model_config& m) {
  const auto ok = gpu::validate(m);
  return ok ? errc::none : ok.error().code;
}

BOOST_AUTO_TEST_CASE(names_are_unique_and_counted) {
  for (const bool tied : {false, true}) {
    model_config m = odd_model();
    m.tied_head = tied;
    const auto specs = gpu::parameter_layout(m);
    BOOST_TEST(specs.size() == 1 + 2 * gpu::block_size(m) + (tied ? 1 : 2));
    std::set<std::string> names;
    std::uint64_t elements = 0;
    for (const auto& spec : specs) {
      names.insert(spec.name);
      elements += spec.num_elements();
    }
    BOOST_TEST(names.size() == specs.size());
    BOOST_TEST(elements == gpu::num_parameters(m));
  }
}

BOOST_AUTO_TEST_CASE(indices_name_what_they_say) {
  const model_config m = odd_model();
  const auto specs = gpu::parameter_layout(m);
  using gpu::role;
  BOOST_TEST(specs[gpu::embedding_index].name == "model.embed_tokens.weight");
  BOOST_TEST(specs[gpu::final_norm_index(m)].name == "model.norm.weight");
  BOOST_TEST(specs[gpu::head_index(m)].name == "lm_head.weight");
  const auto& down = specs[gpu::parameter_index(m, 1, role::down_proj).value()];
  BOOST_TEST(down.name == "model.layers.1.mlp.down_proj.weight");
  BOOST_TEST((down.shape == std::vector<std::uint64_t>{12, 21}));
  const auto& norm = specs[gpu::parameter_index(m, 0, role::post_attention_norm).value()];
  BOOST_TEST(norm.name == "model.layers.0.post_attention_layernorm.weight");
  const auto& query = specs[gpu::parameter_index(m, 0, role::q_proj).value()];
  BOOST_TEST((query.shape == std::vector<std::uint64_t>{60, 12}));
}

BOOST_AUTO_TEST_CASE(families_differ_where_they_should) {
  using gpu::role;
  model_config m = odd_model();
  const auto has = [&](role what) { return gpu::parameter_index(m, 1, what).has_value(); };
  BOOST_TEST((has(role::q_norm) && !has(role::q_bias)));
  m.family = model_family::llama;
  BOOST_TEST((!has(role::q_norm) && !has(role::q_bias)));
  m.family = model_family::qwen2;
  BOOST_TEST((!has(role::q_norm) && has(role::q_bias)));
  // One vector of biases and one matrix of projections, in the order q, k, v.
  const auto specs = gpu::parameter_layout(m);
  const std::uint32_t first = gpu::parameter_index(m, 1, role::q_proj).value();
  for (std::uint32_t i = 0; i < 3; ++i) {
    BOOST_TEST(specs[first + i].shape[0] == specs[first + 3 + i].shape[0]);
    BOOST_TEST(specs[first + 3 + i].name.ends_with("_proj.bias"));
  }
}

BOOST_AUTO_TEST_CASE(experts_stand_behind_their_block) {
  using gpu::role;
  model_config m = odd_model();
  m.family = model_family::qwen3_moe;
  BOOST_TEST((refusal(m) == errc::bad_model));
  m.experts = {4, 2, 15, true};
  BOOST_TEST((refusal(m) == errc::none));
  const auto specs = gpu::parameter_layout(m);
  const auto at = [&](std::uint32_t block, std::uint32_t expert, role what) {
    return gpu::parameter_index(m, gpu::expert_place{block, expert}, what).value();
  };
  BOOST_TEST(specs[at(1, 3, role::down_proj)].name ==
             "model.layers.1.mlp.experts.3.down_proj.weight");
  BOOST_TEST((specs[at(1, 3, role::down_proj)].shape == std::vector<std::uint64_t>{12, 15}));
  BOOST_TEST((specs[at(0, 1, role::gate_proj)].shape == std::vector<std::uint64_t>{15, 12}));
  BOOST_TEST(at(0, 1, role::gate_proj) == at(0, 0, role::down_proj) + 1);
  const auto router = gpu::parameter_index(m, 1, role::router).value();
  BOOST_TEST(specs[router].name == "model.layers.1.mlp.gate.weight");
  BOOST_TEST(!gpu::parameter_index(m, 1, role::down_proj).has_value());
  BOOST_TEST(!gpu::parameter_index(m, gpu::expert_place{0, 4}, role::up_proj).has_value());
  BOOST_TEST(specs[gpu::final_norm_index(m)].name == "model.norm.weight");

  m.experts.per_token = 5;
  BOOST_TEST((refusal(m) == errc::bad_model));
  m.experts = {2000, 2, 15, true};
  BOOST_TEST((refusal(m) == errc::unsupported));
  m = odd_model();
  m.experts = {4, 2, 15, true};
  BOOST_TEST((refusal(m) == errc::bad_model));
}

BOOST_AUTO_TEST_CASE(rope_scaling_must_fit_its_family) {
  model_config m = odd_model();
  m.rope = {rope_kind::llama3, 8, 1, 4, 32};
  BOOST_TEST((refusal(m) == errc::unsupported));
  m.family = model_family::llama;
  BOOST_TEST((refusal(m) == errc::none));
  for (const rope_scaling& bad :
       {rope_scaling{rope_kind::llama3, 0.5, 1, 4, 32},
        rope_scaling{rope_kind::llama3, 8, 4, 4, 32}, rope_scaling{rope_kind::llama3, 8, 0, 4, 32},
        rope_scaling{rope_kind::llama3, 8, 1, 4, 0}}) {
    m.rope = bad;
    BOOST_TEST((refusal(m) == errc::bad_model));
  }
}

BOOST_AUTO_TEST_CASE(contradictions_are_refused) {
  BOOST_TEST((refusal(odd_model()) == errc::none));
  model_config m = odd_model();
  m.num_kv_heads = 4;
  BOOST_TEST((refusal(m) == errc::bad_model));
  m = odd_model();
  m.head_dim = 9;
  BOOST_TEST((refusal(m) == errc::bad_model));
  m = odd_model();
  m.rms_norm_eps = std::numeric_limits<double>::quiet_NaN();
  BOOST_TEST((refusal(m) == errc::bad_model));
  m = odd_model();
  m.family = static_cast<model_family>(200);
  BOOST_TEST((refusal(m) == errc::unsupported));
  m = odd_model();
  m.rope_theta = 0;
  BOOST_TEST((refusal(m) == errc::bad_model));
}

BOOST_AUTO_TEST_CASE(every_size_has_both_bounds) {
  const std::uint32_t huge = std::numeric_limits<std::uint32_t>::max();
  for (auto field :
       {&model_config::vocab_size, &model_config::hidden_size, &model_config::intermediate_size,
        &model_config::num_layers, &model_config::num_heads, &model_config::num_kv_heads,
        &model_config::head_dim, &model_config::max_positions}) {
    model_config m = odd_model();
    m.*field = 0;
    BOOST_TEST((refusal(m) == errc::bad_model));
    m.*field = huge;
    BOOST_TEST((refusal(m) == errc::unsupported));
  }
}

}  // namespace
