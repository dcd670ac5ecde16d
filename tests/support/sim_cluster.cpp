#include "tests/support/sim_cluster.hpp"

#include <algorithm>

#include "actors/runtime/ask.hpp"
#include "gpu/models/parameter_layout.hpp"
#include "messages/state_digest.hpp"
#include "storage/hf_directory.hpp"
#include "tests/support/scratch_folder.hpp"

namespace troupe::tests {
namespace {

class ramp final : public storage::tensor_reader {
 public:
  result<void> read(std::uint32_t parameter, std::uint64_t begin, std::span<float> out) override {
    for (std::size_t i = 0; i < out.size(); ++i) {
      out[i] = 0.25F + static_cast<float>((begin + i + parameter) % 17) / 64.0F;
    }
    return {};
  }
};

model_config tiny_model() {
  model_config m;
  m.vocab_size = 32;
  m.hidden_size = 8;
  m.intermediate_size = 16;
  m.num_layers = 1;
  m.num_heads = 2;
  m.num_kv_heads = 1;
  m.head_dim = 4;
  m.max_positions = 1024;
  m.tied_head = true;
  return m;
}

}  // namespace

const std::string& tiny_model_directory() {
  // Removed with the process: process numbers come again.
  static const scratch_folder base;
  static const std::string directory = [] {
    storage::hf_export target;
    target.directory = base.path() + "/model";
    target.config = tiny_model();
    target.type = dtype::f32;
    ramp values;
    auto written =
        storage::write_hf_directory(target, gpu::parameter_layout(target.config), values);
    if (!written) throw std::runtime_error(to_string(written.error()));
    return target.directory;
  }();
  return directory;
}

sim_cluster::config::config() {
  set("caf.scheduler.policy", "testing");
  set("caf.logger.console.verbosity", "quiet");
}

sim_cluster::sim_cluster(std::uint64_t seed, std::uint32_t num_trainers, std::uint32_t num_samplers)
    : system_(config_),
      scheduler_(dynamic_cast<caf::scheduler::test_coordinator&>(system_.scheduler())),
      random_(seed) {
  start_control();
  for (std::uint32_t i = 0; i < num_trainers; ++i)
    add_node(node_role::trainer);
  for (std::uint32_t i = 0; i < num_samplers; ++i)
    add_node(node_role::sampler);
}

void sim_cluster::start_control() {
  // Nothing is kept a moment longer than it is needed: a wrong idea of "needed" shows at once.
  const storage::garbage_rules at_once{.superseded = {}, .files = {}, .samplers = {}};
  store_ = actors::spawn_checkpoint_store(
      system_, {&values_, &blobs_, actors::worker_threads::inline_scheduler, at_once, {}});
  manager_ = actors::spawn_job_manager(system_, {"sim", "/", "token", 3, store_, {}});
}

void sim_cluster::restart_control() {
  caf::anon_send_exit(store_, caf::exit_reason::kill);
  caf::anon_send_exit(manager_, caf::exit_reason::kill);
  run(random_() % 100);
  paused_.clear();
  values_.start_again();
  start_control();
  for (const hosted_node& node : std::exchange(nodes_, {})) {
    if (random_() % 4 == 0) {
      caf::anon_send_exit(node.agent, caf::exit_reason::kill);
      add_node(node.role);
    } else {
      nodes_.push_back(node);
      join(node);
    }
  }
}

sim_cluster::~sim_cluster() {
  resume_nodes();
  (void)begin<done>(manager_, shutdown_request{"end of test"});
  run(100'000);
  caf::anon_send_exit(manager_, caf::exit_reason::kill);
  caf::anon_send_exit(store_, caf::exit_reason::kill);
  for (const auto& hosted : nodes_)
    caf::anon_send_exit(hosted.agent, caf::exit_reason::kill);
  for (const auto& agent : zombies_)
    caf::anon_send_exit(agent, caf::exit_reason::kill);
  run(100'000);
  advance(std::chrono::hours(2));
  manager_ = nullptr;
  store_ = nullptr;
  nodes_.clear();
  zombies_.clear();
  run(100'000);
}

void sim_cluster::add_node(node_role role) {
  const node_id id{std::string(to_string(role)) + "-" + std::to_string(++num_nodes_)};
  auto agent = actors::spawn_node_agent(
      system_, {id, &engines_, &blobs_, actors::worker_threads::inline_scheduler},
      {.leave = [](const std::string&) {}, .control_lost = [] {}});
  nodes_.push_back({role, id, agent});
  node_of_[agent.id()] = agent.id();
  join(nodes_.back());
}

void sim_cluster::join(const hosted_node& node) {
  attach_request request;
  request.node = node.id;
  request.role = node.role;
  system_.spawn([agent = node.agent, request, manager = manager_](caf::event_based_actor* self) {
    self->request(manager, std::chrono::minutes(60), request, actors::node_agent_actor{agent})
        .then([self, agent, manager](const done&) { self->send(agent, manager); },
              [](const caf::error&) {});
  });
}

std::optional<std::size_t> sim_cluster::some_node(node_role role) {
  std::vector<std::size_t> of_role;
  for (std::size_t i = 0; i < nodes_.size(); ++i) {
    if (nodes_[i].role == role) of_role.push_back(i);
  }
  if (of_role.empty()) return std::nullopt;
  return of_role[random_() % of_role.size()];
}

bool sim_cluster::kill_node(node_role role) {
  const auto victim = some_node(role);
  if (!victim) return false;
  caf::anon_send_exit(nodes_[*victim].agent, caf::exit_reason::kill);
  nodes_.erase(nodes_.begin() + static_cast<std::ptrdiff_t>(*victim));
  return true;
}

bool sim_cluster::ask_to_leave(node_role role) {
  const auto chosen = some_node(role);
  if (!chosen) return false;
  caf::anon_send(nodes_[*chosen].agent, actors::leave_notice{});
  nodes_.erase(nodes_.begin() + static_cast<std::ptrdiff_t>(*chosen));
  return true;
}

/// It counts as gone: whoever pauses a node adds another, as a launcher would.
bool sim_cluster::pause_node(node_role role) {
  const auto chosen = some_node(role);
  if (!chosen) return false;
  paused_.insert(nodes_[*chosen].agent.id());
  zombies_.push_back(nodes_[*chosen].agent);
  nodes_.erase(nodes_.begin() + static_cast<std::ptrdiff_t>(*chosen));
  return true;
}

void sim_cluster::resume_nodes() {
  paused_.clear();
}

std::size_t sim_cluster::num_nodes(node_role role) const {
  return static_cast<std::size_t>(std::count_if(
      nodes_.begin(), nodes_.end(), [role](const auto& each) { return each.role == role; }));
}

/// Any actor that has mail and whose node is not paused.
bool sim_cluster::bring_a_job_to_the_front() {
  auto& jobs = scheduler_.jobs;
  const std::size_t first = random_() % jobs.size();
  for (std::size_t i = 0; i < jobs.size(); ++i) {
    auto& job = jobs[(first + i) % jobs.size()];
    const auto* actor = dynamic_cast<const caf::abstract_actor*>(job);
    const caf::actor_id id = actor == nullptr ? 0 : actor->id();
    const auto node = node_of_.find(id);
    if (node != node_of_.end() && paused_.contains(node->second)) continue;
    std::swap(jobs.front(), job);
    running_ = id;
    return true;
  }
  return false;
}

void sim_cluster::run(std::size_t max_messages) {
  for (std::size_t i = 0; i < max_messages && scheduler_.has_job(); ++i) {
    if (!bring_a_job_to_the_front()) return;
    trace_ = detail::mix64(trace_ + running_);
    const auto before = system_.latest_actor_id();
    const auto node = node_of_.find(running_);
    scheduler_.run_once();
    for (auto id = before + 1; node != node_of_.end() && id <= system_.latest_actor_id(); ++id)
      node_of_[id] = node->second;
    ++num_messages_;
  }
}

void sim_cluster::advance(std::chrono::milliseconds time) {
  elapsed_ += time;
  scheduler_.advance_time(time);
}

void sim_cluster::settle_a_little() {
  const auto before = num_messages_;
  run(50);
  if (num_messages_ < before + 50) advance(std::chrono::milliseconds(50));
}

}  // namespace troupe::tests
