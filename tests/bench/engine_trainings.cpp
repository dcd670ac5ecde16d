#include "tests/bench/engine_trainings.hpp"

#include <array>
#include <chrono>
#include <fstream>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gpu/comm/thread_comm.hpp"
#include "gpu/make_engine.hpp"
#include "gpu/models/adapters.hpp"
#include "tests/bench/engine_ranks.hpp"
#include "tests/bench/give_up.hpp"

namespace troupe::bench {
namespace {

namespace json = boost::json;

/// Of steps in one call: the parts are those of the best one.
struct one_shot_steps {
  double seconds = std::numeric_limits<double>::infinity();
  double products = 0;
  double attention = 0;
  json::array losses;        ///< of all steps, each before its update
  double gradient_norm = 0;  ///< of the first
  json::array logprobs;      ///< of the first
};

class measured_trainer {
 public:
  measured_trainer(gpu::trainer_engine& trainer, const work_files& work, std::uint32_t steps)
      : trainer_(trainer), work_(work), steps_(steps) {}

  [[nodiscard]] one_shot_steps one_shot() const {
    one_shot_steps out;
    for (std::uint32_t number = 0; number <= steps_; ++number) {
      forward_result done;
      double gradient_norm = 0;
      const double taken = seconds_of([&] { done = one_shot_pass(); }, gradient_norm);
      out.losses.emplace_back(number_of(done.metrics, "loss:sum"));
      if (number == 0) {
        out.gradient_norm = gradient_norm;
        for (const auto& part : done.logprobs)
          out.logprobs.insert(out.logprobs.end(), part.begin(), part.end());
      } else if (taken < out.seconds) {
        out.seconds = taken;
        out.products = number_of(done.metrics, "product_seconds:max");
        out.attention = number_of(done.metrics, "attention_seconds:max");
      }
    }
    return out;
  }

  /// The best step of each kind, which take turns: what slows the machine for a while slows all.
  void measure_phases(json::object& out) const {
    const std::array<std::pair<const char*, std::function<void()>>, 3> kinds{
        {{"one_shot_in_turn_seconds", [this] { (void)one_shot_pass(); }},
         {"two_phase_seconds", [this] { two_phase_pass(); }},
         {"double_pass_seconds", [this] { double_pass(); }}}};
    for (std::uint32_t number = 0; number <= steps_; ++number)
      for (const auto& [name, pass] : kinds) {
        double ignored = 0;
        const double taken = seconds_of(pass, ignored);
        if (number == 0) continue;
        if (!out.contains(name) || taken < out[name].to_number<double>()) out[name] = taken;
      }
  }

 private:
  [[nodiscard]] double seconds_of(const std::function<void()>& pass, double& gradient_norm) const {
    const auto begin = std::chrono::steady_clock::now();
    pass();
    const auto stepped = need(trainer_.optim_step(work_.adam()));
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begin;
    gradient_norm = number_of(stepped.metrics, "grad_norm:max");
    return taken.count();
  }

  [[nodiscard]] forward_result one_shot_pass() const {
    return need(trainer_.forward_backward(2, work_.batch(), loss_fn::cross_entropy, {}));
  }

  /// The gradient of the same loss.
  void two_phase_pass() const {
    const auto forward = need(trainer_.forward(1, work_.batch(), retention::keep_for_backward));
    std::vector<std::vector<float>> gradients;
    for (const auto& part : forward.logprobs)
      gradients.emplace_back(part.size(), -1.0F);
    (void)need(trainer_.backward(1, gradients));
  }

  void double_pass() const {
    (void)need(trainer_.forward(1, work_.batch(), retention::discard));
    (void)one_shot_pass();
  }

  gpu::trainer_engine& trainer_;
  const work_files& work_;
  std::uint32_t steps_;
};

std::unique_ptr<gpu::trainer_engine> full_trainer(gpu::engine_factory& engines, work_files& work) {
  auto trainer =
      need(engines.make_trainer(work.model(), std::move(gpu::make_thread_comms(1).front())));
  need(trainer->load(work, optimizer_state::reset, 0));
  return trainer;
}

double adapter_seconds(gpu::engine_factory& engines, work_files& work, std::uint32_t steps) {
  const lora_config lora{.rank = 16, .train_unembed = false};
  const auto trainer = need(engines.make_adapter_trainer(
      {work.model()}, lora, std::move(gpu::make_thread_comms(1).front())));
  need(trainer->load_frozen(work));
  gpu::initial_adapters first(work.model(), lora);
  need(trainer->load(first, optimizer_state::reset, 0));
  return measured_trainer(*trainer, work, steps).one_shot().seconds;
}

}  // namespace

double peak_bytes() {
  std::ifstream status("/proc/self/status");
  std::string word;
  while (status >> word)
    if (word == "VmHWM:" && status >> word) return std::stod(word) * 1024;
  return 0;
}

json::object measure_trainings(work_files& work, std::uint32_t threads, std::uint32_t steps,
                               double idle_bytes) {
  gpu::engine_options options;
  options.num_threads = threads;
  const auto engines = need(gpu::make_engine_factory(options));
  auto trainer = full_trainer(*engines, work);
  const measured_trainer full(*trainer, work, steps);
  one_shot_steps whole = full.one_shot();
  json::object out;
  out["one_shot_seconds"] = whole.seconds;
  out["outside_products_and_attention"] = 1 - (whole.products + whole.attention) / whole.seconds;
  out["outside_products"] = 1 - whole.products / whole.seconds;
  out["working_bytes"] = peak_bytes() - idle_bytes;
  json::object told{{"losses", std::move(whole.losses)},
                    {"gradient_norm", whole.gradient_norm},
                    {"logprobs", std::move(whole.logprobs)}};
  full.measure_phases(out);
  trainer.reset();
  out["adapters_seconds"] = adapter_seconds(*engines, work, steps);

  options.compute = gpu::compute_type::bf16;
  if (const auto rounding_engines = gpu::make_engine_factory(options)) {
    trainer = full_trainer(**rounding_engines, work);
    one_shot_steps rounded = measured_trainer(*trainer, work, steps).one_shot();
    out["bf16_seconds"] = rounded.seconds;
    told["bf16_logprobs"] = std::move(rounded.logprobs);
  }
  out["told"] = std::move(told);
  return out;
}

}  // namespace troupe::bench
