// troupe score: logprobs of every token of every row, from a cluster of its own that ends with it.

#include <algorithm>

#include "apps/loops/sft_data.hpp"
#include "apps/support/model_directory.hpp"
#include "apps/troupe/commands/all.hpp"
#include "apps/troupe/local_cluster.hpp"
#include "config/deadlines.hpp"

namespace troupe::apps {
namespace {

struct score_options {
  std::string model;
  std::string data;
  std::uint32_t ranks = 1;
  std::size_t batch_size = 16;
};

struct scores {
  std::vector<std::vector<float>> logprobs;
  double weighted_loss = 0;
  double weight = 0;
};

result<scores> score_rows(client::training_client& training, const std::vector<datum>& rows,
                          std::size_t batch_size) {
  scores out;
  for (std::size_t first = 0; first < rows.size(); first += batch_size) {
    const std::size_t last = std::min(first + batch_size, rows.size());
    const std::vector<datum> batch(rows.begin() + static_cast<std::ptrdiff_t>(first),
                                   rows.begin() + static_cast<std::ptrdiff_t>(last));
    auto reply = training.forward(batch).get(deadlines::op);
    if (!reply) return fail(reply.error());
    for (std::size_t i = 0; i < batch.size() && i < reply->logprobs.size(); ++i) {
      for (std::size_t t = 0; t < batch[i].weights.size(); ++t) {
        out.weighted_loss -= double{batch[i].weights[t]} * double{reply->logprobs[i][t]};
        out.weight += double{batch[i].weights[t]};
      }
      out.logprobs.push_back(std::move(reply->logprobs[i]));
    }
  }
  return out;
}

void show(const command_context& context, const scores& found) {
  boost::json::array rows;
  for (const std::vector<float>& logprobs : found.logprobs) {
    boost::json::array values;
    for (const float value : logprobs)
      values.push_back(double{value});
    rows.push_back(boost::json::object{{"logprobs", std::move(values)}});
  }
  const double loss = found.weighted_loss / std::max(found.weight, 1e-9);
  context.answer(std::to_string(found.logprobs.size()) + " rows, " + std::to_string(loss) +
                     " nats per weighted token",
                 {{"rows", std::move(rows)}, {"loss", loss}});
}

result<void> score(const command_context& context, const score_options& wanted) {
  const auto model = open_model_directory(wanted.model);
  if (!model) return fail(model.error());
  const auto rows = loops::read_sft_file(wanted.data, model->config.vocab_size);
  if (!rows) return fail(rows.error());
  config::cluster_config cluster;
  auto folder = make_scratch_folder();
  if (!folder) return fail(folder.error());
  cluster.data_folder = *folder;
  cluster.trainers.count = wanted.ranks;
  cluster.samplers.count = 0;
  progress shown(stderr, context.progress_form());
  auto running =
      local_cluster::start(cluster, folder_lifetime::removed_at_end, [](const std::string&) {});
  if (!running) return fail(running.error());
  create_run_request request;
  request.name = "score";
  request.model.directory = model->path;
  request.world_size = wanted.ranks;
  auto training = (*running)->service().create_training_run(request);
  if (!training) return fail(training.error());
  const auto found = score_rows(*training, *rows, wanted.batch_size);
  if (!found) return fail(found.error());
  show(context, *found);
  return {};
}

}  // namespace

void add_score(CLI::App& program, command_context& context, command_action& chosen) {
  CLI::App* command = program.add_subcommand("score", "per-token logprobs of the rows of a file");
  const auto wanted = std::make_shared<score_options>();
  command->add_option("--model", wanted->model, "Hugging Face directory")->required();
  command->add_option("--data", wanted->data, "JSON lines")->required();
  command->add_option("--ranks", wanted->ranks, "trainers that share the work")
      ->check(CLI::Range(1, 64))
      ->capture_default_str();
  command->add_option("--batch-size", wanted->batch_size, "rows of a pass")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  set_action(*command, context, chosen, [&context, wanted] { return score(context, *wanted); });
}

}  // namespace troupe::apps
