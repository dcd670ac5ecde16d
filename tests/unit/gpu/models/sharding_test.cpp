#include "gpu/models/sharding.hpp"

#include <vector>

#include <boost/test/unit_test.hpp>

#include "gpu/models/adapters.hpp"
#include "gpu/models/parameter_layout.hpp"

namespace {

using namespace troupe;

model_config tiny_model(bool tied) {
  model_config m;
  m.vocab_size = 11;
  m.hidden_size = 6;
  m.intermediate_size = 7;
  m.num_layers = 3;
  m.num_heads = 2;
  m.num_kv_heads = 1;
  m.head_dim = 4;
  m.max_positions = 16;
  m.tied_head = tied;
  return m;
}

/// How often each element of each parameter is owned, over all ranks.
std::vector<std::vector<int>> count_owners(const model_config& m, gpu::rank_layout ranks) {
  std::vector<std::vector<int>> owners;
  for (const auto& spec : gpu::parameter_layout(m))
    owners.emplace_back(spec.num_elements(), 0);
  const auto plan = gpu::make_sharding_plan(m, ranks);
  for (std::uint32_t rank = 0; rank < ranks.num_shards * ranks.num_copies; ++rank)
    for (const auto& owned : gpu::owned_slices(plan, rank))
      for (std::uint64_t e = owned.slice.begin; e < owned.slice.end; ++e)
        ++owners.at(owned.slice.parameter).at(e);
  return owners;
}

BOOST_AUTO_TEST_CASE(every_element_has_one_owner) {
  for (const bool tied : {false, true}) {
    const model_config m = tiny_model(tied);
    for (std::uint32_t world_size = 1; world_size <= 64; ++world_size) {
      std::size_t wrong = 0;
      for (const auto& parameter : count_owners(m, {world_size, 1}))
        for (const int owners : parameter)
          wrong += owners == 1 ? 0U : 1U;
      BOOST_TEST(wrong == 0U, "world_size " << world_size);
    }
  }
}

BOOST_AUTO_TEST_CASE(slices_lie_where_the_buffer_has_them) {
  const model_config m = tiny_model(false);
  for (std::uint32_t world_size = 1; world_size <= 9; ++world_size) {
    const auto plan = gpu::make_sharding_plan(m, {world_size, 1});
    for (std::uint32_t rank = 0; rank < world_size; ++rank)
      for (const auto& owned : gpu::owned_slices(plan, rank)) {
        const auto& group = plan.groups[owned.group];
        const std::uint64_t in_buffer = rank * group.shard_elements + owned.shard_offset;
        BOOST_TEST(in_buffer == group.offset_of(owned.slice.parameter) + owned.slice.begin);
        BOOST_TEST(owned.shard_offset + owned.slice.num_elements() <= group.shard_elements);
      }
  }
}

BOOST_AUTO_TEST_CASE(copies_divide_what_they_hold) {
  const model_config m = tiny_model(true);
  for (const gpu::rank_layout ranks :
       {gpu::rank_layout{1, 3}, {2, 2}, {3, 5}, {4, 1}, {16, 4}, {1, 64}}) {
    std::size_t wrong = 0;
    for (const auto& parameter : count_owners(m, ranks))
      for (const int owners : parameter)
        wrong += owners == 1 ? 0U : 1U;
    BOOST_TEST(wrong == 0U, ranks.num_copies << " copies in " << ranks.num_shards << " shards");
    const auto plan = gpu::make_sharding_plan(m, ranks);
    for (std::uint32_t rank = 0; rank < ranks.num_shards; ++rank) {
      std::uint64_t owned = 0;
      std::uint64_t held = 0;
      for (const auto& each : gpu::held_slices(plan, rank))
        held += each.slice.num_elements();
      for (std::uint32_t copy = 0; copy < ranks.num_copies; ++copy)
        for (const auto& each : gpu::owned_slices(plan, copy * ranks.num_shards + rank))
          owned += each.slice.num_elements();
      BOOST_TEST(held == owned);
    }
  }
}

BOOST_AUTO_TEST_CASE(groups_follow_the_blocks) {
  const model_config m = tiny_model(false);
  const auto plan = gpu::make_sharding_plan(m, {3, 1});
  BOOST_TEST(plan.groups.size() == 4U);
  BOOST_TEST(plan.groups[0].members.size() == 3U);
  BOOST_TEST(plan.groups[0].num_elements == 11U * 6 + 6 + 11 * 6);
  for (std::size_t g = 1; g < plan.groups.size(); ++g)
    BOOST_TEST(plan.groups[g].members.size() == 11U);
  for (const auto& group : plan.groups) {
    BOOST_TEST(group.shard_elements * 3 >= group.num_elements);
    BOOST_TEST(group.shard_elements * 3 < group.num_elements + 3);
  }
}

BOOST_AUTO_TEST_CASE(every_element_of_an_adapter_has_one_owner) {
  const model_config m = tiny_model(false);
  const auto first = static_cast<std::uint32_t>(gpu::parameter_layout(m).size());
  for (const lora_config& lora :
       {lora_config{.rank = 2}, lora_config{.rank = 3, .train_attn = false},
        lora_config{.rank = 1, .train_mlp = false, .train_unembed = false}}) {
    const auto layout = gpu::adapter_layout(m, lora);
    for (const std::uint32_t world_size : {1U, 2U, 5U, 64U}) {
      std::vector<std::vector<int>> owners;
      for (const auto& spec : layout)
        owners.emplace_back(spec.num_elements(), 0);
      const auto plan = gpu::make_adapter_plan(m, lora, {world_size, 1});
      for (std::uint32_t rank = 0; rank < world_size; ++rank)
        for (const auto& owned : gpu::owned_slices(plan, rank))
          for (std::uint64_t e = owned.slice.begin; e < owned.slice.end; ++e)
            ++owners.at(owned.slice.parameter - first).at(e);
      std::size_t wrong = 0;
      for (const auto& parameter : owners)
        for (const int count : parameter)
          wrong += count == 1 ? 0U : 1U;
      BOOST_TEST(wrong == 0U, "world_size " << world_size);
    }
  }
}

BOOST_AUTO_TEST_CASE(adapters_are_named_as_peft_names_them) {
  const model_config m = tiny_model(false);
  const auto layout = gpu::adapter_layout(m, {.rank = 2});
  BOOST_TEST(layout.size() == 2 * (7 * m.num_layers + 1));
  BOOST_TEST(layout[0].name == "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight");
  BOOST_TEST((layout[0].shape == std::vector<std::uint64_t>{2, 6}));
  BOOST_TEST((layout[1].shape == std::vector<std::uint64_t>{8, 2}));
  BOOST_TEST(layout.back().name == "base_model.model.lm_head.lora_B.weight");
}

}  // namespace
