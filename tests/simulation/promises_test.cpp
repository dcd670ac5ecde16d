// What a run promises when something cannot be repaired silently: ops that break their shards,
// replays that cannot be exact, nodes that are told to go.

#include <boost/test/unit_test.hpp>

#include "actors/trainer_shard.hpp"
#include "tests/simulation/run_events.hpp"
#include "tests/support/message_types.hpp"
#include "tests/support/sim_cluster.hpp"

namespace troupe {
namespace {

using tests::sim_cluster;

datum some_datum(token_id first) {
  datum d;
  d.tokens = {first, 2, 3};
  d.target_tokens = d.tokens;
  d.weights = {1, 1, 1};
  return d;
}

template <class Answer>
std::string why(const result<Answer>& answer) {
  return answer ? std::string("answered") : to_string(answer.error());
}

/// A run of two ranks on three nodes, a snapshot every third step.
struct trained {
  sim_cluster cluster;
  actors::training_run_actor run;
  std::uint64_t epoch = 1;
  std::uint64_t seq_id = 0;

  explicit trained(std::uint64_t seed) : cluster(seed, 3, 0) {
    auto created = cluster.ask<run_info, actors::training_run_actor>(
        cluster.manager(), create_run_request{"r", {tests::tiny_model_directory()}, 2, 1, 0});
    BOOST_REQUIRE_MESSAGE(created.has_value(), why(created));
    run = std::get<1>(*created);
  }

  result<op_reply> op(op_body body) {
    auto pending = cluster.begin<op_reply>(
        run, op_request{run_id{"r"}, epoch, seq_id + 1, std::move(body), cursor()});
    for (int i = 0; i < 3000 && !pending->done; ++i)
      cluster.settle_a_little();
    BOOST_REQUIRE_MESSAGE(pending->done, "op " << seq_id + 1 << " is never answered");
    const auto& reply = pending->outcome;
    if (reply || reply.error().code != errc::rolled_back) ++seq_id;
    if (!reply) return fail(reply.error());
    return std::get<0>(*reply);
  }
  [[nodiscard]] std::string cursor() const { return "c" + std::to_string(seq_id + 1); }

  state_digest step() {
    const auto passed =
        op(forward_backward_op{{some_datum(1), some_datum(5)}, loss_fn::cross_entropy, {}});
    BOOST_REQUIRE_MESSAGE(passed.has_value(), why(passed));
    const auto stepped = op(optim_step_op{});
    BOOST_REQUIRE_MESSAGE(stepped.has_value(), why(stepped));
    return std::get<optim_step_result>(stepped->output).weights;
  }

  void restart_control() {
    cluster.restart_control();
    for (int attempt = 0; attempt < 100; ++attempt) {
      auto taken = cluster.ask<run_info, actors::training_run_actor>(
          cluster.manager(), attach_run_request{run_id{"r"}});
      if (!taken) continue;
      run = std::get<1>(*taken);
      epoch = std::get<0>(*taken).client_epoch;
      return;
    }
    BOOST_FAIL("the run never came back");
  }

  run_info info() {
    const auto now = cluster.ask<run_info>(run, run_status_request{run_id{"r"}});
    BOOST_REQUIRE(now.has_value());
    return std::get<0>(*now);
  }

  std::vector<run_event> events(run_event_kind kind) {
    return tests::events_of(cluster, run, kind);
  }

  std::vector<checkpoint_record> snapshots() {
    const auto known =
        cluster.ask<checkpoint_list>(cluster.store(), list_checkpoints_request{run_id{"r"}});
    BOOST_REQUIRE(known.has_value());
    return std::get<0>(*known).records;
  }

  void damage(const checkpoint_record& record) {
    for (const auto& file : record.manifest.files)
      cluster.blobs().flip_a_bit(file.blob);
  }

  /// Lets a rank be lost, and a node take its place.
  void lose_a_rank() {
    const auto before = info().incarnation;
    while (info().incarnation == before) {
      cluster.kill_node(node_role::trainer);
      cluster.add_node(node_role::trainer);
      for (int i = 0; i < 20; ++i)
        cluster.settle_a_little();
    }
  }
};

void nothing_lost(const error&) {}

}  // namespace

BOOST_AUTO_TEST_CASE(an_op_that_breaks_its_shards_three_times_is_given_up) {
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    BOOST_TEST_CONTEXT("seed " << seed) {
      trained calm(seed);
      calm.step();
      const auto wanted = calm.step();
      trained t(seed);
      t.cluster.engines().poison = {13, 13, 13};
      t.step();
      datum poison = some_datum(1);
      poison.tokens = {13, 13, 13};
      const auto refused =
          t.op(forward_backward_op{{poison, some_datum(2)}, loss_fn::cross_entropy, {}});
      BOOST_REQUIRE(!refused.has_value());
      BOOST_TEST((refused.error().code == errc::aborted));
      BOOST_TEST(t.events(run_event_kind::quarantined).size() == 1U);
      BOOST_TEST(t.info().incarnation == 4U);
      // Their devices were asked, and are well.
      BOOST_TEST(t.cluster.reasons_to_leave().empty());
      BOOST_TEST((t.step() == wanted));
      if (seed % 2 == 0) continue;
      t.restart_control();
      const auto again = t.cluster.ask<op_reply>(
          t.run,
          op_request{run_id{"r"}, t.epoch, 3,
                     forward_backward_op{{poison, some_datum(2)}, loss_fn::cross_entropy, {}},
                     "c3"});
      BOOST_REQUIRE(!again.has_value());
      BOOST_TEST((again.error().code == errc::aborted));
    }
  }
}

BOOST_AUTO_TEST_CASE(a_process_that_lost_its_device_is_started_again) {
  for (std::uint64_t seed = 1; seed <= 10; ++seed) {
    BOOST_TEST_CONTEXT("seed " << seed) {
      trained calm(seed);
      calm.step();
      const auto wanted = calm.step();
      BOOST_TEST(calm.cluster.reasons_to_leave().empty());
      trained t(seed);
      t.step();
      t.cluster.engines().device_is_lost = true;
      BOOST_TEST((t.step() == wanted));
      BOOST_TEST(t.events(run_event_kind::quarantined).empty());
      BOOST_TEST(!t.cluster.reasons_to_leave().empty());
      for (const std::string& reason : t.cluster.reasons_to_leave())
        BOOST_TEST(reason.find("the simulated device is lost") != std::string::npos);
    }
  }
}

// The losses of a suspect are counted across restarts of the control node.
BOOST_AUTO_TEST_CASE(a_restart_does_not_start_the_count_anew) {
  trained t(3);
  t.cluster.engines().poison = {13, 13, 13};
  datum poison = some_datum(1);
  poison.tokens = {13, 13, 13};
  const op_body body = forward_backward_op{{poison, some_datum(2)}, loss_fn::cross_entropy, {}};
  const auto pending = t.cluster.begin<op_reply>(t.run, op_request{run_id{"r"}, 1, 1, body, ""});
  while (t.cluster.engines().num_broken < 2)
    t.cluster.run(1);
  BOOST_TEST(!pending->done);
  t.restart_control();
  const auto refused =
      t.cluster.ask<op_reply>(t.run, op_request{run_id{"r"}, t.epoch, 1, body, ""});
  BOOST_REQUIRE(!refused.has_value());
  BOOST_TEST((refused.error().code == errc::aborted));
  BOOST_TEST(t.cluster.engines().num_broken <= 4U);
}

BOOST_AUTO_TEST_CASE(a_replay_that_differs_rolls_back_and_waits) {
  trained t(5);
  state_digest at_snapshot;
  for (int i = 1; i <= 5; ++i) {
    const auto weights = t.step();
    if (i == 3) at_snapshot = weights;
  }
  t.cluster.engines().drift = 77;
  t.lose_a_rank();
  for (int i = 0; i < 200 && t.info().phase != run_phase::rolled_back; ++i)
    t.cluster.settle_a_little();
  const run_info stopped = t.info();
  BOOST_TEST((stopped.phase == run_phase::rolled_back));
  BOOST_TEST(stopped.step == 3U);
  BOOST_TEST(stopped.cursor == "c6");
  BOOST_TEST((stopped.weights == at_snapshot));
  const auto told = t.events(run_event_kind::rolled_back);
  BOOST_REQUIRE(told.size() == 1U);
  BOOST_TEST(told[0].to_step == 3U);
  BOOST_TEST(told[0].to_seq_id == 6U);
  BOOST_TEST(!told[0].bit_exact);
  BOOST_TEST((t.op(optim_step_op{}).error().code == errc::rolled_back));
  // It still waits after a restart of the control node.
  t.restart_control();
  BOOST_TEST((t.info().phase == run_phase::rolled_back));
  BOOST_TEST(t.info().cursor == "c6");
  BOOST_TEST((t.op(optim_step_op{}).error().code == errc::rolled_back));
  const auto known =
      t.cluster.ask<run_info>(t.cluster.manager(), acknowledge_rollback_request{run_id{"r"}});
  BOOST_REQUIRE_MESSAGE(known.has_value(), why(known));
  t.step();
  BOOST_TEST(t.info().step == 4U);
  // What was rolled back stays so: a replay skips it.
  t.lose_a_rank();
  t.step();
  BOOST_TEST(t.info().step == 5U);
}

BOOST_AUTO_TEST_CASE(what_happened_is_shown_by_the_next_control_node) {
  trained t(4);
  t.step();
  t.lose_a_rank();
  t.step();
  const auto before = t.events(run_event_kind::resumed);
  BOOST_REQUIRE(!before.empty());
  t.restart_control();
  t.step();
  BOOST_TEST(t.events(run_event_kind::started).size() == 1U);
  const auto after = t.events(run_event_kind::resumed);
  BOOST_REQUIRE(after.size() > before.size());
  BOOST_TEST((std::vector<run_event>(after.begin(),
                                     after.begin() + std::ptrdiff_t(before.size())) == before));
  BOOST_TEST(after.back().number > before.back().number);
}

BOOST_AUTO_TEST_CASE(a_lost_snapshot_and_its_lost_ops_roll_back_to_what_is_whole) {
  trained t(6);
  for (int i = 1; i <= 10; ++i)
    t.step();
  for (int i = 0; i < 20; ++i)
    t.cluster.settle_a_little();
  // Steps 6 and 9: that of step 3 is superseded.
  const auto all = t.snapshots();
  BOOST_REQUIRE(all.size() == 2U);
  for (const auto& each : all)
    t.damage(each);
  t.lose_a_rank();
  for (int i = 0; i < 400 && t.info().phase != run_phase::rolled_back; ++i)
    t.cluster.settle_a_little();
  BOOST_TEST((t.info().phase == run_phase::rolled_back));
  // The model itself is whole.
  BOOST_TEST(t.info().step == 0U);
}

BOOST_AUTO_TEST_CASE(one_damaged_snapshot_costs_a_longer_replay_and_nothing_else) {
  trained calm(7);
  state_digest wanted;
  for (int i = 1; i <= 11; ++i)
    wanted = calm.step();
  trained t(7);
  for (int i = 1; i <= 10; ++i)
    t.step();
  for (int i = 0; i < 20; ++i)
    t.cluster.settle_a_little();
  t.damage(t.snapshots().back());
  t.lose_a_rank();
  BOOST_TEST((t.step() == wanted));
  BOOST_TEST(t.events(run_event_kind::rolled_back).empty());
}

// RUN-5: a snapshot that is damaged from the start never replaces the ops before it.
BOOST_AUTO_TEST_CASE(payloads_stay_until_the_snapshot_was_read_back) {
  trained t(8);
  for (int i = 1; i <= 5; ++i)
    t.step();
  while (t.snapshots().empty())
    t.cluster.settle_a_little();
  t.damage(t.snapshots().back());
  for (int i = 6; i <= 10; ++i)
    t.step();
  for (int i = 0; i < 20; ++i)
    t.cluster.settle_a_little();
  t.lose_a_rank();
  t.step();
  BOOST_TEST(t.events(run_event_kind::rolled_back).empty());
}

BOOST_AUTO_TEST_CASE(a_node_told_to_go_costs_no_op) {
  std::size_t num_moves = 0;
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    BOOST_TEST_CONTEXT("seed " << seed) {
      trained t(seed);
      for (int i = 1; i <= 4; ++i)
        t.step();
      for (int i = 0; i < 3; ++i) {
        t.cluster.ask_to_leave(node_role::trainer);
        t.cluster.add_node(node_role::trainer);
        t.cluster.run(t.cluster.random()() % 40);
      }
      for (int i = 5; i <= 8; ++i)
        t.step();
      num_moves += t.events(run_event_kind::leaving).size();
      for (const run_event& event : t.events(run_event_kind::resumed))
        BOOST_TEST(event.ops_replayed == 0U);
      BOOST_TEST(t.events(run_event_kind::shard_lost).empty());
    }
  }
  BOOST_TEST(num_moves > 20U);
}

BOOST_AUTO_TEST_CASE(a_shard_refuses_the_work_of_another_incarnation) {
  constexpr auto threads = actors::worker_threads::inline_scheduler;
  sim_cluster cluster(1, 0, 0);
  auto host = std::make_shared<actors::trainer_host>(cluster.engines(), cluster.blobs());
  const shard_identity mine{run_id{"r"}, 4, 0, 1};
  const auto shard = actors::spawn_trainer_shard(
      cluster.system(), mine, host,
      actors::spawn_engine_worker(cluster.system(), threads, host, nothing_lost),
      actors::spawn_engine_worker(cluster.system(), threads, host, nothing_lost));
  for (const std::uint64_t other : {3U, 5U}) {
    shard_identity stranger = mine;
    stranger.incarnation = other;
    const auto refused =
        cluster.ask<shard_work_reply>(shard, shard_work{stranger, 1, shard_save_state{}});
    BOOST_REQUIRE(!refused.has_value());
    BOOST_TEST((refused.error().code == errc::fenced));
  }
  BOOST_TEST(cluster.ask<done>(shard, close_shard_request{mine}).has_value());
}

BOOST_AUTO_TEST_CASE(a_shard_that_did_not_start_is_not_started_again) {
  constexpr auto threads = actors::worker_threads::inline_scheduler;
  sim_cluster cluster(1, 0, 0);
  auto host = std::make_shared<actors::trainer_host>(cluster.engines(), cluster.blobs());
  open_shard_request opening;
  opening.identity = {run_id{"r"}, 1, 0, 1};
  opening.model.directory = tests::tiny_model_directory();
  BOOST_REQUIRE(host->open(opening).has_value());
  const auto shard = actors::spawn_trainer_shard(
      cluster.system(), opening.identity, host,
      actors::spawn_engine_worker(cluster.system(), threads, host, nothing_lost),
      actors::spawn_engine_worker(cluster.system(), threads, host, nothing_lost));
  start_shard_request start;
  start.identity = opening.identity;
  start.comm_addresses = {"sim"};
  checkpoint_record lost;
  lost.manifest.files.push_back({blob_id{std::string(64, 'a')}, 8, 0});
  start.resume = {lost};
  for (int i = 0; i < 2; ++i) {
    const auto refused = cluster.ask<start_shard_reply>(shard, start);
    BOOST_REQUIRE(!refused.has_value());
    BOOST_TEST((refused.error().code == errc::not_found));
  }
  BOOST_TEST(cluster.ask<done>(shard, close_shard_request{opening.identity}).has_value());
}

BOOST_AUTO_TEST_CASE(a_snapshot_is_of_the_state_before_the_next_step) {
  const auto written = [](bool steps_before_it_is_written) {
    sim_cluster cluster(1, 0, 0);
    actors::trainer_host host(cluster.engines(), cluster.blobs());
    open_shard_request opening;
    opening.identity = {run_id{"r"}, 1, 0, 1};
    opening.model.directory = tests::tiny_model_directory();
    BOOST_REQUIRE(host.open(opening).has_value());
    start_shard_request start;
    start.identity = opening.identity;
    start.comm_addresses = {"sim"};
    BOOST_REQUIRE(host.start(start).has_value());
    const auto work = [&](std::uint64_t seq_id, shard_body body) {
      auto reply = host.run({opening.identity, seq_id, std::move(body)});
      BOOST_REQUIRE_MESSAGE(reply.has_value(), why(reply));
      return *reply;
    };
    const auto step = [&](std::uint64_t seq_id) {
      work(seq_id, shard_forward_backward{{some_datum(1)}, loss_fn::cross_entropy, {}});
      work(seq_id + 1, shard_optim_step{{}, seq_id / 2 + 1});
    };
    step(1);
    work(2, shard_capture_state{});
    if (steps_before_it_is_written) step(3);
    return work(2, shard_write_captured{}).files.at(0).blob.value;
  };
  BOOST_TEST(written(true) == written(false));
}

// I7: a node that was replaced while it was paused changes nothing when it goes on.
BOOST_AUTO_TEST_CASE(a_paused_node_is_replaced_and_changes_nothing_later) {
  trained calm(9);
  state_digest wanted;
  for (int i = 1; i <= 8; ++i)
    wanted = calm.step();
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    BOOST_TEST_CONTEXT("seed " << seed) {
      trained t(seed);
      for (int i = 1; i <= 3; ++i)
        t.step();
      const auto before = t.cluster.elapsed();
      t.cluster.pause_node(node_role::trainer);
      t.cluster.add_node(node_role::trainer);
      t.step();
      BOOST_TEST((t.cluster.elapsed() - before < std::chrono::seconds(10)));
      t.step();
      t.cluster.resume_nodes();
      t.step();
      t.step();
      BOOST_TEST((t.step() == wanted));
    }
  }
}

}  // namespace troupe
