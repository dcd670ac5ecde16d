#include <limits>
#include <set>
#include <string>

#include <boost/test/unit_test.hpp>

#include "gpu/models/parameter_layout.hpp"
#include "gpu/models/qwen3.hpp"

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
    BOOST_TEST(specs.size() == 1 + 2 * gpu::qwen3::block_size + (tied ? 1 : 2));
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
  using gpu::qwen3::place;
  BOOST_TEST(specs[gpu::qwen3::embedding].name == "model.embed_tokens.weight");
  BOOST_TEST(specs[gpu::qwen3::final_norm(m)].name == "model.norm.weight");
  BOOST_TEST(specs[gpu::qwen3::head(m)].name == "lm_head.weight");
  const auto& down = specs[gpu::qwen3::parameter_index(1, place::down_proj)];
  BOOST_TEST(down.name == "model.layers.1.mlp.down_proj.weight");
  BOOST_TEST((down.shape == std::vector<std::uint64_t>{12, 21}));
  const auto& norm = specs[gpu::qwen3::parameter_index(0, place::post_attention_norm)];
  BOOST_TEST(norm.name == "model.layers.0.post_attention_layernorm.weight");
  const auto& query = specs[gpu::qwen3::parameter_index(0, place::q_proj)];
  BOOST_TEST((query.shape == std::vector<std::uint64_t>{60, 12}));
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
