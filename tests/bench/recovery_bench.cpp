// recovery_bench [--kills N] [--minutes M] [--kill-every S]... [--json]: what kills cost a running
// loop. Starts clusters of real processes, trains on them, and kills: a rank with a spare node and
// without one, the control node, and ranks at a steady pace for some minutes. Tells how it stands
// on stderr.

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <boost/json.hpp>

#include "tests/bench/recovery_stage.hpp"
#include "tests/bench/timing.hpp"
#include "tests/bench/training_ratio.hpp"

using namespace troupe;

namespace {

using bench::number_after;
using bench::quantile;
using bench::stage;
using bench::training_loop;

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

kill_cost cost_of_pass(training_loop& loop) {
  kill_cost cost{loop.pass(), 0};
  for (const run_event& event : loop.new_events()) {
    if (event.kind != run_event_kind::resumed) continue;
    cost.replay_ms += 1000 * (event.seconds - number_after(event, "formed after "));
  }
  return cost;
}

boost::json::object rank_kills(const std::filesystem::path& programs, std::uint32_t num_trainers,
                               std::uint32_t num_kills) {
  stage on(programs, {}, num_trainers);
  training_loop loop = on.start("bench", 0);
  loop.steps_for(2);
  std::vector<kill_cost> costs;
  for (std::uint32_t i = 0; i < num_kills; ++i) {
    on.recover_fully(loop);
    (void)loop.new_events();
    on.kill_rank("bench", i);
    costs.push_back(cost_of_pass(loop));
  }
  return summary_of(costs);
}

/// A control node that dies sooner counts as one that cannot live, and is started ever later.
constexpr double healthy_s = 3;

boost::json::object control_kills(const std::filesystem::path& programs, std::uint32_t num_kills) {
  stage on(programs, {}, 3);
  training_loop loop = on.start("bench", 0);
  loop.steps_for(2);
  std::vector<kill_cost> costs;
  for (std::uint32_t i = 0; i < num_kills; ++i) {
    on.recover_fully(loop);
    loop.steps_for(healthy_s);
    (void)loop.new_events();
    on.kill_control();
    costs.push_back(cost_of_pass(loop));
  }
  return summary_of(costs);
}

/// How long ops wait for a snapshot, as a part of the time it takes to make it durable.
boost::json::object snapshot_blocking(const std::filesystem::path& programs,
                                      const bench::model_shape& shape, int num_snapshots) {
  constexpr std::uint64_t every_steps = 4;
  stage on(programs, shape, 2);
  training_loop loop = on.start("bench", every_steps);
  std::vector<double> steps;
  std::vector<run_event> taken;
  while (static_cast<int>(taken.size()) < num_snapshots) {
    for (std::uint64_t i = 0; i < every_steps; ++i)
      steps.push_back(loop.step());
    for (const run_event& event : loop.new_events()) {
      if (event.kind == run_event_kind::snapshot && event.seconds > 0) taken.push_back(event);
    }
  }
  double blocked_ms = 0;
  double saved_ms = 0;
  std::vector<double> shares;
  for (const run_event& event : taken) {
    const double waited_ms = number_after(event, "waited ");
    blocked_ms += waited_ms;
    saved_ms += 1000 * event.seconds;
    shares.push_back(waited_ms / (1000 * event.seconds));
  }
  const auto count = static_cast<double>(taken.size());
  return {{"snapshots", taken.size()},
          {"step_ms", quantile(steps, 0.5)},
          {"blocked_ms", blocked_ms / count},
          {"save_ms", saved_ms / count},
          {"blocked_share", blocked_ms / saved_ms},
          {"blocked_share_p50", quantile(shares, 0.5)},
          {"blocked_share_most", quantile(shares, 1)}};
}

void tell(const char* what) {
  std::fprintf(stderr, "%s\n", what);
}

void measure_kills(const std::filesystem::path& programs, std::uint32_t num_kills,
                   boost::json::object& out) {
  if (num_kills == 0) return;
  tell("kills of a rank, a spare node waits");
  out["rank_with_spare"] = rank_kills(programs, 3, num_kills);
  tell("kills of a rank, its process must start again");
  out["rank_without_spare"] = rank_kills(programs, 2, num_kills);
  tell("kills of the control node");
  out["control"] = control_kills(programs, num_kills);
}

void measure_snapshots(const std::filesystem::path& programs, int num_snapshots,
                       boost::json::object& out) {
  if (num_snapshots == 0) return;
  tell("snapshots of a small and of a larger model");
  out["snapshot_small"] = snapshot_blocking(programs, {256, 4, 4, 64}, num_snapshots);
  out["snapshot_larger"] = snapshot_blocking(programs, {512, 8, 4, 64}, num_snapshots);
}

}  // namespace

int main(int count, char** words) {
  CLI::App app("What kills cost a running loop.");
  std::uint32_t num_kills = 10;
  int num_snapshots = 10;
  double minutes = 0;
  std::vector<double> paces{60, 15};
  bool as_json = false;
  app.add_option("--kills", num_kills, "of each kind; 0: leave them out")->capture_default_str();
  app.add_option("--snapshots", num_snapshots, "of each model; 0: leave them out")
      ->check(CLI::Range(0, 1000))
      ->capture_default_str();
  app.add_option("--minutes", minutes, "of steady kills, at each pace; 0: leave it out")
      ->check(CLI::Range(0.0, 1440.0))
      ->capture_default_str();
  app.add_option("--kill-every", paces, "seconds; may be given several times")
      ->check(CLI::Range(5.0, 3600.0))
      ->capture_default_str();
  app.add_flag("--json", as_json);
  CLI11_PARSE(app, count, words);
  const auto programs = std::filesystem::read_symlink("/proc/self/exe").parent_path();
  boost::json::object out;
  measure_kills(programs, num_kills, out);
  measure_snapshots(programs, num_snapshots, out);
  for (const double pace : minutes > 0 ? paces : std::vector<double>()) {
    const std::string name = "kill_every_" + std::to_string(std::lround(pace)) + "_s";
    out[name] = bench::training_ratio(programs, {minutes, pace});
  }
  if (as_json) {
    std::printf("%s\n", boost::json::serialize(out).c_str());
    return 0;
  }
  for (const auto& [name, part] : out) {
    std::printf("%s\n", std::string(name).c_str());
    for (const auto& [what, value] : part.as_object())
      std::printf("  %-27s %s\n", std::string(what).c_str(), boost::json::serialize(value).c_str());
  }
  return 0;
}
