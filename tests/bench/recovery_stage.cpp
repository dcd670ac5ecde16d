#include "tests/bench/recovery_stage.hpp"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <random>

#include <signal.h>

#include "apps/support/cluster_endpoint.hpp"
#include "tests/bench/give_up.hpp"
#include "tests/bench/timing.hpp"

namespace troupe::bench {
namespace {

std::vector<datum> make_batch(const model_shape& shape, std::uint64_t step) {
  std::mt19937_64 random(step);
  std::vector<datum> batch(shape.rows);
  for (datum& row : batch) {
    for (std::size_t i = 0; i < shape.row_tokens; ++i)
      row.tokens.push_back(static_cast<token_id>(random() % 256));
    row.target_tokens = row.tokens;
    row.weights.assign(shape.row_tokens, 1.0F);
  }
  return batch;
}

/// From the kernel's own list; 0: there is none.
pid_t control_process(const std::string& data_folder) {
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    std::ifstream file(entry.path() / "cmdline", std::ios::binary);
    const std::string words((std::istreambuf_iterator<char>(file)), {});
    const bool is_ours = words.find("--data-folder=" + data_folder + '\0') != std::string::npos;
    if (is_ours && words.find("--name=control") != std::string::npos) {
      return static_cast<pid_t>(std::strtol(entry.path().filename().c_str(), nullptr, 10));
    }
  }
  return 0;
}

}  // namespace

double training_loop::step() {
  const auto begun = steady::now();
  pass();
  need(training_.optim_step({}, std::to_string(++num_steps_)).get(answer_deadline));
  return ms_since(begun);
}

double training_loop::pass() {
  const auto begun = steady::now();
  need(training_.forward_backward(make_batch(shape_, num_steps_), loss_fn::cross_entropy, {})
           .get(answer_deadline));
  return ms_since(begun);
}

std::vector<double> training_loop::steps_for(double seconds) {
  std::vector<double> out;
  for (const auto begun = steady::now(); ms_since(begun) < 1000 * seconds;)
    out.push_back(step());
  return out;
}

std::vector<run_event> training_loop::new_events() {
  auto out = need(training_.events(0));
  const std::uint64_t known = out.empty() || out.back().number < last_event_ ? 0 : last_event_;
  std::erase_if(out, [known](const run_event& event) { return event.number <= known; });
  if (!out.empty()) last_event_ = out.back().number;
  return out;
}

stage::stage(const std::filesystem::path& programs, const model_shape& shape,
             std::uint32_t num_trainers)
    : shape_(shape), num_nodes_(num_trainers) {
  if (::mkdtemp(folder_.data()) == nullptr) give_up("cannot make a folder in /tmp");
  const std::string make = (programs / "troupe").string() + " model create --hidden " +
                           std::to_string(shape.hidden) + " --layers " +
                           std::to_string(shape.layers) + " " + folder_ + "/model > /dev/null";
  if (std::system(make.c_str()) != 0) give_up("cannot make a model");
  config::cluster_config cluster;
  cluster.name = "bench";
  cluster.trainers.count = num_trainers;
  cluster.samplers.count = 0;
  processes_ = std::make_unique<apps::launcher>(
      apps::plan_cluster(cluster, folder_ + "/data", (programs / "troupe-node").string()),
      [](const std::string&) {});
  if (auto ok = processes_->start(); !ok) give_up(to_string(ok.error()));
  watcher_ = std::thread([this] { processes_->run(); });
  service_ = std::make_unique<client::service_client>(
      need(client::service_client::connect(need(apps::read_cluster_endpoint(folder_ + "/data")))));
}

stage::~stage() {
  service_.reset();
  processes_->request_stop();
  watcher_.join();
  processes_->stop();
  std::filesystem::remove_all(folder_);
}

training_loop stage::start(const std::string& name, std::uint64_t snapshot_every_steps) {
  create_run_request wanted;
  wanted.name = name;
  wanted.model.directory = folder_ + "/model";
  wanted.world_size = 2;
  wanted.snapshot_every_steps = snapshot_every_steps;
  return {need(service_->create_training_run(wanted)), shape_};
}

void stage::kill_rank(const std::string& run, std::uint64_t chance) {
  const auto now = need(service_->status());
  std::vector<std::uint64_t> ranks;
  for (const node_status& node : now.nodes) {
    if (node.hosting == "run " + run) ranks.push_back(node.process_id);
  }
  if (ranks.empty()) give_up("run " + run + " has no ranks to kill");
  ::kill(static_cast<pid_t>(ranks[chance % ranks.size()]), SIGKILL);
}

void stage::kill_control() {
  const pid_t control = control_process(folder_ + "/data");
  if (control == 0) give_up("there is no control process");
  ::kill(control, SIGKILL);
}

bool stage::is_whole() {
  const auto now = service_->status();
  return now && now->nodes.size() == num_nodes_;
}

void stage::recover_fully(training_loop& loop) {
  do {
    loop.step();
  } while (!is_whole());
}

double number_after(const run_event& event, const std::string& name) {
  const auto at = event.detail.find(name);
  return at == std::string::npos ? 0
                                 : std::strtod(event.detail.c_str() + at + name.size(), nullptr);
}

}  // namespace troupe::bench
