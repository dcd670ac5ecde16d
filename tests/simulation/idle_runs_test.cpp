// Runs whose client has gone, in a simulated cluster: they give their nodes back after a while, say
// so, and go on to the same bits as soon as somebody asks something of them again.

#include <deque>
#include <functional>

#include <boost/test/unit_test.hpp>

#include "config/deadlines.hpp"
#include "tests/simulation/run_events.hpp"
#include "tests/simulation/workload.hpp"
#include "tests/support/message_types.hpp"
#include "tests/support/sim_cluster.hpp"

namespace troupe {
namespace {

using tests::sim_cluster;
using tests::some_batch;

constexpr std::chrono::seconds park_after{60};

/// A client with a life of its own: all it asks comes from one actor, which can end.
class user {
 public:
  explicit user(sim_cluster& cluster) : cluster_(cluster) {
    const auto jobs = jobs_;
    actor_ = cluster.system().spawn([jobs](caf::event_based_actor* self) -> caf::behavior {
      return {[jobs, self](int) {
        jobs->front()(self);
        jobs->pop_front();
      }};
    });
  }
  user(const user&) = delete;
  user& operator=(const user&) = delete;
  ~user() { leave(); }

  void leave() { caf::anon_send_exit(actor_, caf::exit_reason::kill); }

  template <class... Answers, class Handle, class Message>
  std::shared_ptr<sim_cluster::pending_answer<Answers...>> begin(const Handle& to,
                                                                 const Message& message) {
    auto pending = std::make_shared<sim_cluster::pending_answer<Answers...>>();
    jobs_->push_back([to, message, pending](caf::event_based_actor* self) {
      sim_cluster::request_of(*self, to, message, std::chrono::minutes(60), pending);
    });
    caf::anon_send(actor_, 1);
    return pending;
  }

  template <class... Answers, class Handle, class Message>
  std::tuple<Answers...> ask(const Handle& to, const Message& message) {
    const auto pending = begin<Answers...>(to, message);
    for (int i = 0; i < 3000 && !pending->done; ++i)
      cluster_.settle_a_little();
    const auto& outcome = pending->outcome;
    BOOST_REQUIRE_MESSAGE(outcome.has_value(), (outcome ? "" : to_string(outcome.error())));
    return *pending->outcome;
  }

 private:
  using job = std::function<void(caf::event_based_actor*)>;

  sim_cluster& cluster_;
  std::shared_ptr<std::deque<job>> jobs_ = std::make_shared<std::deque<job>>();
  caf::actor actor_;
};

/// A run of two ranks that clients come to and go from.
struct visited_run {
  sim_cluster cluster;
  std::unique_ptr<user> client;
  actors::training_run_actor run;
  std::uint64_t epoch = 1;
  std::uint64_t seq_id = 0;

  explicit visited_run(std::uint64_t seed)
      : cluster(seed, 2, 0, sim_cluster::storage_kind::memory, park_after) {
    client = std::make_unique<user>(cluster);
    take(client->ask<run_info, actors::training_run_actor>(
        cluster.manager(), create_run_request{"r", {tests::tiny_model_directory()}, 2, 1, 0}));
  }

  void take(const std::tuple<run_info, actors::training_run_actor>& given) {
    run = std::get<1>(given);
    epoch = std::get<0>(given).client_epoch;
  }

  void come_back() {
    client = std::make_unique<user>(cluster);
    take(client->ask<run_info, actors::training_run_actor>(cluster.manager(),
                                                           attach_run_request{run_id{"r"}}));
  }

  op_request next_op() {
    const std::uint64_t step = seq_id / 2 + 1;
    op_body body = forward_backward_op{some_batch(step), loss_fn::cross_entropy, {}};
    if (seq_id % 2 == 1) body = optim_step_op{};
    return {run_id{"r"}, epoch, ++seq_id, std::move(body), "c" + std::to_string(seq_id)};
  }

  void ops(std::uint64_t count) {
    for (std::uint64_t i = 0; i < count; ++i)
      client->ask<op_reply>(run, next_op());
  }

  run_info status() {
    const auto now = cluster.ask<cluster_status>(cluster.manager(), cluster_status_request{});
    BOOST_REQUIRE(now.has_value());
    BOOST_REQUIRE(std::get<0>(*now).runs.size() == 1U);
    return std::get<0>(*now).runs.front();
  }

  std::size_t num_busy_nodes() {
    const auto now = cluster.ask<cluster_status>(cluster.manager(), cluster_status_request{});
    BOOST_REQUIRE(now.has_value());
    std::size_t out = 0;
    for (const node_status& node : std::get<0>(*now).nodes)
      out += node.hosting.empty() ? 0 : 1;
    return out;
  }

  std::vector<run_event> events(run_event_kind kind) {
    return tests::events_of(cluster, run, kind);
  }
};

state_digest calm_weights(std::uint64_t num_ops) {
  visited_run calm(1);
  calm.ops(num_ops);
  return calm.status().weights;
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_run_whose_client_has_gone_gives_its_nodes_back) {
  visited_run t(2);
  t.ops(8);
  t.client->leave();
  t.cluster.pass(park_after - std::chrono::seconds(5));
  BOOST_TEST((t.status().phase == run_phase::ready));
  BOOST_TEST(t.num_busy_nodes() == 2U);
  t.cluster.pass(std::chrono::seconds(10));
  BOOST_TEST((t.status().phase == run_phase::parked));
  BOOST_TEST(t.status().detail.find("its client has been gone for 60 s") != std::string::npos);
  BOOST_TEST(t.num_busy_nodes() == 0U);
  const auto told = t.events(run_event_kind::parked);
  BOOST_REQUIRE(told.size() == 1U);
  BOOST_TEST(told[0].detail == t.status().detail);
  // Looking at it takes no nodes, an op does, and repeats none: the snapshot holds everything.
  t.come_back();
  t.cluster.pass(std::chrono::seconds(5));
  BOOST_TEST((t.status().phase == run_phase::parked));
  t.ops(4);
  const auto resumed = t.events(run_event_kind::resumed);
  BOOST_REQUIRE(resumed.size() == 1U);
  BOOST_TEST(resumed[0].ops_replayed == 0U);
  BOOST_TEST((t.status().weights == calm_weights(12)));
}

BOOST_AUTO_TEST_CASE(gradients_that_no_snapshot_holds_are_computed_again) {
  visited_run t(3);
  t.ops(7);
  t.client->leave();
  t.cluster.pass(park_after + std::chrono::seconds(5));
  BOOST_TEST((t.status().phase == run_phase::parked));
  t.come_back();
  t.ops(3);
  const auto resumed = t.events(run_event_kind::resumed);
  BOOST_REQUIRE(resumed.size() == 1U);
  BOOST_TEST(resumed[0].ops_replayed == 1U);
  BOOST_TEST((t.status().weights == calm_weights(10)));
}

BOOST_AUTO_TEST_CASE(a_client_that_is_there_keeps_its_nodes_however_long_it_thinks) {
  visited_run t(4);
  t.ops(2);
  t.cluster.pass(20 * park_after);
  BOOST_TEST((t.status().phase == run_phase::ready));
  // One that took the run over counts, not the one before it.
  auto earlier = std::move(t.client);
  t.come_back();
  earlier.reset();
  t.cluster.pass(2 * park_after);
  BOOST_TEST((t.status().phase == run_phase::ready));
  BOOST_TEST(t.events(run_event_kind::parked).empty());
}

// At whatever message of the parking the client comes back, its op is answered and changes nothing
// but its own effect.
BOOST_AUTO_TEST_CASE(an_op_beside_the_parking_is_exact) {
  const state_digest wanted = calm_weights(12);
  std::size_t num_parked = 0;
  std::size_t num_kept = 0;
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    BOOST_TEST_CONTEXT("seed " << seed) {
      visited_run t(seed);
      t.ops(8);
      t.client->leave();
      t.cluster.pass(park_after - std::chrono::seconds(1));
      auto back = std::make_unique<user>(t.cluster);
      const auto taken = back->begin<run_info, actors::training_run_actor>(
          t.cluster.manager(), attach_run_request{run_id{"r"}});
      for (int i = 0; i < 6; ++i) {
        t.cluster.run(t.cluster.random()() % 12);
        t.cluster.advance(deadlines::lease_renewal);
      }
      while (!taken->done)
        t.cluster.settle_a_little();
      BOOST_REQUIRE(taken->outcome.has_value());
      t.take(*taken->outcome);
      t.client = std::move(back);
      t.ops(4);
      BOOST_TEST((t.status().weights == wanted));
      BOOST_TEST(t.events(run_event_kind::rolled_back).empty());
      const bool was_parked = !t.events(run_event_kind::parked).empty();
      num_parked += was_parked ? 1 : 0;
      num_kept += was_parked ? 0 : 1;
    }
  }
  BOOST_TEST(num_parked > 0U);
  BOOST_TEST(num_kept > 0U);
}

BOOST_AUTO_TEST_CASE(a_run_that_no_client_takes_over_after_a_restart_is_parked_when_it_is_done) {
  visited_run t(5);
  t.ops(7);
  const auto last = t.client->begin<op_reply>(t.run, t.next_op());
  t.cluster.run(30);
  t.client->leave();
  t.cluster.restart_control();
  t.cluster.pass(std::chrono::seconds(30));
  t.cluster.pass(park_after);
  BOOST_TEST((t.status().phase == run_phase::parked));
  t.come_back();
  // Whether the control node had heard of it or not, it is asked again under its number.
  t.seq_id = 7;
  t.ops(5);
  BOOST_TEST((t.status().weights == calm_weights(12)));
}

}  // namespace troupe
