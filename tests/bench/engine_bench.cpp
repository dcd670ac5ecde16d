// Speed and memory of training beside Hugging Face transformers: one-shot steps, two-phase steps
// beside the double pass they spare, and adapters beside all parameters. One JSON object; each
// comparison is an object with its ratio (more than 1 is better) and its goal. On stderr a row each
// when it is ready.
//
// A workload's model and batch are written once, and the engine and engine_baseline.py both load
// them. The first step of each is compared, and so is the loss after the steps: where they are
// further apart than rounding explains, the work was not the same, and the program fails.
//
// Every workload is measured in a process of its own, in turn with the baseline's, so that peaks of
// memory are its own and a busy machine slows both. Both take the same number of steps with the
// same number of threads, the first of which does not count. The baseline's best of everything
// counts: eager or sdpa, and at mixed lengths padded, one by one or packed; torch.compile is not
// tried.
//
// Two ranks, a process each, are measured with blocks gathered ahead and on demand.

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <boost/json.hpp>

#include "tests/bench/command_line.hpp"
#include "tests/bench/engine_comparison.hpp"
#include "tests/bench/engine_ranks.hpp"
#include "tests/bench/engine_trainings.hpp"
#include "tests/bench/engine_work.hpp"
#include "tests/bench/give_up.hpp"
#include "tests/support/scratch_folder.hpp"

namespace {

using namespace troupe;
using bench::give_up;
using bench::workload;
namespace json = boost::json;

/// Of geometric means over the workloads of equal lengths.
constexpr double fp32_mean_goal = 1.3;
constexpr double bf16_mean_goal = 2.0;

constexpr const char* explanation =
    "Each comparison has a `ratio`, above 1 where the engine is better, and its `goal`.\n"
    "  fp32, bf16_over_...: whole steps, AdamW included, beside the fastest that transformers "
    "does\n"
    "    with the same weights and tokens\n"
    "  outside_products_and_attention: share of a step outside matrix products, where attention\n"
    "    counts as a product, its softmax included\n"
    "  outside_products: the same share with all of attention outside, its products included\n"
    "  parity: how far the results of both are apart; beyond its goals the exit status is 1";

struct options {
  std::uint32_t threads = 2;
  std::uint32_t steps = 3;
  std::uint32_t rounds = 3;
  std::string python = TROUPE_BENCH_PYTHON;
  std::string workload_name;
  std::string part;    ///< "engine" or "ranks": only measured, in this process
  std::string folder;  ///< of that part
};

options read_options(int argc, char** argv) {
  options o;
  bench::command_line words("How fast training is, and how much memory it takes.");
  words.add("threads", o.threads, "of the engine and of the baseline");
  words.add("steps", o.steps, "of one round, after one that is not counted");
  words.add("rounds", o.rounds,
            "of the engine and of the baseline in turn; the best of all counts");
  words.add_baseline(o.python);
  words.add_text("workload", o.workload_name, "this one alone, of those whose rows are printed");
  words.add_text("part", o.part, "'engine' or 'ranks', for the processes a workload is made of");
  words.add_text("folder", o.folder, "what such a part works on");
  words.app().footer(explanation);
  words.parse(argc, argv);
  if (o.steps == 0 || o.rounds == 0) give_up("--steps and --rounds are at least 1");
  return o;
}

std::string quoted(const std::string& text) {
  return "'" + text + "'";
}

json::object output_of(const std::string& command) {
  std::unique_ptr<FILE, int (*)(FILE*)> pipe(::popen(command.c_str(), "r"), &::pclose);
  if (!pipe) give_up("cannot run " + command);
  std::string text;
  std::array<char, 4096> piece{};
  while (const std::size_t count = std::fread(piece.data(), 1, piece.size(), pipe.get()))
    text.append(piece.data(), count);
  const int status = ::pclose(pipe.release());
  json::error_code problem;
  const json::value value = json::parse(text, problem);
  if (status != 0 || problem || !value.is_object())
    give_up(command + " failed; what it printed stands above");
  return value.get_object();
}

/// Takes over what was quicker this time, and the least memory: what other work takes from a round,
/// it takes from neighbours alike.
void keep_best(json::object& best, const json::object& now) {
  for (const auto& [name, value] : now) {
    if (!best.contains(name)) {
      best[name] = value;
    } else if (value.is_number() && value.to_number<double>() < best[name].to_number<double>()) {
      best[name] = value;
    }
  }
}

json::object measure_part(const options& o) {
  if (o.part == "ranks") {
    const auto seconds = bench::measure_ranks(o.folder, o.steps);
    return {{"ahead_seconds", seconds.ahead},
            {"on_demand_seconds", seconds.on_demand},
            {"ahead_exchange_seconds", seconds.exchanges_ahead},
            {"on_demand_exchange_seconds", seconds.exchanges_on_demand}};
  }
  if (o.part != "engine") give_up("there is no part '" + o.part + "'");
  bench::work_files work(o.folder);
  return bench::measure_trainings(work, o.threads, o.steps, bench::peak_bytes());
}

json::object compare(const std::string& self, const workload& work, const std::string& folder,
                     const options& o) {
  bench::write_work(work, folder);
  const std::string counts =
      " --threads " + std::to_string(o.threads) + " --steps " + std::to_string(o.steps);
  const std::string engine = quoted(self) + " --folder " + quoted(folder) + counts + " --part ";
  const std::string baseline = quoted(o.python) + " " +
                               quoted(TROUPE_BENCH_FOLDER "/engine_baseline.py") + " " +
                               quoted(folder) + counts + " --layout ";
  std::vector<std::string> layouts{"padded"};
  if (work.is_mixed()) layouts.insert(layouts.end(), {"alone", "packed"});
  if (o.python.empty()) layouts.clear();
  bench::measurements measured;
  for (std::uint32_t round = 0; round < o.rounds; ++round) {
    keep_best(measured.engine, output_of(engine + "engine"));
    for (const std::string& layout : layouts)
      keep_best(measured.baseline[layout], output_of(baseline + layout));
    keep_best(measured.ranks, output_of(engine + "ranks"));
  }
  return bench::compare(work, measured);
}

}  // namespace

int main(int argc, char** argv) {
  const options o = read_options(argc, argv);
  if (!o.part.empty()) {
    std::printf("%s\n", json::serialize(measure_part(o)).c_str());
    return 0;
  }
  const auto workloads = o.workload_name.empty()
                             ? bench::measured_workloads()
                             : std::vector<workload>{bench::workload_named(o.workload_name)};
  // Static: goes with the program, also when that gives up.
  static const tests::scratch_folder scratch;
  json::array rows;
  int status = 0;
  for (const workload& work : workloads) {
    const std::string folder = scratch.path() + "/" + std::to_string(rows.size());
    std::filesystem::create_directory(folder);
    rows.push_back(compare(argv[0], work, folder, o));
    std::filesystem::remove_all(folder);
    const json::object& row = rows.back().get_object();
    // Workloads take minutes on a busy machine; what is measured is not lost with the rest.
    std::fprintf(stderr, "%s\n", json::serialize(row).c_str());
    const std::string missed = bench::missed_parity(row);
    if (missed.empty()) continue;
    std::fprintf(stderr,
                 "%s: the engine and transformers are apart in %s. Either computes something else, "
                 "so their times cannot be compared; run trainer_parity to see which.\n",
                 work.name.c_str(), missed.c_str());
    status = 1;
  }
  json::object report = bench::mean_ratio(rows, "fp32", fp32_mean_goal);
  report["name"] = "engine";
  report["threads"] = o.threads;
  report["bf16_over_fp32"] = bench::mean_ratio(rows, "bf16_over_fp32", bf16_mean_goal);
  report["rows"] = std::move(rows);
  std::printf("%s\n", json::serialize(report).c_str());
  return status;
}
