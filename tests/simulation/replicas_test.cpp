// A deployment of several replicas: routing, scaling, syncs that reach all of them, kills, versions
// that a request may insist on, and what becomes of sequences when new weights go live.

#include <algorithm>
#include <limits>

#include <boost/test/unit_test.hpp>

#include "tests/simulation/served_run.hpp"
#include "tests/support/message_types.hpp"

namespace troupe {
namespace {

using tests::sim_cluster;

sample_request ask_for(std::uint32_t num_tokens, token_id kind = 1) {
  sample_request request;
  request.deployment = deployment_id{"d"};
  request.prompt = {kind, 2, 3};
  request.params.max_tokens = num_tokens;
  return request;
}

struct served : tests::served_run {
  using served_run::served_run;

  result<sync_reply> sync(in_flight_policy policy = in_flight_policy::keep_cache) {
    auto reply = cluster.ask<sync_reply>(deployment,
                                         sync_request{deployment_id{"d"}, next_weights(), policy});
    if (!reply) return fail(reply.error());
    return std::get<0>(*reply);
  }

  deployment_info info() {
    auto reply = cluster.ask<deployment_info>(deployment, deployment_status_request{{"d"}});
    BOOST_REQUIRE(reply.has_value());
    return std::get<0>(*reply);
  }

  void wait_for_replicas(std::uint32_t wanted) {
    for (int i = 0; i < 2000 && info().replicas != wanted; ++i)
      cluster.settle_a_little();
    BOOST_REQUIRE(info().replicas == wanted);
  }

  errc refusal(const sample_request& request) {
    auto reply = cluster.ask<sample_reply>(deployment, request);
    return reply ? errc::none : reply.error().code;
  }
};

}  // namespace

BOOST_AUTO_TEST_CASE(requests_spread_and_syncs_reach_every_replica) {
  served s(1, 3, 3);
  s.wait_for_replicas(3);
  std::vector<std::shared_ptr<sim_cluster::pending_answer<sample_reply>>> asked;
  for (token_id kind = 101; kind <= 130; ++kind)
    asked.push_back(s.cluster.begin<sample_reply>(s.deployment, ask_for(4, kind)));
  for (const auto& one : asked) {
    while (!one->done)
      s.cluster.settle_a_little();
    BOOST_REQUIRE(one->outcome.has_value());
  }
  for (const replica_info& place : s.info().places)
    BOOST_TEST(place.answered_requests == 10U);
  for (std::uint64_t version = 1; version <= 4; ++version) {
    const auto synced = s.sync();
    BOOST_REQUIRE(synced.has_value());
    BOOST_TEST(synced->replicas == 3U);
    for (const replica_info& place : s.info().places)
      BOOST_TEST(place.version == version);
  }
}

BOOST_AUTO_TEST_CASE(a_conversation_goes_back_to_its_replica) {
  served s(2, 3, 3);
  s.wait_for_replicas(3);
  for (int turn = 0; turn < 9; ++turn)
    BOOST_TEST((s.refusal(ask_for(2, 7)) == errc::none));
  const auto places = s.info().places;
  BOOST_TEST(std::ranges::count_if(places, [](const replica_info& place) {
               return place.answered_requests == 9;
             }) == 1);
}

BOOST_AUTO_TEST_CASE(scaling_opens_and_drains) {
  served s(3, 4, 1);
  BOOST_REQUIRE(s.sync().has_value());
  const auto scale = [&](std::uint32_t replicas) {
    return s.cluster
        .ask<deployment_info>(s.cluster.manager(), scale_deployment_request{{"d"}, replicas})
        .has_value();
  };
  BOOST_REQUIRE(scale(4));
  s.wait_for_replicas(4);
  for (const replica_info& place : s.info().places)
    BOOST_TEST(place.version == 1U);
  std::vector<std::shared_ptr<sim_cluster::pending_answer<sample_reply>>> asked;
  for (token_id kind = 101; kind <= 116; ++kind)
    asked.push_back(s.cluster.begin<sample_reply>(s.deployment, ask_for(20, kind)));
  s.cluster.run(60);
  BOOST_REQUIRE(scale(1));
  for (const auto& one : asked) {
    while (!one->done)
      s.cluster.settle_a_little();
    BOOST_REQUIRE(one->outcome.has_value());
  }
  BOOST_TEST(s.info().places.size() == 1U);
  const auto status = s.cluster.ask<cluster_status>(s.cluster.manager(), cluster_status_request{});
  const auto& nodes = std::get<0>(*status).nodes;
  BOOST_TEST(std::ranges::count_if(nodes, [](const node_status& node) {
               return node.role == node_role::sampler && !node.hosting.empty();
             }) == 1);
}

BOOST_AUTO_TEST_CASE(a_request_may_insist_on_versions) {
  served s(4, 2, 2);
  s.wait_for_replicas(2);
  auto exactly = ask_for(2);
  exactly.max_version = 0;
  BOOST_TEST((s.refusal(exactly) == errc::none));
  BOOST_REQUIRE(s.sync().has_value());
  BOOST_TEST((s.refusal(exactly) == errc::not_found));
  exactly.min_version = exactly.max_version = 1;
  BOOST_TEST((s.refusal(exactly) == errc::none));
  exactly.min_version = exactly.max_version = 2;
  BOOST_TEST((s.refusal(exactly) == errc::busy));
}

/// Starts a long request and syncs while it is decoded.
result<sample_reply> sample_across_a_sync(served& s, in_flight_policy policy,
                                          std::uint64_t max_version) {
  const auto checkpoint = s.next_weights();
  auto request = ask_for(200);
  request.max_version = max_version;
  auto asked = s.cluster.begin<sample_reply>(s.deployment, request);
  s.cluster.run(100);
  BOOST_REQUIRE(!asked->done);
  auto synced = s.cluster.begin<sync_reply>(s.deployment,
                                            sync_request{deployment_id{"d"}, checkpoint, policy});
  while (!asked->done || !synced->done)
    s.cluster.settle_a_little();
  BOOST_REQUIRE(synced->outcome.has_value());
  if (!asked->outcome) return fail(asked->outcome.error());
  return std::get<0>(*asked->outcome);
}

BOOST_AUTO_TEST_CASE(sequences_in_flight_follow_the_policy) {
  constexpr auto any = std::numeric_limits<std::uint64_t>::max();
  for (const auto policy : {in_flight_policy::keep_cache, in_flight_policy::recompute_cache}) {
    served s(5, 1, 1);
    s.wait_for_replicas(1);
    const auto reply = sample_across_a_sync(s, policy, any);
    BOOST_REQUIRE(reply.has_value());
    const sampled_sequence& sequence = reply->sequences[0];
    BOOST_REQUIRE(sequence.versions.size() == 2U);
    BOOST_TEST(sequence.versions[0].version == 0U);
    BOOST_TEST(sequence.versions[1].version == 1U);
    BOOST_TEST(sequence.versions[1].first_token > 0U);
    BOOST_TEST(sequence.tokens.size() == 200U);
    BOOST_TEST((sample_across_a_sync(s, policy, 1).error().code == errc::aborted));
  }
  served s(6, 1, 1);
  s.wait_for_replicas(1);
  const auto reply = sample_across_a_sync(s, in_flight_policy::finish_old, 0);
  BOOST_REQUIRE(reply.has_value());
  BOOST_TEST(reply->sequences[0].versions.size() == 1U);
  BOOST_TEST(reply->sequences[0].last_version == 0U);
  BOOST_TEST(s.info().version == 1U);
}

BOOST_AUTO_TEST_CASE(kills_lose_no_request_and_replacements_catch_up) {
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    BOOST_TEST_CONTEXT("seed " << seed) {
      served s(seed, 4, 3);
      std::uint64_t version = 0;
      for (int round = 0; round < 5; ++round) {
        std::vector<std::shared_ptr<sim_cluster::pending_answer<sample_reply>>> asked;
        for (token_id kind = 1; kind <= 6; ++kind)
          asked.push_back(s.cluster.begin<sample_reply>(s.deployment, ask_for(6, kind)));
        s.cluster.run(s.cluster.random()() % 60);
        const auto checkpoint = s.next_weights();
        auto synced =
            s.cluster.begin<sync_reply>(s.deployment, sync_request{deployment_id{"d"}, checkpoint});
        s.cluster.run(s.cluster.random()() % 40);
        s.cluster.kill_node(node_role::sampler);
        s.cluster.add_node(node_role::sampler);
        for (const auto& one : asked) {
          while (!one->done)
            s.cluster.settle_a_little();
          BOOST_REQUIRE(one->outcome.has_value());
          BOOST_TEST(std::get<0>(*one->outcome).sequences[0].tokens.size() == 6U);
        }
        while (!synced->done)
          s.cluster.settle_a_little();
        if (synced->outcome) version = std::get<0>(*synced->outcome).version;
        BOOST_TEST(s.info().version == version);
      }
      BOOST_TEST(version > 0U);
      s.wait_for_replicas(3);
      for (const replica_info& place : s.info().places)
        BOOST_TEST(place.version == version);
    }
  }
}

BOOST_AUTO_TEST_CASE(a_broken_engine_is_replaced) {
  served s(9, 1, 1);
  BOOST_REQUIRE(s.sync().has_value());
  BOOST_TEST((s.refusal(ask_for(4, tests::engine_breaking_token)) == errc::engine));
  BOOST_TEST((s.refusal(ask_for(4)) == errc::none));
  const auto places = s.info().places;
  BOOST_TEST(places[0].restarts == 1U);
  BOOST_TEST(places[0].version == 1U);
}

BOOST_AUTO_TEST_CASE(a_paused_replica_is_replaced_and_changes_nothing_when_it_goes_on) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    BOOST_TEST_CONTEXT("seed " << seed) {
      served s(seed, 2, 1);
      BOOST_REQUIRE(s.sync().has_value());
      auto asked = s.cluster.begin<sample_reply>(s.deployment, ask_for(20));
      auto synced = s.cluster.begin<sync_reply>(
          s.deployment, sync_request{deployment_id{"d"}, s.next_weights(), {}});
      s.cluster.run(s.cluster.random()() % 40);
      BOOST_REQUIRE(s.cluster.pause_node(node_role::sampler));
      const auto before = s.cluster.elapsed();
      while (!asked->done || !synced->done)
        s.cluster.settle_a_little();
      BOOST_TEST((s.cluster.elapsed() - before < std::chrono::seconds(10)));
      BOOST_REQUIRE(asked->outcome.has_value());
      const auto live = s.info();
      s.cluster.resume_nodes();
      for (int i = 0; i < 100; ++i)
        s.cluster.settle_a_little();
      BOOST_TEST(s.info().version == live.version);
      BOOST_TEST((s.info().checkpoint == live.checkpoint));
      s.wait_for_replicas(1);
      const auto again = s.sync();
      BOOST_REQUIRE(again.has_value());
      BOOST_TEST(again->version == live.version + 1);
    }
  }
}

BOOST_AUTO_TEST_CASE(every_replica_has_its_lines_in_the_ledger) {
  served s(7, 2, 2);
  s.wait_for_replicas(2);
  for (int i = 0; i < 3; ++i)
    BOOST_REQUIRE(s.sync().has_value());
  const auto reply = s.cluster.ask<ledger_list>(s.cluster.store(), list_ledger_request{{"d"}});
  BOOST_REQUIRE(reply.has_value());
  const auto& lines = std::get<0>(*reply).entries;
  BOOST_TEST(lines.size() == 6U);
  for (const std::uint32_t replica : {0U, 1U})
    BOOST_TEST(std::ranges::count_if(lines, [replica](const ledger_entry& line) {
                 return line.replica == replica && line.outcome == "committed";
               }) == 3);
}

BOOST_AUTO_TEST_CASE(a_long_run_keeps_two_snapshots) {
  served s(8, 1, 1);
  for (int step = 0; step < 40; ++step)
    BOOST_REQUIRE(s.sync().has_value());
  const auto reply =
      s.cluster.ask<checkpoint_list>(s.cluster.store(), list_checkpoints_request{run_id{"r"}});
  BOOST_REQUIRE(reply.has_value());
  const auto& left = std::get<0>(*reply).records;
  BOOST_TEST(std::ranges::count_if(left, [](const checkpoint_record& record) {
               return record.manifest.kind == checkpoint_kind::snapshot;
             }) == 2);
}

}  // namespace troupe
