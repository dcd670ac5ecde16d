#include "tests/bench/training_ratio.hpp"

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <numeric>
#include <random>
#include <vector>

#include "tests/bench/recovery_stage.hpp"
#include "tests/bench/timing.hpp"

namespace troupe::bench {
namespace {

constexpr double window_s = 4;
constexpr double reference_s = 1;
constexpr double told_every_s = 30;
constexpr double warm_up_s = 2;
constexpr std::uint64_t never = 1'000'000;  ///< steps between snapshots

double mean(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) /
         static_cast<double>(std::max<std::size_t>(values.size(), 1));
}

/// What the run got done, and what its steps would have cost undisturbed.
struct progress_made {
  double steps = 0;
  double wall_ms = 0;
  double undisturbed_ms = 0;

  [[nodiscard]] double ratio() const { return wall_ms > 0 ? undisturbed_ms / wall_ms : 0; }
};

/// From the run's events.
struct losses {
  std::uint64_t recoveries = 0;
  std::uint64_t repeated_ops = 0;
  double recovering_ms = 0;
  std::uint64_t snapshots = 0;
  double snapshot_waits_ms = 0;

  void count(const std::vector<run_event>& events) {
    for (const run_event& event : events) {
      if (event.kind == run_event_kind::resumed) {
        ++recoveries;
        repeated_ops += event.ops_replayed;
        recovering_ms += 1000 * event.seconds;
      } else if (event.kind == run_event_kind::snapshot && event.seconds > 0) {
        ++snapshots;
        snapshot_waits_ms += number_after(event, "waited ");
      }
    }
  }
};

class measurement {
 public:
  measurement(const std::filesystem::path& programs, const ratio_options& wanted)
      : wanted_(wanted),
        stage_(programs, {}, 5),
        killed_(stage_.start("killed", 0)),
        calm_(stage_.start("calm", never)) {}

  boost::json::object run() {
    killed_.steps_for(warm_up_s);
    calm_.steps_for(warm_up_s);
    refer();
    // Without kills first: what snapshots cost, and how alike the two runs are.
    while (unkilled_.wall_ms < 1000 * calm_share() && !is_late())
      window(unkilled_, false);
    (void)killed_.new_events();
    while (total_.wall_ms < 60'000 * wanted_.minutes && !is_late()) {
      const bool is_due = total_.wall_ms >= 1000 * wanted_.kill_every_s * (num_kills_ + 0.5);
      window(total_, is_due);
      lost_.count(killed_.new_events());
      tell();
    }
    return summary();
  }

 private:
  [[nodiscard]] double calm_share() const { return std::min(30.0, 6 * wanted_.minutes); }
  [[nodiscard]] bool is_late() const {
    return ms_since(begun_) > 60'000 * (1.6 * wanted_.minutes + 2);
  }

  void refer() { references_.push_back(mean(calm_.steps_for(reference_s))); }

  /// After a kill it lasts until every process is back: their start costs the run, not the
  /// reference.
  void window(progress_made& out, bool kills) {
    const auto begun = steady::now();
    const auto first = killed_.num_steps();
    if (kills) stage_.kill_rank("killed", chance_());
    num_kills_ += kills ? 1 : 0;
    killed_.steps_for(window_s);
    while (kills && !stage_.is_whole())
      killed_.steps_for(reference_s);
    const double wall_ms = ms_since(begun);
    const double before = references_.back();
    refer();
    const auto steps = static_cast<double>(killed_.num_steps() - first);
    out.steps += steps;
    out.wall_ms += wall_ms;
    out.undisturbed_ms += steps * (before + references_.back()) / 2;
  }

  void tell() {
    if (ms_since(told_) < 1000 * told_every_s) return;
    told_ = steady::now();
    std::fprintf(stderr,
                 "a kill every %.0f s: %.1f of %.1f minutes, %.0f kills, ratio %.4f, without kills "
                 "%.4f\n",
                 wanted_.kill_every_s, total_.wall_ms / 60'000, wanted_.minutes, num_kills_,
                 total_.ratio(), unkilled_.ratio());
  }

  [[nodiscard]] boost::json::object summary() const {
    const auto [least, most] = std::minmax_element(references_.begin(), references_.end());
    const double recovering = lost_.recovering_ms / std::max(total_.wall_ms, 1.0);
    const double snapshots = lost_.snapshot_waits_ms / std::max(total_.wall_ms, 1.0);
    return {{"kill_every_s", wanted_.kill_every_s},
            {"minutes", total_.wall_ms / 60'000},
            {"kills", num_kills_},
            {"recoveries", lost_.recoveries},
            {"steps", total_.steps},
            {"effective_ratio", total_.ratio()},
            {"ratio_without_kills", unkilled_.ratio()},
            {"recovering_share", recovering},
            {"repeated_ops_share",
             static_cast<double>(lost_.repeated_ops) / std::max(2 * total_.steps, 1.0)},
            {"snapshots", lost_.snapshots},
            {"waiting_for_snapshots_share", snapshots},
            {"other_share", 1 - total_.ratio() - recovering - snapshots},
            {"reference_step_ms", mean(references_)},
            {"reference_step_ms_least", *least},
            {"reference_step_ms_most", *most}};
  }

  ratio_options wanted_;
  stage stage_;
  training_loop killed_;
  training_loop calm_;
  std::mt19937_64 chance_{1};
  std::vector<double> references_;  ///< mean step of the calm run around each window
  progress_made unkilled_;
  progress_made total_;
  losses lost_;
  double num_kills_ = 0;
  steady::time_point begun_ = steady::now();
  steady::time_point told_ = begun_;
};

}  // namespace

boost::json::object training_ratio(const std::filesystem::path& programs,
                                   const ratio_options& wanted) {
  return measurement(programs, wanted).run();
}

}  // namespace troupe::bench
