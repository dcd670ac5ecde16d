#include "tests/bench/engine_comparison.hpp"

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <limits>
#include <numeric>

#include "tests/bench/give_up.hpp"

namespace troupe::bench {
namespace {

namespace json = boost::json;

/// Least ratios.
constexpr double fp32_goal = 1.15;
constexpr double bf16_goal = 2.0;  ///< where the processor has products of 16 bits
constexpr double autocast_goal = 1.2;
constexpr double padding_goal = 2.0;
constexpr double memory_goal = 1 / 0.6;
constexpr double two_phase_goal = 1 / 1.15;
/// With the forward done twice it is 8 units of work in place of 6.
constexpr double double_pass_goal = 1.25;
constexpr double adapters_goal = 1.0;
constexpr double ahead_goal = 0.95;
constexpr double rounding_goal = 1.0;

/// Most of what is not wanted.
constexpr double outside_goal = 0.15;
constexpr double parity_goal = 1e-4;
constexpr double logprobs_goal = 1e-5;

double number(const json::object& from, const std::string& name) {
  const json::value* value = from.if_contains(name);
  if (value == nullptr) give_up("nothing measured " + name);
  return value->to_number<double>();
}

/// The least of some numbers over all layouts, and where it was found.
struct best_baseline {
  double value = std::numeric_limits<double>::infinity();
  std::string where;

  best_baseline(const measurements& measured, std::initializer_list<const char*> names) {
    for (const auto& [layout, numbers] : measured.baseline)
      for (const char* name : names)
        if (const double found = number(numbers, name); found < value) {
          value = found;
          where = layout + " " + name;
        }
  }
};

json::object faster(double seconds, const best_baseline& baseline, double goal) {
  return {{"seconds", seconds},
          {"baseline_seconds", baseline.value},
          {"baseline", baseline.where},
          {"ratio", baseline.value / seconds},
          {"goal", goal}};
}

const json::array& told(const json::object& from, const char* name) {
  return from.at("told").at(name).as_array();
}

/// The length of the difference over that of `reference`.
double difference(const json::array& ours, const json::array& reference) {
  if (ours.size() != reference.size() || reference.empty())
    give_up("the engine and its baseline computed different numbers of logprobs");
  double apart = 0;
  double whole = 0;
  for (std::size_t i = 0; i < ours.size(); ++i) {
    const double expected = reference[i].to_number<double>();
    apart += std::pow(ours[i].to_number<double>() - expected, 2);
    whole += expected * expected;
  }
  return std::sqrt(apart / whole);
}

double difference(double ours, double reference) {
  return std::abs(ours - reference) / std::abs(reference);
}

/// Of the worst layout: all of them do the engine's work. NaN is the worst.
class worst {
 public:
  void see(double value) {
    if (!(value <= value_)) value_ = value;
  }
  [[nodiscard]] json::object judged(double goal) const {
    return {{"difference", value_}, {"goal_at_most", goal}};
  }

 private:
  double value_ = 0;
};

json::object parity(const measurements& measured) {
  worst loss;
  worst later_loss;
  worst gradient;
  worst logprobs;
  const json::object& ours = measured.engine.at("told").as_object();
  const json::array& our_losses = told(measured.engine, "losses");
  for (const auto& [layout, numbers] : measured.baseline) {
    const json::array& losses = told(numbers, "losses");
    if (losses.size() != our_losses.size()) give_up("the baseline did other steps: " + layout);
    loss.see(
        difference(our_losses.front().to_number<double>(), losses.front().to_number<double>()));
    later_loss.see(
        difference(our_losses.back().to_number<double>(), losses.back().to_number<double>()));
    gradient.see(difference(number(ours, "gradient_norm"),
                            number(numbers.at("told").as_object(), "gradient_norm")));
    logprobs.see(difference(told(measured.engine, "logprobs"), told(numbers, "logprobs")));
  }
  return {{"steps", our_losses.size() - 1},
          {"first_loss", loss.judged(parity_goal)},
          {"gradient_norm", gradient.judged(parity_goal)},
          {"logprobs", logprobs.judged(logprobs_goal)},
          {"loss_after_steps", later_loss.judged(parity_goal)}};
}

/// What rounding cost either side: distances from transformers' logprobs in fp32.
json::object rounding(const measurements& measured) {
  double autocast = std::numeric_limits<double>::infinity();
  double engine = 0;
  for (const auto& [layout, numbers] : measured.baseline) {
    const json::array& exact = told(numbers, "logprobs");
    autocast = std::min(autocast, difference(told(numbers, "bf16_logprobs"), exact));
    engine = std::max(engine, difference(told(measured.engine, "bf16_logprobs"), exact));
  }
  return {{"logprobs_difference", engine},
          {"baseline_logprobs_difference", autocast},
          {"ratio", autocast / engine},
          {"goal", rounding_goal}};
}

void compare_with_itself(const measurements& measured, json::object& row) {
  const json::object& engine = measured.engine;
  const json::object& ranks = measured.ranks;
  const double in_turn = number(engine, "one_shot_in_turn_seconds");
  const double two_phase = number(engine, "two_phase_seconds");
  const double double_pass = number(engine, "double_pass_seconds");
  const double one_shot = number(engine, "one_shot_seconds");
  const double adapters = number(engine, "adapters_seconds");
  row["one_shot_over_two_phase"] = json::object{{"two_phase_seconds", two_phase},
                                                {"one_shot_seconds", in_turn},
                                                {"ratio", in_turn / two_phase},
                                                {"goal", two_phase_goal}};
  row["double_pass_over_two_phase"] = json::object{{"two_phase_seconds", two_phase},
                                                   {"double_pass_seconds", double_pass},
                                                   {"ratio", double_pass / two_phase},
                                                   {"goal", double_pass_goal}};
  row["full_over_adapters"] =
      json::object{{"seconds", adapters}, {"ratio", one_shot / adapters}, {"goal", adapters_goal}};
  json::object ahead = ranks;
  ahead["ratio"] = number(ranks, "on_demand_seconds") / number(ranks, "ahead_seconds");
  ahead["goal"] = ahead_goal;
  row["on_demand_over_ahead"] = std::move(ahead);
  row["outside_products_and_attention"] = json::object{
      {"share", number(engine, "outside_products_and_attention")}, {"goal_at_most", outside_goal}};
  row["outside_products"] = json::object{{"share", number(engine, "outside_products")}};
}

void compare_with_baseline(const workload& work, const measurements& measured, json::object& row) {
  const json::object& engine = measured.engine;
  const double one_shot = number(engine, "one_shot_seconds");
  const best_baseline fp32(measured, {"sdpa_seconds", "eager_seconds"});
  row["fp32"] = faster(one_shot, fp32, fp32_goal);
  if (work.is_mixed()) {
    const measurements with_padding{{}, {}, {{"padded", measured.baseline.at("padded")}}};
    row["fp32_over_padded"] = faster(
        one_shot, best_baseline(with_padding, {"sdpa_seconds", "eager_seconds"}), padding_goal);
  }
  if (engine.contains("bf16_seconds")) {
    const double bf16 = number(engine, "bf16_seconds");
    row["bf16_over_fp32"] = faster(bf16, fp32, bf16_goal);
    row["bf16_over_autocast"] =
        faster(bf16, best_baseline(measured, {"autocast_sdpa_seconds", "autocast_eager_seconds"}),
               autocast_goal);
    row["bf16_rounding"] = rounding(measured);
  }
  const best_baseline memory(measured, {"working_bytes"});
  const double bytes = number(engine, "working_bytes");
  row["memory"] = json::object{{"bytes", bytes},
                               {"baseline_bytes", memory.value},
                               {"baseline", memory.where},
                               {"ratio", memory.value / bytes},
                               {"goal", memory_goal}};
  row["parity"] = parity(measured);
}

}  // namespace

json::object compare(const workload& work, const measurements& measured) {
  const std::size_t tokens =
      std::accumulate(work.lengths.begin(), work.lengths.end(), std::size_t{0});
  const double seconds = number(measured.engine, "one_shot_seconds");
  json::object row{{"workload", work.name},
                   {"tokens", tokens},
                   {"mixed_lengths", work.is_mixed()},
                   {"one_shot_seconds", seconds},
                   {"tokens_per_second", static_cast<double>(tokens) / seconds}};
  compare_with_itself(measured, row);
  if (!measured.baseline.empty()) compare_with_baseline(work, measured, row);
  return row;
}

std::string missed_parity(const json::object& row) {
  const json::value* parts = row.if_contains("parity");
  if (parts == nullptr) return {};
  std::string missed;
  for (const auto& [name, part] : parts->as_object()) {
    if (!part.is_object()) continue;
    const double apart = number(part.as_object(), "difference");
    const double goal = number(part.as_object(), "goal_at_most");
    if (apart <= goal) continue;
    missed += (missed.empty() ? "" : ", ") + std::string(name) + " by " +
              json::serialize(json::value(apart)) + " (at most " +
              json::serialize(json::value(goal)) + ")";
  }
  return missed;
}

json::object mean_ratio(const json::array& rows, const std::string& comparison, double goal) {
  double logarithms = 0;
  double count = 0;
  for (const json::value& value : rows) {
    const json::object& row = value.as_object();
    if (row.at("mixed_lengths").as_bool() || !row.contains(comparison)) continue;
    logarithms += std::log(number(row.at(comparison).as_object(), "ratio"));
    ++count;
  }
  if (count == 0) return {};
  return {{"ratio", std::exp(logarithms / count)}, {"goal", goal}};
}

}  // namespace troupe::bench
