// recovery_bench [--kills N] [--minutes M] [--json]: what kills cost a running loop. Starts a
// cluster of real processes, trains on it, and kills: a rank with a spare node and without one, the
// control node, and ranks at a steady pace for some minutes. All times are the client's own.

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <signal.h>

#include "apps/client/service_client.hpp"
#include "apps/support/cluster_endpoint.hpp"
#include "apps/troupe/launcher.hpp"
#include "config/deadlines.hpp"
#include "tests/bench/give_up.hpp"
#include "tests/bench/timing.hpp"

using namespace troupe;

namespace {

using bench::give_up;
using bench::ms_since;
using bench::need;
using bench::quantile;
using bench::steady;

struct model_shape {
  std::uint32_t hidden = 64;
  std::uint32_t layers = 2;
  std::size_t rows = 8;
  std::size_t row_tokens = 64;
};

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

/// Processes in a folder of their own, and a loop that trains on them.
class stage {
 public:
  stage(const std::filesystem::path& programs, const model_shape& shape, std::uint32_t num_trainers,
        std::uint64_t snapshot_every_steps)
      : shape_(shape) {
    if (::mkdtemp(folder_.data()) == nullptr) give_up("cannot make a folder in /tmp");
    const std::string make = (programs / "troupe").string() + " model create --hidden " +
                             std::to_string(shape.hidden) + " --layers " +
                             std::to_string(shape.layers) + " " + folder_ + "/model > /dev/null";
    if (std::system(make.c_str()) != 0) give_up("cannot make a model");
    config::cluster_config cluster;
    cluster.name = "bench";
    cluster.trainers.count = num_trainers;
    cluster.samplers.count = 0;
    cluster.snapshot_every_steps = snapshot_every_steps;
    num_nodes_ = num_trainers;
    processes_ = std::make_unique<apps::launcher>(
        apps::plan_cluster(cluster, folder_ + "/data", (programs / "troupe-node").string()),
        [](const std::string&) {});
    if (auto ok = processes_->start(); !ok) give_up(to_string(ok.error()));
    watcher_ = std::thread([this] { processes_->run(); });
    service_ = std::make_unique<client::service_client>(need(
        client::service_client::connect(need(apps::read_cluster_endpoint(folder_ + "/data")))));
    create_run_request wanted;
    wanted.name = "bench";
    wanted.model.directory = folder_ + "/model";
    wanted.world_size = 2;
    training_ =
        std::make_unique<client::training_client>(need(service_->create_training_run(wanted)));
  }

  ~stage() {
    training_.reset();
    service_.reset();
    processes_->request_stop();
    watcher_.join();
    processes_->stop();
    std::filesystem::remove_all(folder_);
  }

  /// One pass and one step; its time.
  double step() {
    const auto begun = steady::now();
    pass();
    need(training_->optim_step({}, std::to_string(++num_steps_)).get(deadlines::op));
    return ms_since(begun);
  }

  /// The first op after a kill: its time is what the loop feels.
  double pass() {
    const auto begun = steady::now();
    need(training_->forward_backward(make_batch(shape_, num_steps_), loss_fn::cross_entropy, {})
             .get(deadlines::op));
    return ms_since(begun);
  }

  std::vector<double> steps_for(double seconds) {
    std::vector<double> out;
    for (const auto begun = steady::now(); ms_since(begun) < 1000 * seconds;)
      out.push_back(step());
    return out;
  }

  void kill_rank(std::uint64_t choice) {
    const auto now = need(service_->status());
    std::vector<std::uint64_t> ranks;
    for (const node_status& node : now.nodes) {
      if (!node.hosting.empty()) ranks.push_back(node.process_id);
    }
    if (!ranks.empty()) ::kill(static_cast<pid_t>(ranks[choice % ranks.size()]), SIGKILL);
  }

  void kill_control() {
    const pid_t control = control_process(folder_ + "/data");
    if (control == 0) give_up("there is no control process");
    ::kill(control, SIGKILL);
  }

  /// Trains on until every node is back.
  void recover_fully() {
    for (bool is_whole = false; !is_whole;) {
      step();
      const auto now = service_->status();
      is_whole = now && now->nodes.size() == num_nodes_;
    }
  }

  /// Those since the last call; a control node that was started again counts anew.
  [[nodiscard]] std::vector<run_event> new_events() {
    auto out = need(training_->events(0));
    const std::uint64_t known = out.empty() || out.back().number < last_event_ ? 0 : last_event_;
    std::erase_if(out, [known](const run_event& event) { return event.number <= known; });
    if (!out.empty()) last_event_ = out.back().number;
    return out;
  }
  [[nodiscard]] std::uint64_t num_steps() const { return num_steps_; }

 private:
  model_shape shape_;
  std::string folder_ = "/tmp/troupe-recovery-XXXXXX";
  std::size_t num_nodes_ = 0;
  std::unique_ptr<apps::launcher> processes_;
  std::thread watcher_;
  std::unique_ptr<client::service_client> service_;
  std::unique_ptr<client::training_client> training_;
  std::uint64_t num_steps_ = 0;
  std::uint64_t last_event_ = 0;
};

/// The number that follows `name` in an event's detail; 0: it has none.
double number_after(const run_event& event, const std::string& name) {
  const auto at = event.detail.find(name);
  return at == std::string::npos ? 0
                                 : std::strtod(event.detail.c_str() + at + name.size(), nullptr);
}

/// What one kill cost the loop, and how much of it was repeating ops since the last snapshot.
struct kill_cost {
  double waited_ms = 0;
  double replay_ms = 0;
};

boost::json::object summary_of(const std::vector<kill_cost>& costs) {
  std::vector<double> waited;
  std::vector<double> without_replay;
  for (const kill_cost& cost : costs) {
    waited.push_back(cost.waited_ms);
    without_replay.push_back(cost.waited_ms - cost.replay_ms);
  }
  return {{"kills", costs.size()},
          {"p50_ms", quantile(waited, 0.5)},
          {"p99_ms", quantile(waited, 0.99)},
          {"without_replay_p50_ms", quantile(without_replay, 0.5)},
          {"without_replay_p99_ms", quantile(without_replay, 0.99)}};
}

kill_cost cost_of_pass(stage& on) {
  kill_cost cost{on.pass(), 0};
  for (const run_event& event : on.new_events()) {
    if (event.kind != run_event_kind::resumed) continue;
    cost.replay_ms += 1000 * (event.seconds - number_after(event, "formed after "));
  }
  return cost;
}

boost::json::object rank_kills(const std::filesystem::path& programs, std::uint32_t num_trainers,
                               std::uint32_t num_kills) {
  stage on(programs, {}, num_trainers, 0);
  on.steps_for(2);
  std::vector<kill_cost> costs;
  for (std::uint32_t i = 0; i < num_kills; ++i) {
    on.recover_fully();
    (void)on.new_events();
    on.kill_rank(i);
    costs.push_back(cost_of_pass(on));
  }
  return summary_of(costs);
}

/// A control node that dies sooner counts as one that cannot live, and is started ever later.
constexpr double healthy_s = 3;

boost::json::object control_kills(const std::filesystem::path& programs, std::uint32_t num_kills) {
  stage on(programs, {}, 3, 0);
  on.steps_for(2);
  std::vector<kill_cost> costs;
  for (std::uint32_t i = 0; i < num_kills; ++i) {
    on.recover_fully();
    on.steps_for(healthy_s);
    (void)on.new_events();
    on.kill_control();
    costs.push_back(cost_of_pass(on));
  }
  return summary_of(costs);
}

/// Committed steps x the median calm step / wall time, with a rank killed every `period_s`.
boost::json::object training_ratio(const std::filesystem::path& programs, double period_s,
                                   double minutes) {
  stage on(programs, {}, 3, 0);
  on.steps_for(2);
  const auto before = on.num_steps();
  const double calm_ms = quantile(on.steps_for(15), 0.5);
  const auto first = on.num_steps();
  const auto begun = steady::now();
  std::uint64_t num_kills = 0;
  std::uint64_t num_replayed = 0;
  double recovering_s = 0;
  const auto count_recoveries = [&] {
    for (const run_event& event : on.new_events()) {
      if (event.kind != run_event_kind::resumed) continue;
      num_replayed += event.ops_replayed;
      recovering_s += event.seconds;
    }
  };
  count_recoveries();
  while (ms_since(begun) < 60'000 * minutes) {
    on.step();
    if (ms_since(begun) < 1000 * period_s * (static_cast<double>(num_kills) + 0.5)) continue;
    on.kill_rank(num_kills++);
    on.step();
    count_recoveries();
  }
  const double wall_ms = ms_since(begun);
  const auto steps = static_cast<double>(on.num_steps() - first);
  return {{"period_s", period_s},
          {"minutes", minutes},
          {"kills", num_kills},
          {"steps", steps},
          {"calm_step_ms", calm_ms},
          {"calm_steps", first - before},
          {"effective_ratio", steps * calm_ms / wall_ms},
          {"recomputed_share", static_cast<double>(num_replayed) / (2 * steps)},
          {"recovering_s", recovering_s}};
}

/// How long ops wait for a snapshot, as a part of the time it takes to make it durable.
boost::json::object snapshot_blocking(const std::filesystem::path& programs) {
  stage on(programs, {256, 4, 4, 64}, 2, 4);
  for (int i = 0; i < 40; ++i)
    on.step();
  double blocked_ms = 0;
  double saved_ms = 0;
  std::uint64_t count = 0;
  for (const run_event& event : on.new_events()) {
    if (event.kind != run_event_kind::snapshot || event.seconds == 0) continue;
    blocked_ms += number_after(event, "waited ");
    saved_ms += 1000 * event.seconds;
    ++count;
  }
  return {{"snapshots", count},
          {"blocked_ms", blocked_ms / static_cast<double>(std::max<std::uint64_t>(count, 1))},
          {"save_ms", saved_ms / static_cast<double>(std::max<std::uint64_t>(count, 1))},
          {"blocked_share", saved_ms > 0 ? blocked_ms / saved_ms : 0}};
}

}  // namespace

int main(int count, char** words) {
  CLI::App app("What kills cost a running loop.");
  std::uint32_t num_kills = 10;
  double minutes = 0;
  bool as_json = false;
  app.add_option("--kills", num_kills, "of each kind");
  app.add_option("--minutes", minutes, "of steady kills, at each pace; 0: leave it out");
  app.add_flag("--json", as_json);
  CLI11_PARSE(app, count, words);
  const auto programs = std::filesystem::read_symlink("/proc/self/exe").parent_path();
  boost::json::object out;
  out["rank_with_spare"] = rank_kills(programs, 3, num_kills);
  out["rank_without_spare"] = rank_kills(programs, 2, num_kills);
  out["control"] = control_kills(programs, num_kills);
  out["snapshot"] = snapshot_blocking(programs);
  if (minutes > 0) {
    out["kill_every_60_s"] = training_ratio(programs, 60, minutes);
    out["kill_every_15_s"] = training_ratio(programs, 15, minutes);
  }
  if (as_json) {
    std::printf("%s\n", boost::json::serialize(out).c_str());
    return 0;
  }
  for (const auto& [name, part] : out) {
    std::printf("%s\n", std::string(name).c_str());
    for (const auto& [what, value] : part.as_object())
      std::printf("  %-18s %s\n", std::string(what).c_str(), boost::json::serialize(value).c_str());
  }
  return 0;
}
