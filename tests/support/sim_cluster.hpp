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
#include "tests/support/sim_network.hpp"
#include "tests/support/sim_store.hpp"

namespace troupe::tests {

/// A tiny Qwen3-shaped model directory, made once per process in a temporary folder.
[[nodiscard]] const std::string& tiny_model_directory();

class sim_cluster {
 public:
  enum class storage_kind : std::uint8_t { memory, disk };

  /// Runs whose client has gone are parked after a while; 0: never.
  sim_cluster(std::uint64_t seed, std::uint32_t num_trainers, std::uint32_t num_samplers,
              storage_kind storage = storage_kind::memory,
              std::chrono::milliseconds park_idle_runs_after = {});
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
  /// Why processes of nodes ended by themselves.
  [[nodiscard]] const std::vector<std::string>& reasons_to_leave() const { return reasons_; }

  /// Nothing passes between a node and the others, that way, for so long. It is not replaced: a
  /// launcher sees its process live. False when there is none of that role.
  bool cut_off_node(node_role role, sim_network::way which, std::chrono::milliseconds time);
  /// The connection of a node breaks, with what was on its way; both ends are told, and it joins
  /// again. False when there is none of that role.
  bool reset_link(node_role role);

  /// Ends the control node's actors as SIGKILL would, with what they had not made durable, and
  /// starts them again on the same storage. Other nodes join it again, or end with it and are
  /// replaced. When its disk failed it is repaired meanwhile; `loses_power`: what was not synced
  /// is gone.
  void restart_control(bool loses_power = false);

  /// Runs messages in seeded order until none is left, `max_messages` ran, or `until` is true.
  void run(std::size_t max_messages, const bool* until = nullptr);
  void advance(std::chrono::milliseconds time);
  /// Messages and time, in steps that are short enough for leases to be renewed.
  void pass(std::chrono::milliseconds time);

  /// Longer than anything takes.
  static constexpr std::chrono::minutes endless{60};

  /// Sends as a client and runs until the answer is there, letting time pass; errc::timeout when
  /// none came within `patience` of the cluster's own time.
  template <class... Answers, class Handle, class Message>
  [[nodiscard]] result<std::tuple<Answers...>> ask(const Handle& to, const Message& message,
                                                   std::chrono::milliseconds patience = endless) {
    auto pending = begin<Answers...>(to, message, patience);
    for (int i = 0; i < patience_rounds && !pending->done; ++i)
      settle_a_little(&pending->done);
    return pending->outcome;
  }

  template <class... Answers>
  struct pending_answer {
    bool done = false;
    result<std::tuple<Answers...>> outcome = fail(errc::timeout, "no answer");
  };

  /// Sends without waiting; the answer arrives while the cluster runs.
  template <class... Answers, class Handle, class Message>
  [[nodiscard]] std::shared_ptr<pending_answer<Answers...>> begin(
      const Handle& to, const Message& message, std::chrono::milliseconds patience = endless) {
    auto pending = std::make_shared<pending_answer<Answers...>>();
    const auto client =
        system_.spawn([to, message, pending, patience](caf::event_based_actor* self) {
          request_of(*self, to, message, patience, pending);
        });
    network_.settle(client.id(), sim_network::clients);
    return pending;
  }

  /// A request of `client`, whose answer comes to `pending`.
  template <class... Answers, class Handle, class Message>
  static void request_of(caf::event_based_actor& client, const Handle& to, const Message& message,
                         std::chrono::milliseconds patience,
                         const std::shared_ptr<pending_answer<Answers...>>& pending) {
    client.request(to, patience, message)
        .then(
            [pending](const Answers&... answers) {
              pending->outcome = std::tuple<Answers...>(answers...);
              pending->done = true;
            },
            [pending](const caf::error& e) {
              pending->outcome = fail(actors::from_caf(e));
              pending->done = true;
            });
  }

  /// Up to 50 messages, or the next 50 ms when there are none; ends once `until` is true.
  void settle_a_little(const bool* until = nullptr);
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
  [[nodiscard]] sim_disk& disk() { return disk_; }
  [[nodiscard]] sim_network& network() { return network_; }

 private:
  /// Some hours of simulated time: what never answers must end as a failure.
  static constexpr int patience_rounds = 200'000;

  struct config : caf::actor_system_config {
    config();
  };
  void start_control();

  struct hosted_node {
    node_role role;
    node_id id;
    actors::node_agent_self agent;
    sim_network::place place = 0;
  };
  void join(const hosted_node& node);
  void ask_to_join(caf::event_based_actor* self, const attach_request& request,
                   const actors::node_agent_self& agent);
  [[nodiscard]] const hosted_node* find(const node_id& id) const;
  void do_what_launchers_do();
  [[nodiscard]] std::optional<std::size_t> some_node(node_role role);
  [[nodiscard]] bool bring_a_job_to_the_front();

  config config_;
  caf::actor_system system_;
  caf::scheduler::test_coordinator& scheduler_;
  std::mt19937_64 random_;
  sim_disk disk_;
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
  sim_network network_;
  std::chrono::milliseconds park_idle_runs_after_;
  std::set<sim_network::place> paused_;
  std::vector<actors::node_agent_self> zombies_;
  std::vector<node_id> fenced_;  ///< their processes ended
  std::vector<std::string> reasons_;
  std::vector<node_id> alone_;  ///< their control node went away
  bool is_ending_ = false;
};

}  // namespace troupe::tests
