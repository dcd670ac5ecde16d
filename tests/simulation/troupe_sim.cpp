// troupe-sim: long runs of the cluster simulation, and the repetition of a single seed.

#include <cstdio>
#include <iostream>

#include <CLI/CLI.hpp>
#include <caf/all.hpp>

#include "actors/protocol/type_ids.hpp"
#include "tests/simulation/scenario.hpp"
#include "tests/simulation/workload.hpp"

using namespace troupe;
using namespace troupe::tests;

namespace {

struct sim_options {
  std::uint64_t first_seed = 1;
  std::uint64_t num_seeds = 100;
  std::uint32_t num_faults = 6;
  std::string workload = "mixed";
  std::string faults = "all";
};

struct tally {
  std::uint64_t num_broken = 0;
  std::uint64_t num_faults = 0;
  std::uint64_t num_recoveries = 0;
  double simulated_s = 0;
};

void add(tally& total, std::uint64_t seed, const sim_options& wanted, const verdict& seen) {
  for (const auto& broken : seen.broken) {
    std::printf("seed %llu: %s\n", static_cast<unsigned long long>(seed), broken.c_str());
    std::printf("  repeat: troupe-sim --first %llu --seeds 1 --workload %s --faults %s\n",
                static_cast<unsigned long long>(seed), wanted.workload.c_str(),
                wanted.faults.c_str());
  }
  total.num_broken += seen.broken.empty() ? 0 : 1;
  total.num_faults += seen.num_faults;
  total.num_recoveries += seen.num_recoveries;
  total.simulated_s += seen.simulated_s;
}

int run(const sim_options& wanted) {
  const auto faults = parse_faults(wanted.faults);
  const auto calm = calm_answers(wanted.workload);
  if (!faults || !calm) {
    std::fprintf(stderr, "%s\n", to_string(faults ? calm.error() : faults.error()).c_str());
    return 2;
  }
  tally total;
  std::uint64_t trace = 0;
  for (std::uint64_t seed = wanted.first_seed; seed < wanted.first_seed + wanted.num_seeds;
       ++seed) {
    const auto seen = run_scenario({seed, wanted.workload, *faults, wanted.num_faults}, *calm);
    trace = trace * 31 + seen.trace;
    add(total, seed, wanted, seen);
  }
  std::printf(
      "%llu seeds of %s: %llu faults, %llu recoveries, %llu seeds broken; %.0f simulated "
      "s; trace %016llx\n",
      static_cast<unsigned long long>(wanted.num_seeds), wanted.workload.c_str(),
      static_cast<unsigned long long>(total.num_faults),
      static_cast<unsigned long long>(total.num_recoveries),
      static_cast<unsigned long long>(total.num_broken), total.simulated_s,
      static_cast<unsigned long long>(trace));
  return total.num_broken == 0 ? 0 : 1;
}

}  // namespace

int main(int count, char** words) {
  caf::init_global_meta_objects<caf::id_block::troupe>();
  caf::core::init_global_meta_objects();
  CLI::App app("Simulated clusters under seeded faults. Exit status 1: an invariant broke.");
  sim_options wanted;
  std::string known;
  for (const fault each : all_faults())
    known += (known.empty() ? "" : ",") + std::string(to_string(each));
  app.add_option("--seeds", wanted.num_seeds, "how many");
  app.add_option("--first", wanted.first_seed, "the first of them");
  app.add_option("--workload", wanted.workload)->check(CLI::IsMember(workload_names()));
  app.add_option("--faults", wanted.faults, "all, or some of " + known);
  app.add_option("--faults-per-seed", wanted.num_faults);
  CLI11_PARSE(app, count, words);
  return run(wanted);
}
