// Chains of deltas in a cluster: folded beside everything else, used by who comes late, and doubted
// when they are damaged; whatever fails, what serves goes on serving.

#include <algorithm>

#include <boost/test/unit_test.hpp>

#include "config/limits.hpp"
#include "tests/simulation/served_run.hpp"
#include "tests/support/message_types.hpp"

namespace troupe {
namespace {

struct served : tests::served_run {
  using served_run::served_run;

  result<sync_reply> sync(const checkpoint_id& checkpoint) {
    auto reply = cluster.ask<sync_reply>(deployment, sync_request{deployment_id{"d"}, checkpoint});
    if (!reply) return fail(reply.error());
    return std::get<0>(*reply);
  }

  std::vector<checkpoint_record> chain(const checkpoint_id& checkpoint, chain_form form) {
    auto reply =
        cluster.ask<checkpoint_list>(cluster.store(), checkpoint_chain_request{checkpoint, form});
    BOOST_REQUIRE(reply.has_value());
    return std::get<0>(*reply).records;
  }

  std::uint64_t live_version() {
    sample_request request;
    request.deployment = deployment_id{"d"};
    request.prompt = {1, 2, 3};
    request.params.max_tokens = 2;
    const auto sampled = cluster.ask<sample_reply>(deployment, request);
    BOOST_REQUIRE(sampled.has_value());
    return std::get<0>(*sampled).sequences[0].last_version;
  }

  /// A replacement that has nothing serves the live version.
  void replace_replica() {
    cluster.add_node(node_role::sampler);
    cluster.kill_node(node_role::sampler);
  }

  /// Publishes until a chain has a fold; answers the last checkpoint.
  checkpoint_id publish_until_folded() {
    checkpoint_id last;
    for (std::uint32_t i = 0; i <= limits::fold_every_deltas; ++i)
      last = next_weights("w" + std::to_string(i));
    const auto complete = chain(last, chain_form::complete);
    BOOST_REQUIRE(complete.size() == limits::fold_every_deltas + 1);
    for (int i = 0; i < 200 && chain(last, chain_form::shortest).size() > 2; ++i)
      cluster.settle_a_little();
    return last;
  }
};

}  // namespace

BOOST_AUTO_TEST_CASE(who_comes_late_loads_a_base_and_a_fold) {
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    served s(seed, 1, 1);
    const auto last = s.publish_until_folded();
    const auto chain = s.chain(last, chain_form::shortest);
    BOOST_REQUIRE(chain.size() == 2U);
    BOOST_TEST((chain[1].manifest.folds == last));
    const auto synced = s.sync(last);
    BOOST_REQUIRE(synced.has_value());
    BOOST_TEST(!synced->was_delta);
    BOOST_TEST(synced->bytes == total_bytes(chain[0].manifest) + total_bytes(chain[1].manifest));
    // The next delta goes onto what the fold gave, and a replacement catches up through it.
    const auto next = s.sync(s.next_weights("next"));
    BOOST_REQUIRE(next.has_value());
    BOOST_TEST(next->was_delta);
    s.replace_replica();
    BOOST_TEST(s.live_version() == 2U);
  }
}

BOOST_AUTO_TEST_CASE(a_control_node_that_ends_while_it_folds_folds_later) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    BOOST_TEST_CONTEXT("seed " << seed) {
      served s(seed, 1, 1);
      checkpoint_id last;
      for (std::uint32_t i = 0; i <= limits::fold_every_deltas; ++i)
        last = s.next_weights("w" + std::to_string(i));
      s.cluster.run(s.cluster.random()() % 8);
      s.cluster.restart_control();
      const auto before = s.chain(last, chain_form::complete);
      BOOST_TEST(before.back().manifest.depth == limits::fold_every_deltas);
      auto planned = s.cluster.ask<publish_plan>(s.cluster.store(), plan_publish_request{last});
      BOOST_REQUIRE(planned.has_value());
      for (int i = 0; i < 200 && s.chain(last, chain_form::shortest).size() > 2; ++i)
        s.cluster.settle_a_little();
      BOOST_TEST(s.chain(last, chain_form::shortest).size() == 2U);
    }
  }
}

BOOST_AUTO_TEST_CASE(a_damaged_fold_is_gone_around) {
  served s(3, 1, 1);
  const auto last = s.publish_until_folded();
  const auto fold = s.chain(last, chain_form::shortest).back();
  s.cluster.blobs().flip_a_bit(fold.manifest.files.front().blob);
  const auto synced = s.sync(last);
  BOOST_REQUIRE(synced.has_value());
  BOOST_TEST(s.live_version() == 1U);
}

BOOST_AUTO_TEST_CASE(a_damaged_chain_is_refused_and_a_base_follows) {
  served s(4, 1, 1);
  BOOST_REQUIRE(s.sync(s.next_weights("first")).has_value());
  s.next_weights("second");
  const auto third = s.next_weights("third");
  const auto chain = s.chain(third, chain_form::complete);
  s.cluster.blobs().flip_a_bit(chain[1].manifest.files.front().blob);
  const auto refused = s.sync(third);
  BOOST_REQUIRE(!refused);
  BOOST_TEST((refused.error().code == errc::corrupt));
  BOOST_TEST(s.live_version() == 1U);
  const auto fourth = s.next_weights("fourth");
  BOOST_TEST((s.chain(fourth, chain_form::complete).front().id == fourth));
  BOOST_REQUIRE(s.sync(fourth).has_value());
  BOOST_TEST(s.live_version() == 2U);
}

BOOST_AUTO_TEST_CASE(a_base_with_missing_files_is_refused) {
  served s(5, 1, 1);
  const auto base = s.next_weights("base");
  const auto delta = s.next_weights("delta");
  const auto chain = s.chain(delta, chain_form::complete);
  BOOST_REQUIRE(s.cluster.blobs().remove(chain[0].manifest.files.front().blob));
  BOOST_TEST(!s.sync(base).has_value());
  BOOST_TEST(!s.sync(delta).has_value());
  BOOST_TEST(s.live_version() == 0U);
  BOOST_REQUIRE(s.sync(s.next_weights("again")).has_value());
  BOOST_TEST(s.live_version() == 1U);
}

BOOST_AUTO_TEST_CASE(a_run_whose_published_chain_is_damaged_is_restored_without_it) {
  served s(6, 1, 1);
  s.next_weights("base");
  const auto delta = s.next_weights("delta");
  const auto chain = s.chain(delta, chain_form::complete);
  s.cluster.blobs().flip_a_bit(chain[0].manifest.files.front().blob);
  s.cluster.add_node(node_role::trainer);
  s.cluster.kill_node(node_role::trainer);
  const auto next = s.next_weights("next");
  BOOST_TEST((s.chain(next, chain_form::complete).front().id == next));
  BOOST_REQUIRE(s.sync(next).has_value());
}

BOOST_AUTO_TEST_CASE(a_full_disk_in_mid_publish_leaves_the_old_version_serving) {
  served s(7, 1, 1);
  BOOST_REQUIRE(s.sync(s.next_weights("first")).has_value());
  const auto known =
      std::get<0>(*s.cluster.ask<checkpoint_list>(s.cluster.store(), list_checkpoints_request{}));
  s.cluster.blobs().fill_up();
  const auto published = s.cluster.begin<op_reply>(
      s.run, op_request{run_id{"r"}, 1, ++s.seq_id, save_weights_op{"second"}, ""});
  s.cluster.run(500);
  BOOST_TEST(s.live_version() == 1U);
  const auto after =
      std::get<0>(*s.cluster.ask<checkpoint_list>(s.cluster.store(), list_checkpoints_request{}));
  BOOST_TEST((after == known));
  s.cluster.blobs().free_space();
  while (!published->done)
    s.cluster.settle_a_little();
  BOOST_REQUIRE(s.sync(s.next_weights("third")).has_value());
  BOOST_TEST(s.live_version() == 2U);
}

}  // namespace troupe
