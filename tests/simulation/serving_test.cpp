// A deployment under kills: every request is answered, versions only grow, and a replaced replica
// serves the version that was live.

#include <boost/test/unit_test.hpp>

#include "tests/simulation/served_run.hpp"
#include "tests/support/message_types.hpp"

namespace troupe {
namespace {

using tests::sim_cluster;

sample_request ask_for(std::uint32_t num_tokens) {
  sample_request request;
  request.deployment = deployment_id{"d"};
  request.prompt = {1, 2, 3};
  request.params.max_tokens = num_tokens;
  request.num_samples = 3;
  return request;
}

struct served : tests::served_run {
  explicit served(std::uint64_t seed) : served_run(seed, 2, 1) {}

  checkpoint_id next_weights() { return served_run::next_weights("w"); }

  result<std::tuple<sync_reply>> sync(const checkpoint_id& checkpoint) {
    return cluster.ask<sync_reply>(deployment, sync_request{deployment_id{"d"}, checkpoint});
  }
};

}  // namespace

BOOST_AUTO_TEST_CASE(deltas_go_live_one_after_another) {
  served s(1);
  BOOST_REQUIRE(s.cluster.ask<sample_reply>(s.deployment, ask_for(2)).has_value());
  for (std::uint64_t version = 1; version <= 5; ++version) {
    const auto synced = s.sync(s.next_weights());
    BOOST_REQUIRE(synced.has_value());
    BOOST_TEST(std::get<0>(*synced).version == version);
    BOOST_TEST(std::get<0>(*synced).was_delta == (version > 1));
    const auto sampled = s.cluster.ask<sample_reply>(s.deployment, ask_for(2));
    BOOST_REQUIRE(sampled.has_value());
    BOOST_TEST(std::get<0>(*sampled).sequences[0].last_version == version);
  }
}

BOOST_AUTO_TEST_CASE(an_unknown_checkpoint_leaves_the_old_version_serving) {
  served s(2);
  BOOST_REQUIRE(s.sync(s.next_weights()).has_value());
  BOOST_TEST((s.sync(checkpoint_id{std::string(64, 'a')}).error().code == errc::not_found));
  const auto sampled = s.cluster.ask<sample_reply>(s.deployment, ask_for(1));
  BOOST_REQUIRE(sampled.has_value());
  BOOST_TEST(std::get<0>(*sampled).sequences[0].last_version == 1U);
}

BOOST_AUTO_TEST_CASE(kills_lose_no_request_and_no_version) {
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    BOOST_TEST_CONTEXT("seed " << seed) {
      served s(seed);
      std::uint64_t version = 0;
      for (int round = 0; round < 6; ++round) {
        if (s.sync(s.next_weights()).has_value()) ++version;
        auto asked = s.cluster.begin<sample_reply>(s.deployment, ask_for(6));
        s.cluster.run(s.cluster.random()() % 40);
        if (s.cluster.random()() % 2 == 0) {
          s.cluster.kill_node(node_role::sampler);
          s.cluster.add_node(node_role::sampler);
        }
        while (!asked->done)
          s.cluster.settle_a_little();
        BOOST_REQUIRE(asked->outcome.has_value());
        const auto& sequences = std::get<0>(*asked->outcome).sequences;
        BOOST_TEST(sequences.size() == 3U);
        for (const auto& sequence : sequences) {
          BOOST_TEST(sequence.tokens.size() == 6U);
          BOOST_TEST(sequence.last_version == version);
        }
      }
      BOOST_TEST(version > 0U);
    }
  }
}

BOOST_AUTO_TEST_CASE(a_restarted_control_node_serves_the_live_version) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    BOOST_TEST_CONTEXT("seed " << seed) {
      served s(seed);
      BOOST_REQUIRE(s.sync(s.next_weights()).has_value());
      BOOST_REQUIRE(s.sync(s.next_weights()).has_value());
      s.cluster.restart_control();
      result<std::tuple<deployment_info, actors::deployment_actor>> found =
          fail(errc::not_found, "not asked");
      for (int attempt = 0; attempt < 100 && !found; ++attempt) {
        found = s.cluster.ask<deployment_info, actors::deployment_actor>(
            s.cluster.manager(), deployment_status_request{deployment_id{"d"}});
      }
      BOOST_REQUIRE(found.has_value());
      const auto sampled = s.cluster.ask<sample_reply>(std::get<1>(*found), ask_for(2));
      BOOST_REQUIRE(sampled.has_value());
      BOOST_TEST(std::get<0>(*sampled).sequences[0].last_version == 2U);
    }
  }
}

BOOST_AUTO_TEST_CASE(a_removed_deployment_gives_its_node_back) {
  served s(3);
  BOOST_REQUIRE(s.cluster.ask<sample_reply>(s.deployment, ask_for(1)).has_value());
  BOOST_REQUIRE(
      s.cluster.ask<done>(s.cluster.manager(), remove_deployment_request{deployment_id{"d"}})
          .has_value());
  const auto status = s.cluster.ask<cluster_status>(s.cluster.manager(), cluster_status_request{});
  BOOST_REQUIRE(status.has_value());
  for (const node_status& node : std::get<0>(*status).nodes) {
    if (node.role == node_role::sampler) BOOST_TEST(node.hosting.empty());
  }
}

}  // namespace troupe
