#include "tests/support/sim_cluster.hpp"

#include <algorithm>

#include "actors/runtime/ask.hpp"
#include "config/deadlines.hpp"
#include "gpu/models/parameter_layout.hpp"
#include "messages/state_digest.hpp"
#include "storage/hf_directory.hpp"
#include "tests/support/scratch_folder.hpp"

namespace troupe::tests {
namespace {

/// Between two attempts of a node to join.
constexpr std::chrono::milliseconds join_retry{500};

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

/// 0 for a job that is no actor.
static caf::actor_id id_of(const caf::resumable* job) {
  const auto* actor = dynamic_cast<const caf::abstract_actor*>(job);
  return actor == nullptr ? 0 : actor->id();
}

sim_cluster::config::config() {
  set("caf.scheduler.policy", "testing");
  set("caf.logger.console.verbosity", "quiet");
}

sim_cluster::sim_cluster(std::uint64_t seed, std::uint32_t num_trainers, std::uint32_t num_samplers,
                         storage_kind storage, std::chrono::milliseconds park_idle_runs_after)
    : system_(config_),
      scheduler_(dynamic_cast<caf::scheduler::test_coordinator&>(system_.scheduler())),
      random_(seed),
      disk_(detail::mix64(seed + 1)),
      values_(storage == storage_kind::disk ? &disk_ : nullptr),
      blobs_(storage == storage_kind::disk ? &disk_ : nullptr),
      network_(detail::mix64(seed)),
      park_idle_runs_after_(park_idle_runs_after) {
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
  manager_ = actors::spawn_job_manager(system_,
                                       {"sim", "/", "token", 3, park_idle_runs_after_, store_, {}});
}

void sim_cluster::restart_control(bool loses_power) {
  caf::anon_send_exit(store_, caf::exit_reason::kill);
  caf::anon_send_exit(manager_, caf::exit_reason::kill);
  run(random_() % 100);
  paused_.clear();
  if (loses_power || disk_.has_lost_power()) {
    disk_.lose_power();
    blobs_.start_again();
  }
  disk_.repair();
  values_.start_again();
  start_control();
  for (const hosted_node& node : std::exchange(nodes_, {})) {
    if (random_() % 4 == 0) {
      caf::anon_send_exit(node.agent, caf::exit_reason::kill);
      add_node(node.role);
    } else {
      nodes_.push_back(node);
    }
  }
}

sim_cluster::~sim_cluster() {
  is_ending_ = true;
  resume_nodes();
  network_.heal();
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
  engines_.device_is_lost = false;
  const node_id id{std::string(to_string(role)) + "-" + std::to_string(++num_nodes_)};
  auto agent = actors::spawn_node_agent(
      system_, {id, &engines_, &blobs_, actors::worker_threads::inline_scheduler},
      {.leave =
           [this, id](const std::string& reason) {
             if (reason.empty()) return;
             reasons_.push_back(reason);
             fenced_.push_back(id);
           },
       .control_lost = [this, id] { alone_.push_back(id); }});
  nodes_.push_back({role, id, agent, network_.add_place()});
  network_.settle(agent.id(), nodes_.back().place);
  join(nodes_.back());
}

const sim_cluster::hosted_node* sim_cluster::find(const node_id& id) const {
  const auto at = std::ranges::find(nodes_, id, &hosted_node::id);
  return at == nodes_.end() ? nullptr : &*at;
}

/// A process that ended by itself is started again; one that lost its control node looks for it.
void sim_cluster::do_what_launchers_do() {
  for (const node_id& id : std::exchange(fenced_, {})) {
    const hosted_node* ended = find(id);
    if (ended == nullptr || is_ending_) continue;
    const node_role role = ended->role;
    std::erase_if(nodes_, [&id](const hosted_node& each) { return each.id == id; });
    add_node(role);
  }
  for (const node_id& id : std::exchange(alone_, {})) {
    if (const hosted_node* node = find(id)) join(*node);
  }
}

void sim_cluster::join(const hosted_node& node) {
  attach_request request;
  request.node = node.id;
  request.role = node.role;
  const auto seeker =
      system_.spawn([this, agent = node.agent, request](caf::event_based_actor* self) {
        ask_to_join(self, request, agent);
        return caf::behavior{
            [this, self, request, agent](actors::tick) { ask_to_join(self, request, agent); }};
      });
  network_.settle(seeker.id(), node.place);
}

void sim_cluster::ask_to_join(caf::event_based_actor* self, const attach_request& request,
                              const actors::node_agent_self& agent) {
  if (is_ending_ || find(request.node) == nullptr) return self->quit();
  self->request(manager_, deadlines::connect, request, actors::node_agent_actor{agent})
      .then(
          [self, agent, manager = manager_](const done&) {
            self->send(agent, manager);
            self->quit();
          },
          [this, self](const caf::error&) {
            if (is_ending_) return self->quit();
            self->delayed_send(self, join_retry, actors::tick{});
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
  paused_.insert(nodes_[*chosen].place);
  zombies_.push_back(nodes_[*chosen].agent);
  nodes_.erase(nodes_.begin() + static_cast<std::ptrdiff_t>(*chosen));
  return true;
}

bool sim_cluster::cut_off_node(node_role role, sim_network::way which,
                               std::chrono::milliseconds time) {
  const auto chosen = some_node(role);
  if (!chosen) return false;
  network_.cut_off(nodes_[*chosen].place, which, elapsed_ + time);
  return true;
}

bool sim_cluster::reset_link(node_role role) {
  const auto chosen = some_node(role);
  if (!chosen) return false;
  const auto& agent = nodes_[*chosen].agent;
  network_.drop(nodes_[*chosen].place);
  const auto tell = [](const auto& whom, const auto& of) {
    caf::anon_send<caf::message_priority::high>(
        caf::actor_cast<caf::actor>(whom),
        caf::down_msg{of.address(), caf::exit_reason::remote_link_unreachable});
  };
  tell(manager_, agent);
  tell(agent, manager_);
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
    if (paused_.contains(network_.place_of(id_of(job)))) continue;
    std::swap(jobs.front(), job);
    return true;
  }
  return false;
}

void sim_cluster::run(std::size_t max_messages, const bool* until) {
  for (std::size_t i = 0; i < max_messages && (until == nullptr || !*until); ++i) {
    do_what_launchers_do();
    network_.deliver(elapsed_);
    if (!scheduler_.has_job() || !bring_a_job_to_the_front()) return;
    auto* job = scheduler_.jobs.front();
    const caf::actor_id running = id_of(job);
    trace_ = detail::mix64(trace_ + running);
    if (auto* actor = dynamic_cast<caf::scheduled_actor*>(job)) network_.inspect(*actor, elapsed_);
    const auto place = network_.place_of(running);
    const auto before = system_.latest_actor_id();
    scheduler_.run_once();
    if (place != sim_network::control) {
      for (auto id = before + 1; id <= system_.latest_actor_id(); ++id)
        network_.settle(id, place);
    }
    ++num_messages_;
  }
}

void sim_cluster::advance(std::chrono::milliseconds time) {
  elapsed_ += time;
  scheduler_.advance_time(time);
}

void sim_cluster::pass(std::chrono::milliseconds time) {
  for (auto left = time; left.count() > 0; left -= deadlines::lease_renewal) {
    run(100'000);
    advance(deadlines::lease_renewal);
  }
  run(100'000);
}

void sim_cluster::settle_a_little(const bool* until) {
  const auto before = num_messages_;
  run(50, until);
  if (until != nullptr && *until) return;
  if (num_messages_ < before + 50) advance(std::chrono::milliseconds(50));
}

}  // namespace troupe::tests
