// How soon the weights of a step are sampled from, on a cluster of real processes: from the end of
// optim_step, over saving the weights and the sync, to the first token of the new version. The
// demo's model. The baseline, in the same run, publishes every step as a base.
// Prints one JSON object.

#include <cstdio>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include <boost/json.hpp>

#include "apps/client/service_client.hpp"
#include "apps/support/seeded_model.hpp"
#include "apps/troupe/local_cluster.hpp"
#include "config/deadlines.hpp"
#include "tests/bench/command_line.hpp"
#include "tests/bench/give_up.hpp"
#include "tests/bench/timing.hpp"

namespace {

using namespace troupe;
using bench::ms_since;
using bench::need;
using bench::quantile;
using bench::steady;

constexpr std::uint32_t hidden_size = 128;
constexpr std::uint32_t num_layers = 3;
constexpr double first_token_goal_ms = 250;

struct loop {
  client::training_client training;
  client::sampling_client sampling;
  std::uint64_t num_steps = 0;

  void train() {
    datum row;
    for (std::uint64_t i = 0; i < 64; ++i)
      row.tokens.push_back(static_cast<token_id>((i * 7 + num_steps) % 256));
    row.target_tokens = row.tokens;
    row.weights.assign(row.tokens.size(), 1.0F);
    need(training.forward_backward({row}, loss_fn::cross_entropy, {}).get(deadlines::op));
    adam_params adam;
    adam.learning_rate = 1e-6;
    need(training.optim_step(adam, std::to_string(++num_steps)).get(deadlines::op));
  }

  /// One step, and the time from its end to the first token of its weights.
  double step(publish_kind kind) {
    train();
    const auto begun = steady::now();
    const auto saved = need(training.save_weights_for_sampler({}, kind).get(deadlines::op));
    const auto synced =
        need(sampling.sync(saved.checkpoint, in_flight_policy::keep_cache).get(deadlines::sync));
    sampling_params params;
    params.max_tokens = 1;
    const auto sampled = need(sampling.sample({1, 2, 3}, params, 1).get(deadlines::sample));
    if (sampled.sequences.at(0).last_version != synced.version) std::exit(1);
    return ms_since(begun);
  }
};

boost::json::object measure(client::service_client& service, const std::string& model,
                            std::uint32_t num_syncs) {
  create_run_request run;
  run.name = "bench";
  run.model.directory = model;
  create_deployment_request deployment;
  deployment.name = "bench";
  deployment.model.directory = model;
  loop work{need(service.create_training_run(run)), need(service.create_deployment(deployment))};
  work.step(publish_kind::base);
  std::vector<double> by_delta;
  std::vector<double> by_base;
  for (std::uint32_t i = 0; i < num_syncs; ++i)
    by_delta.push_back(work.step(publish_kind::automatic));
  for (std::uint32_t i = 0; i < num_syncs; ++i)
    by_base.push_back(work.step(publish_kind::base));
  const double p50 = quantile(by_delta, 0.5);
  return {{"syncs", num_syncs},
          {"step_to_first_token_ms_p50", p50},
          {"step_to_first_token_ms_p99", quantile(by_delta, 0.99)},
          {"by_base_ms_p50", quantile(by_base, 0.5)},
          {"ratio", quantile(by_base, 0.5) / p50},
          {"goals", boost::json::object{{"step_to_first_token_ms_p50", first_token_goal_ms}}}};
}

}  // namespace

int main(int argc, char** argv) {
  std::uint32_t num_syncs = 40;
  bench::command_line words("How soon the weights of a step are sampled from.");
  words.add("syncs", num_syncs, "of each kind");
  words.parse(argc, argv);
  config::cluster_config cluster;
  cluster.name = "bench";
  cluster.trainers.count = 1;
  cluster.data_folder = need(apps::make_scratch_folder());
  const auto processes = need(apps::local_cluster::start(
      cluster, apps::folder_lifetime::removed_at_end, [](const std::string&) {}));
  const std::string model = cluster.data_folder + "/model";
  need(apps::write_seeded_model(model, apps::byte_level_qwen3(hidden_size, num_layers), 1));
  std::printf("%s\n",
              boost::json::serialize(measure(processes->service(), model, num_syncs)).c_str());
  return 0;
}
