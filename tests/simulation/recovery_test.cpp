// A training run under kills, in one thread and seeded: whatever node dies at whatever message, no
// answered op is lost, none is applied twice, and the weights end equal to those of a calm run.

#include <cstdlib>
#include <iostream>

#include <boost/test/unit_test.hpp>

#include "tests/simulation/workload.hpp"
#include "tests/support/message_types.hpp"
#include "tests/support/sim_cluster.hpp"

namespace troupe {
namespace {

using tests::sim_cluster;
using tests::some_batch;

std::uint64_t number_from(const char* variable, std::uint64_t otherwise) {
  const char* text = std::getenv(variable);
  return text != nullptr ? std::strtoull(text, nullptr, 10) : otherwise;
}

/// TROUPE_SIM_SEEDS makes long runs of the same tests, TROUPE_SIM_FIRST repeats one seed.
std::uint64_t first_seed() {
  return number_from("TROUPE_SIM_FIRST", 1);
}

std::uint64_t seeds_wanted() {
  return first_seed() - 1 + number_from("TROUPE_SIM_SEEDS", 60);
}

template <class Answer>
std::string why(const result<Answer>& answer) {
  return answer ? std::string("answered") : to_string(answer.error());
}

/// The ops of one run: alternating built-in and two-phase losses, checkpoints in between.
std::vector<op_body> workload() {
  std::vector<op_body> ops;
  for (std::uint64_t step = 1; step <= 10; ++step) {
    if (step % 2 == 1) {
      ops.emplace_back(forward_backward_op{some_batch(step), loss_fn::cross_entropy, {}});
    } else {
      const auto batch = some_batch(step);
      backward_op backward;
      backward.forward_seq_id = ops.size() + 1;
      for (const datum& d : batch) {
        backward.logprob_gradients.emplace_back(d.tokens.size(), 0.5F * static_cast<float>(step));
      }
      ops.emplace_back(
          forward_op{batch, retention::keep_for_backward, {2, true, embedding_kind::mean}});
      ops.emplace_back(std::move(backward));
    }
    ops.emplace_back(optim_step_op{});
    if (step % 3 == 0) ops.emplace_back(save_weights_op{"w" + std::to_string(step)});
    if (step == 5) ops.emplace_back(save_state_op{"half"});
  }
  return ops;
}

struct outcome {
  state_digest weights;
  std::uint64_t step = 0;
  std::uint64_t committed = 0;
  std::uint64_t incarnation = 0;
  bool bit_exact = true;
  std::uint64_t num_messages = 0;
};

/// Asks an op until it is answered, taking the run over again when its control node was restarted.
class steady_client {
 public:
  steady_client(sim_cluster& cluster, actors::training_run_actor run)
      : cluster_(cluster), run_(std::move(run)) {}

  op_reply apply(std::uint64_t seq_id, const op_body& body, bool is_control_killed) {
    const auto request = [&] {
      return op_request{run_id{"r"}, epoch_, seq_id, body, "c" + std::to_string(seq_id)};
    };
    auto first = cluster_.begin<op_reply>(run_, request());
    if (is_control_killed) {
      cluster_.run(cluster_.random()() % 60);
      cluster_.restart_control();
      attach();
    }
    auto again = cluster_.ask<op_reply>(run_, request());
    BOOST_REQUIRE_MESSAGE(again.has_value(), why(again));
    if (first->done && first->outcome) {
      BOOST_TEST((std::get<0>(*first->outcome) == std::get<0>(*again)));
    }
    return std::get<0>(*again);
  }

 private:
  void attach() {
    for (int attempt = 0; attempt < 100; ++attempt) {
      auto taken = cluster_.ask<run_info, actors::training_run_actor>(
          cluster_.manager(), attach_run_request{run_id{"r"}});
      if (!taken) continue;
      run_ = std::get<1>(*taken);
      epoch_ = std::get<0>(*taken).client_epoch;
      return;
    }
    BOOST_FAIL("the run never came back");
  }

  sim_cluster& cluster_;
  actors::training_run_actor run_;
  std::uint64_t epoch_ = 1;
};

struct rank_shape {
  std::uint32_t world_size = 2;
  std::uint32_t shard_size = 0;
};

outcome run_workload(std::uint64_t seed, std::uint32_t num_kills, rank_shape ranks = {}) {
  sim_cluster cluster(seed, ranks.world_size + 1, 1);
  create_run_request wanted{"r", {tests::tiny_model_directory()}, ranks.world_size, 1, 0};
  wanted.shard_size = ranks.shard_size;
  auto created = cluster.ask<run_info, actors::training_run_actor>(cluster.manager(), wanted);
  BOOST_REQUIRE_MESSAGE(created.has_value(), why(created));
  const auto run = std::get<1>(*created);
  const auto ops = workload();
  std::uint32_t kills_left = num_kills;
  for (std::uint64_t seq_id = 1; seq_id <= ops.size(); ++seq_id) {
    const op_request request{run_id{"r"}, 1, seq_id, ops[seq_id - 1], "c" + std::to_string(seq_id)};
    auto first = cluster.begin<op_reply>(run, request);
    if (kills_left > 0 && cluster.random()() % 3 == 0) {
      cluster.run(cluster.random()() % 60);
      cluster.kill_node(node_role::trainer);
      cluster.add_node(node_role::trainer);
      --kills_left;
    }
    auto again = cluster.ask<op_reply>(run, request);
    while (!first->done)
      cluster.settle_a_little();
    BOOST_REQUIRE_MESSAGE(again.has_value(), why(again));
    BOOST_REQUIRE(first->outcome.has_value());
    BOOST_TEST((std::get<0>(*first->outcome) == std::get<0>(*again)));
    if (num_kills > 0 && cluster.random()() % 8 == 0) {
      (void)cluster.ask<run_info>(run, park_run_request{run_id{"r"}});
    }
  }
  auto status = cluster.ask<run_info>(run, run_status_request{run_id{"r"}});
  auto events = cluster.ask<run_events_reply>(run, run_events_request{run_id{"r"}, 0});
  BOOST_REQUIRE(status.has_value());
  BOOST_REQUIRE(events.has_value());
  const run_info& info = std::get<0>(*status);
  outcome out{info.weights,     info.step, info.committed_seq_id,
              info.incarnation, true,      cluster.num_messages()};
  for (const run_event& e : std::get<0>(*events).events)
    out.bit_exact = out.bit_exact && e.bit_exact;
  BOOST_TEST(info.cursor == "c" + std::to_string(ops.size()));
  return out;
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_calm_run_commits_every_op) {
  const outcome calm = run_workload(1, 0);
  BOOST_TEST(calm.step == 10U);
  BOOST_TEST(calm.committed == workload().size());
  BOOST_TEST(calm.incarnation == 1U);
}

BOOST_AUTO_TEST_CASE(the_same_seed_gives_the_same_trace) {
  BOOST_TEST(run_workload(7, 2).num_messages == run_workload(7, 2).num_messages);
}

// I2, I3, I4: exactly once, in order, bit-identical.
BOOST_AUTO_TEST_CASE(kills_change_nothing_but_the_incarnation) {
  const std::uint64_t num_seeds = seeds_wanted();
  const outcome calm = run_workload(1, 0);
  std::uint64_t num_recoveries = 0;
  for (std::uint64_t seed = first_seed(); seed <= num_seeds; ++seed) {
    BOOST_TEST_CONTEXT("seed " << seed) {
      const outcome stormy = run_workload(seed, 4);
      BOOST_TEST((stormy.weights == calm.weights));
      BOOST_TEST(stormy.step == calm.step);
      BOOST_TEST(stormy.committed == calm.committed);
      BOOST_TEST(stormy.bit_exact);
      num_recoveries += stormy.incarnation - 1;
    }
  }
  BOOST_TEST_MESSAGE(num_seeds << " seeds, " << num_recoveries << " recoveries");
  BOOST_TEST(num_recoveries > 0U);
}

// Ranks that hold two copies of the state between them come back as those that hold one.
BOOST_AUTO_TEST_CASE(copies_survive_kills_alike) {
  const outcome calm = run_workload(1, 0);
  std::uint64_t num_recoveries = 0;
  for (std::uint64_t seed = first_seed(); seed <= first_seed() - 1 + (seeds_wanted() + 3) / 4;
       ++seed) {
    BOOST_TEST_CONTEXT("seed " << seed) {
      const outcome stormy = run_workload(seed, 3, {4, 2});
      BOOST_TEST((stormy.weights == calm.weights));
      BOOST_TEST(stormy.step == calm.step);
      BOOST_TEST(stormy.bit_exact);
      num_recoveries += stormy.incarnation - 1;
    }
  }
  BOOST_TEST(num_recoveries > 0U);
}

// The control node itself: what was answered is in the journal, and the run goes on from there.
BOOST_AUTO_TEST_CASE(a_restarted_control_node_loses_nothing) {
  const outcome calm = run_workload(1, 0);
  const auto ops = workload();
  for (std::uint64_t seed = first_seed(); seed <= seeds_wanted(); ++seed) {
    BOOST_TEST_CONTEXT("seed " << seed) {
      sim_cluster cluster(seed, 3, 0);
      auto created = cluster.ask<run_info, actors::training_run_actor>(
          cluster.manager(), create_run_request{"r", {tests::tiny_model_directory()}, 2, 1, 0});
      BOOST_REQUIRE_MESSAGE(created.has_value(), why(created));
      steady_client client(cluster, std::get<1>(*created));
      optim_step_result last;
      for (std::uint64_t seq_id = 1; seq_id <= ops.size(); ++seq_id) {
        const auto reply = client.apply(seq_id, ops[seq_id - 1], cluster.random()() % 6 == 0);
        if (const auto* step = std::get_if<optim_step_result>(&reply.output)) last = *step;
      }
      BOOST_TEST((last.weights == calm.weights));
      BOOST_TEST(last.step == calm.step);
    }
  }
}

}  // namespace troupe
