#pragma once

// A whole cluster in one thread: CAF's deterministic coordinator runs one message at a time, a
// seeded picker chooses which actor goes next, and the clock moves only when told. The same seed
// gives the same trace. Nodes can be killed and added at any message.
//
// Threading: one thread; nothing here sleeps.

#include <map>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <vector>

#include <caf/all.hpp>
#include <caf/scheduler/test_coordinator.hpp>

#include "actors/checkpoint_store.hpp"
#include "actors/job_manager.hpp"
#include "actors/node_agent.hpp"
#include "actors/runtime/errors.hpp"
#include "tests/support/sim_engine.hpp"
#include "tests/support/sim_store.hpp"

namespace troupe::tests {

/// A tiny Qwen3-shaped model directory, made once per process in a temporary folder.
[[nodiscard]] const std::string& tiny_model_directory();

class sim_cluster {
 public:
  sim_cluster(std::uint64_t seed, std::uint32_t num_trainers, std::uint32_t num_samplers);
  ~sim_cluster();
  sim_cluster(const sim_cluster&) = delete;
  sim_cluster& operator=(const sim_cluster&) = delete;

  void add_node(node_role role);
  /// Ends a node's actors as SIGKILL would; false when there is none of that role.
  bool kill_node(node_role role);

  /// Tells a node that its process was asked to end, as SIGTERM does; false: none of that role.
  bool ask_to_leave(node_role role);

  /// Stops one node's actors as SIGSTOP would, or a cut of its link: what is sent to it waits, and
  /// what it sent before still arrives. False when there is none of that role.
  bool pause_node(node_role role);
  /// The paused ones go on, with everything that was sent to them meanwhile, late.
  void resume_nodes();
  [[nodiscard]] std::size_t num_nodes(node_role role) const;

  /// Ends the control node's actors as SIGKILL would, with what they had not made durable, and
  /// starts them again on the same storage. Other nodes join it again, or end with it and are
  /// replaced.
  void restart_control();

  /// Runs messages in seeded order until none is left or `max_messages` ran.
  void run(std::size_t max_messages);
  void advance(std::chrono::milliseconds time);

  /// Sends and runs until the answer is there, letting time pass; fails the test after a minute of
  /// the cluster's own time.
  template <class... Answers, class Handle, class Message>
  [[nodiscard]] result<std::tuple<Answers...>> ask(const Handle& to, const Message& message) {
    auto pending = begin<Answers...>(to, message);
    while (!pending->done)
      settle_a_little();
    return pending->outcome;
  }

  template <class... Answers>
  struct pending_answer {
    bool done = false;
    result<std::tuple<Answers...>> outcome = fail(errc::timeout, "no answer");
  };

  /// Sends without waiting; the answer arrives while the cluster runs.
  template <class... Answers, class Handle, class Message>
  [[nodiscard]] std::shared_ptr<pending_answer<Answers...>> begin(const Handle& to,
                                                                  const Message& message) {
    auto pending = std::make_shared<pending_answer<Answers...>>();
    system_.spawn([to, message, pending](caf::event_based_actor* self) {
      self->request(to, std::chrono::minutes(60), message)
          .then(
              [pending](const Answers&... answers) {
                pending->outcome = std::tuple<Answers...>(answers...);
                pending->done = true;
              },
              [pending](const caf::error& e) {
                pending->outcome = fail(actors::from_caf(e));
                pending->done = true;
              });
    });
    return pending;
  }

  void settle_a_little();
  [[nodiscard]] std::mt19937_64& random() { return random_; }
  [[nodiscard]] const actors::job_manager_actor& manager() const { return manager_; }
  [[nodiscard]] const actors::checkpoint_store_actor& store() const { return store_; }
  [[nodiscard]] std::uint64_t num_messages() const { return num_messages_; }
  /// Which actors ran in which order: equal for equal seeds.
  [[nodiscard]] std::uint64_t trace() const { return trace_; }
  /// The cluster's own time since it was made.
  [[nodiscard]] std::chrono::milliseconds elapsed() const { return elapsed_; }
  [[nodiscard]] caf::actor_system& system() { return system_; }
  [[nodiscard]] sim_engine_factory& engines() { return engines_; }
  [[nodiscard]] sim_values& values() { return values_; }
  [[nodiscard]] sim_blobs& blobs() { return blobs_; }

 private:
  struct config : caf::actor_system_config {
    config();
  };
  void start_control();

  struct hosted_node {
    node_role role;
    node_id id;
    actors::node_agent_self agent;
  };
  void join(const hosted_node& node);
  [[nodiscard]] std::optional<std::size_t> some_node(node_role role);
  [[nodiscard]] bool bring_a_job_to_the_front();

  config config_;
  caf::actor_system system_;
  caf::scheduler::test_coordinator& scheduler_;
  std::mt19937_64 random_;
  sim_values values_;
  sim_blobs blobs_;
  sim_engine_factory engines_;
  actors::checkpoint_store_actor store_;
  actors::job_manager_actor manager_;
  std::vector<hosted_node> nodes_;
  std::uint64_t num_nodes_ = 0;
  std::uint64_t num_messages_ = 0;
  std::uint64_t trace_ = 0;
  std::chrono::milliseconds elapsed_{0};
  /// The agent in whose node each actor lives, for those that do not live in the control node.
  std::map<caf::actor_id, caf::actor_id> node_of_;
  std::set<caf::actor_id> paused_;  ///< agents
  std::vector<actors::node_agent_self> zombies_;
  caf::actor_id running_ = 0;
};

}  // namespace troupe::tests
