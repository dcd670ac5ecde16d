#include "apps/troupe/launcher.hpp"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <thread>

#include <poll.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "config/deadlines.hpp"

namespace troupe::apps {
namespace {

constexpr std::chrono::milliseconds first_pause{100};
constexpr std::chrono::milliseconds longest_pause{5000};
/// A process that lived this long is healthy: its deaths are counted anew.
constexpr std::chrono::seconds healthy_after{2};

sigset_t ending_signals() {
  sigset_t out;
  sigemptyset(&out);
  sigaddset(&out, SIGINT);
  sigaddset(&out, SIGTERM);
  return out;
}

process_plan plan_node(const std::string& role, const std::string& name,
                       const std::string& data_folder, const std::string& program,
                       std::uint32_t threads) {
  return {name,
          program,
          {"--role=" + role, "--name=" + name, "--data-folder=" + data_folder,
           "--threads=" + std::to_string(threads)},
          data_folder + "/log/" + name + ".log"};
}

process_plan plan_worker(const std::string& role, std::uint32_t index,
                         const config::process_group& group, const std::string& data_folder,
                         const std::string& program) {
  process_plan plan = plan_node(role, role + "-" + std::to_string(index), data_folder, program,
                                threads_of(group, std::thread::hardware_concurrency()));
  plan.arguments.push_back("--share-index=" + std::to_string(index));
  plan.arguments.push_back("--share-count=" + std::to_string(group.count));
  const bool is_near = group.numa == config::memory_choice::near;
  plan.arguments.push_back(is_near ? "--numa=near" : "--numa=any");
  return plan;
}

/// What the process said last: nearly always why it ended.
std::string last_line_of(const std::string& file) {
  std::ifstream log(file);
  std::string last;
  for (std::string line; std::getline(log, line);) {
    if (!line.empty()) last = std::move(line);
  }
  constexpr std::size_t shown_max = 400;
  return last.substr(0, shown_max);
}

result<std::string> find_beside(const std::string& program) {
  std::error_code problem;
  const auto own = std::filesystem::read_symlink("/proc/self/exe", problem);
  const std::string path = (own.parent_path() / program).string();
  if (problem || !std::filesystem::exists(path, problem)) {
    return fail(errc::not_found, "there is no " + path, "it was not built with this program",
                "build the target " + program);
  }
  return path;
}

}  // namespace

std::uint32_t threads_of(const config::process_group& group, std::uint32_t num_cores) {
  if (group.threads > 0) return group.threads;
  const std::uint32_t share = num_cores / std::max(group.count, 1U);
  return std::clamp(share, 1U, limits::node_threads_max);
}

std::vector<process_plan> plan_cluster(const config::cluster_config& cluster,
                                       const std::string& data_folder,
                                       const std::string& node_program) {
  std::vector<process_plan> plans;
  process_plan control = plan_node("control", "control", data_folder, node_program, 1);
  control.arguments.push_back("--cluster=" + cluster.name);
  control.arguments.push_back("--host=" + cluster.host);
  control.arguments.push_back("--port=" + std::to_string(cluster.port));
  control.arguments.push_back("--snapshot-every-steps=" +
                              std::to_string(cluster.snapshot_every_steps));
  control.arguments.push_back("--park-idle-runs-after-s=" +
                              std::to_string(cluster.park_idle_runs_after_s));
  plans.push_back(std::move(control));
  for (std::uint32_t i = 0; i < cluster.trainers.count; ++i) {
    plans.push_back(plan_worker("trainer", i, cluster.trainers, data_folder, node_program));
    plans.back().arguments.push_back("--slots=" + std::to_string(cluster.trainers.slots));
    const bool is_bf16 = cluster.trainers.compute == config::product_type::bf16;
    plans.back().arguments.push_back(is_bf16 ? "--compute=bf16" : "--compute=fp32");
    plans.back().arguments.push_back("--kept-activations-mib=" +
                                     std::to_string(cluster.trainers.kept_activations_mib));
    const std::string gpu = cluster.trainers.device == "cpu" ? "" : ":" + std::to_string(i);
    plans.back().arguments.push_back("--device=" + cluster.trainers.device + gpu);
  }
  for (std::uint32_t i = 0; i < cluster.samplers.count; ++i)
    plans.push_back(plan_worker("sampler", i, cluster.samplers, data_folder, node_program));
  return plans;
}

process_plan plan_gateway(const config::cluster_config& cluster, const std::string& data_folder,
                          const std::string& gateway_program) {
  const config::gateway_config& gateway = cluster.gateway;
  std::string lora = "adapters";
  if (gateway.lora == config::lora_mode::full_parameter) lora = "full-parameter";
  if (gateway.lora == config::lora_mode::refuse) lora = "refuse";
  process_plan out{"gateway",
                   gateway_program,
                   {"--data-folder=" + data_folder, "--host=" + gateway.host,
                    "--port=" + std::to_string(gateway.port),
                    "--ranks=" + std::to_string(gateway.ranks), "--lora=" + lora},
                   data_folder + "/log/gateway.log"};
  const config::key_quota& quota = gateway.per_key;
  out.arguments.push_back("--models-per-key=" + std::to_string(quota.models));
  out.arguments.push_back("--requests-per-second=" + std::to_string(quota.requests_per_second));
  out.arguments.push_back("--held-bytes-per-key=" + std::to_string(quota.held_bytes));
  if (!gateway.tls_certificate.empty()) {
    out.arguments.push_back("--tls-certificate=" + gateway.tls_certificate);
  }
  if (!gateway.tls_key.empty()) out.arguments.push_back("--tls-key=" + gateway.tls_key);
  for (const config::named_model& model : cluster.models) {
    out.arguments.push_back("--model=" + model.name + "=" + model.directory);
  }
  return out;
}

std::chrono::milliseconds restart_pause(std::uint32_t deaths) {
  const std::uint32_t doublings = std::min(deaths > 0 ? deaths - 1 : 0, 10U);
  return std::min(first_pause * (1 << doublings), longest_pause);
}

result<std::string> find_node_program() {
  return find_beside("troupe-node");
}

result<std::string> find_gateway_program() {
  return find_beside("troupe-gateway");
}

void take_signals() {
  const sigset_t signals = ending_signals();
  ::pthread_sigmask(SIG_BLOCK, &signals, nullptr);
}

launcher::launcher(std::vector<process_plan> plans, event_listener listener)
    : listener_(std::move(listener)) {
  for (process_plan& plan : plans)
    members_.push_back({std::move(plan), std::nullopt, 0, {}, std::nullopt});
  const sigset_t signals = ending_signals();
  stop_event_ = ::eventfd(0, EFD_CLOEXEC);
  signals_ = ::signalfd(-1, &signals, SFD_CLOEXEC);
}

launcher::~launcher() {
  stop();
  ::close(stop_event_);
  ::close(signals_);
}

result<void> launcher::start_member(member& which) {
  std::error_code problem;
  std::filesystem::create_directories(std::filesystem::path(which.plan.log_file).parent_path(),
                                      problem);
  if (problem) {
    return fail(errc::storage, "cannot make the folder of " + which.plan.log_file,
                problem.message(), "choose a data folder that is writable");
  }
  auto started = child_process::start(which.plan);
  if (!started) return fail(started.error());
  which.process.emplace(std::move(*started));
  which.started = std::chrono::steady_clock::now();
  which.restart_at.reset();
  return {};
}

result<void> launcher::start() {
  // Others need the address and keys that the control node writes.
  if (auto ok = start_member(members_.front()); !ok) return ok;
  if (auto ok = members_.front().process->wait_ready(deadlines::node_start); !ok) return ok;
  for (std::size_t i = 1; i < members_.size(); ++i) {
    if (auto ok = start_member(members_[i]); !ok) return ok;
  }
  for (std::size_t i = 1; i < members_.size(); ++i) {
    if (auto ok = members_[i].process->wait_ready(deadlines::node_start); !ok) return ok;
  }
  return {};
}

void launcher::member_ended(member& which, bool is_control) {
  const int status = which.process->reap(std::chrono::milliseconds(0));
  which.process.reset();
  if (status == 0) {
    cluster_ended_ = cluster_ended_ || is_control;
    return;
  }
  const auto now = std::chrono::steady_clock::now();
  if (now - which.started > healthy_after) which.deaths = 0;
  which.restart_at = now + restart_pause(++which.deaths);
  listener_(which.plan.name + " ended with status " + std::to_string(status) +
            "; starting it again (log: " + which.plan.log_file + ")\n  " +
            last_line_of(which.plan.log_file));
}

void launcher::restart_due() {
  const auto now = std::chrono::steady_clock::now();
  for (member& which : members_) {
    if (!which.restart_at || *which.restart_at > now) continue;
    if (const auto ok = start_member(which); !ok) {
      which.restart_at = now + restart_pause(++which.deaths);
      listener_("cannot start " + which.plan.name + ": " + to_string(ok.error()));
    }
  }
}

int launcher::poll_timeout_ms() const {
  const auto now = std::chrono::steady_clock::now();
  std::optional<std::chrono::milliseconds> nearest;
  for (const member& which : members_) {
    if (!which.restart_at) continue;
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(*which.restart_at - now);
    const auto wait = std::max(left + std::chrono::milliseconds(1), std::chrono::milliseconds(0));
    if (!nearest || wait < *nearest) nearest = wait;
  }
  return nearest ? static_cast<int>(nearest->count()) : -1;
}

launch_end launcher::run() {
  for (;;) {
    std::vector<pollfd> watched{{stop_event_, POLLIN, 0}, {signals_, POLLIN, 0}};
    std::vector<member*> owners;
    for (member& which : members_) {
      if (!which.process) continue;
      watched.push_back({which.process->end_descriptor(), POLLIN, 0});
      owners.push_back(&which);
    }
    ::poll(watched.data(), watched.size(), poll_timeout_ms());
    if (watched[0].revents != 0) return launch_end::asked;
    if (watched[1].revents != 0) return launch_end::interrupted;
    for (std::size_t i = 0; i < owners.size(); ++i) {
      if (watched[i + 2].revents != 0) member_ended(*owners[i], owners[i] == &members_.front());
    }
    if (cluster_ended_) return launch_end::cluster_ended;
    restart_due();
  }
}

void launcher::request_stop() const {
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(stop_event_, &one, sizeof one);
}

void launcher::stop() {
  const auto end = std::chrono::steady_clock::now() + deadlines::shutdown;
  for (auto which = members_.rbegin(); which != members_.rend(); ++which) {
    which->restart_at.reset();
    if (which->process && which != members_.rend() - 1) which->process->ask_to_leave();
  }
  for (auto which = members_.rbegin(); which != members_.rend(); ++which) {
    if (!which->process) continue;
    // The control node closes the store, so it leaves when nobody needs it any more.
    if (which == members_.rend() - 1) which->process->ask_to_leave();
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
        end - std::chrono::steady_clock::now());
    which->process->reap(std::max(left, std::chrono::milliseconds(1000)));
    which->process.reset();
  }
}

}  // namespace troupe::apps
