// troupe run sft|grpo: the worked loops on a running cluster, a model and data of one's own.

#include "apps/loops/grpo.hpp"
#include "apps/loops/question_data.hpp"
#include "apps/loops/sft.hpp"
#include "apps/loops/sft_data.hpp"
#include "apps/support/model_directory.hpp"
#include "apps/troupe/commands/all.hpp"
#include "config/deadlines.hpp"

namespace troupe::apps {
namespace {

enum class beginning : std::uint8_t { fresh, where_it_stood };

struct run_options {
  create_run_request request;
  beginning begin = beginning::fresh;
  std::string data;
  loops::sft_options sft;
  loops::grpo_options grpo;
};

/// Keeps the result, gives the nodes back and tells where the result is.
result<void> finish(const command_context& context, client::training_client& training,
                    boost::json::object summary) {
  const auto saved = training.save_state("final").get(deadlines::op);
  if (!saved) return fail(saved.error());
  if (auto parked = training.park(); !parked) return fail(parked.error());
  const std::string& run = training.info().run.value;
  summary["run"] = run;
  summary["step"] = saved->step;
  summary["checkpoint"] = saved->checkpoint.value;
  context.answer("run " + run + " is at step " + std::to_string(saved->step) + ", checkpoint " +
                     saved->checkpoint.value,
                 summary);
  return {};
}

/// A run begins when it has its nodes; until then nothing else would show on the terminal.
void tell_of_wait(const command_context& context, client::service_client& cluster,
                  const create_run_request& wanted) {
  const auto status = cluster.status();
  if (!status) return;
  std::size_t trainers = 0;
  std::size_t idle = 0;
  for (const node_status& node : status->nodes) {
    if (node.role != node_role::trainer) continue;
    ++trainers;
    if (node.free_slots == node.slots) ++idle;
  }
  if (idle >= wanted.world_size) return;
  progress(stderr, context.progress_form())
      .event("the run needs " + std::to_string(wanted.world_size) +
             " idle trainer nodes, the cluster has " + std::to_string(idle) + " of " +
             std::to_string(trainers) + "; waiting up to " +
             std::to_string(deadlines::capacity.count()) + " s for more");
}

result<client::training_client> create_run(const command_context& context,
                                           client::service_client& cluster,
                                           const create_run_request& wanted) {
  tell_of_wait(context, cluster, wanted);
  return cluster.create_training_run(wanted);
}

/// The named run once more, if there is one: a loop that was killed goes on with it.
result<client::training_client> take_run(const command_context& context,
                                         client::service_client& cluster,
                                         const run_options& wanted) {
  if (wanted.begin == beginning::where_it_stood) {
    if (wanted.request.name.empty()) {
      return fail(errc::invalid_argument, "there is no run to go on with", "it has no name here",
                  "give the --name of the first start");
    }
    auto known = cluster.attach_training_run(run_id{wanted.request.name});
    if (known || known.error().code != errc::not_found) return known;
  }
  return create_run(context, cluster, wanted.request);
}

result<void> run_sft(const command_context& context, run_options& wanted) {
  auto model = open_model_directory(wanted.request.model.directory);
  if (!model) return fail(model.error());
  wanted.request.model.directory = std::move(model->path);
  const auto rows = loops::read_sft_file(wanted.data, model->config.vocab_size);
  if (!rows) return fail(rows.error());
  auto cluster = context.connect();
  if (!cluster) return fail(cluster.error());
  auto training = take_run(context, *cluster, wanted);
  if (!training) return fail(training.error());
  progress shown(stderr, context.progress_form());
  boost::json::object summary;
  const auto done = loops::run_sft(
      *training, *rows, wanted.sft, [&](const loops::sft_progress& now) -> result<void> {
        const std::string loss = now.loss ? "loss " + std::to_string(*now.loss) : "";
        shown.update("sft", now.step, wanted.sft.steps, loss);
        if (now.loss) summary["loss"] = *now.loss;
        summary["weights_digest"] = to_hex(now.weights);
        return {};
      });
  if (!done) return done;
  return finish(context, *training, std::move(summary));
}

result<loops::question_source> questions_of(const run_options& wanted) {
  if (wanted.data.empty()) {
    return loops::question_source(
        [task = loops::arithmetic_task(wanted.grpo.seed, loops::task_split::train)]() mutable {
          return task.next();
        });
  }
  auto rows = loops::read_question_file(wanted.data);
  if (!rows) return fail(rows.error());
  return loops::question_source([rows = std::move(*rows), next = std::size_t{0}]() mutable {
    return rows[next++ % rows.size()];
  });
}

result<void> run_grpo(const command_context& context, run_options& wanted) {
  auto model = open_model_directory(wanted.request.model.directory);
  if (!model) return fail(model.error());
  wanted.request.model.directory = std::move(model->path);
  const auto questions = questions_of(wanted);
  if (!questions) return fail(questions.error());
  auto cluster = context.connect();
  if (!cluster) return fail(cluster.error());
  auto training = create_run(context, *cluster, wanted.request);
  if (!training) return fail(training.error());
  auto sampling = cluster->create_deployment({training->info().run.value, wanted.request.model});
  if (!sampling) return fail(sampling.error());
  progress shown(stderr, context.progress_form());
  boost::json::object summary;
  const auto done = loops::run_grpo(*training, *sampling, *questions, loops::reward_of, wanted.grpo,
                                    [&](const loops::grpo_progress& now) -> result<void> {
                                      shown.update("grpo", now.step, wanted.grpo.steps,
                                                   "reward " + std::to_string(now.reward));
                                      summary["reward"] = now.reward;
                                      summary["weights_digest"] = to_hex(now.weights);
                                      return {};
                                    });
  if (!done) return done;
  if (auto ok = cluster->remove_deployment({training->info().run.value}); !ok) return ok;
  return finish(context, *training, std::move(summary));
}

std::string_view name_of(run_event_kind kind) {
  switch (kind) {
    case run_event_kind::started:
      return "started";
    case run_event_kind::shard_lost:
      return "shard_lost";
    case run_event_kind::recovering:
      return "recovering";
    case run_event_kind::resumed:
      return "resumed";
    case run_event_kind::snapshot:
      return "snapshot";
    case run_event_kind::failed:
      return "failed";
    case run_event_kind::parked:
      return "parked";
    case run_event_kind::quarantined:
      return "quarantined";
    case run_event_kind::rolled_back:
      return "rolled_back";
    case run_event_kind::acknowledged:
      return "acknowledged";
    case run_event_kind::leaving:
      return "leaving";
  }
  return "unknown";
}

result<void> show_events(const command_context& context, const std::string& run) {
  auto cluster = context.connect();
  if (!cluster) return fail(cluster.error());
  const auto events = cluster->run_events({run});
  if (!events) return fail(events.error());
  std::string lines;
  boost::json::array all;
  for (const run_event& e : *events) {
    const std::string kind(name_of(e.kind));
    lines += std::to_string(e.number) + "  op " + std::to_string(e.seq_id) + "  " + kind;
    if (e.kind == run_event_kind::resumed) {
      lines += "  " + std::to_string(e.ops_replayed) + " ops replayed in " +
               std::to_string(e.seconds) + " s" + (e.bit_exact ? ", bit-exact" : ", NOT bit-exact");
    }
    if (e.kind == run_event_kind::rolled_back) {
      lines += "  to step " + std::to_string(e.to_step) + ", op " + std::to_string(e.to_seq_id);
    }
    lines += (e.detail.empty() ? "" : "  " + e.detail) + "\n";
    all.push_back(boost::json::object{{"number", e.number},
                                      {"unix_time_ms", e.unix_time_ms},
                                      {"kind", kind},
                                      {"seq_id", e.seq_id},
                                      {"ops_replayed", e.ops_replayed},
                                      {"seconds", e.seconds},
                                      {"bit_exact", e.bit_exact},
                                      {"detail", e.detail},
                                      {"to_seq_id", e.to_seq_id},
                                      {"to_step", e.to_step},
                                      {"cursor", e.cursor}});
  }
  if (!lines.empty()) lines.pop_back();
  context.answer(lines, {{"events", std::move(all)}});
  return {};
}

result<void> acknowledge(const command_context& context, const std::string& run) {
  auto cluster = context.connect();
  if (!cluster) return fail(cluster.error());
  const auto now = cluster->acknowledge_rollback({run});
  if (!now) return fail(now.error());
  context.answer("run " + run + " goes on from step " + std::to_string(now->step),
                 {{"run", run}, {"step", now->step}, {"cursor", now->cursor}});
  return {};
}

void add_common(CLI::App& command, run_options& wanted) {
  command.add_option("--model", wanted.request.model.directory, "Hugging Face directory")
      ->required();
  command.add_option("--name", wanted.request.name, "of the run; none: one is made up");
  command.add_option("--ranks", wanted.request.world_size, "trainers that share the work")
      ->check(CLI::Range(1, 64))
      ->capture_default_str();
  command
      .add_option("--shard-size", wanted.request.shard_size,
                  "ranks that share one copy of the state; none: all of them")
      ->check(CLI::Range(1, 64));
}

}  // namespace

void add_run(CLI::App& program, command_context& context, command_action& chosen) {
  CLI::App* group = program.add_subcommand("run", "train on a running cluster");
  group->require_subcommand(1);
  const auto wanted = std::make_shared<run_options>();
  CLI::App* sft = group->add_subcommand("sft", "supervised fine-tuning");
  add_common(*sft, *wanted);
  sft->add_option("--data", wanted->data, "JSON lines: see README")->required();
  sft->add_option("--steps", wanted->sft.steps, "of the optimizer")->capture_default_str();
  sft->add_option("--batch-size", wanted->sft.batch_size, "rows of a step")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  sft->add_option("--learning-rate", wanted->sft.learning_rate, "of AdamW")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  sft->add_option("--seed", wanted->sft.seed, "of the order of rows")->capture_default_str();
  sft->add_flag_callback(
      "--continue", [wanted] { wanted->begin = beginning::where_it_stood; },
      "go on with the run of that name, if there is one, with the same options as before");
  set_action(*sft, context, chosen, [&context, wanted] { return run_sft(context, *wanted); });
  CLI::App* grpo = group->add_subcommand("grpo", "reinforcement learning, byte-level models");
  add_common(*grpo, *wanted);
  grpo->add_option("--data", wanted->data, "rows {\"prompt\",\"answer\"}; none: built-in task");
  grpo->add_option("--steps", wanted->grpo.steps, "of the optimizer")->capture_default_str();
  grpo->add_option("--questions", wanted->grpo.questions_per_step, "of a step")
      ->check(CLI::Range(1, 512))
      ->capture_default_str();
  grpo->add_option("--answers", wanted->grpo.answers_per_question, "to each question")
      ->check(CLI::Range(2, 256))
      ->capture_default_str();
  grpo->add_option("--max-tokens", wanted->grpo.max_tokens, "of an answer")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  grpo->add_option("--learning-rate", wanted->grpo.learning_rate, "of AdamW")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  grpo->add_option("--seed", wanted->grpo.seed, "of questions and answers")->capture_default_str();
  set_action(*grpo, context, chosen, [&context, wanted] { return run_grpo(context, *wanted); });
  CLI::App* events = group->add_subcommand("events", "what happened to a run");
  events->add_option("run", wanted->request.name, "its name")->required();
  set_action(*events, context, chosen,
             [&context, wanted] { return show_events(context, wanted->request.name); });
  CLI::App* known = group->add_subcommand("acknowledge", "let a rolled back run go on");
  known->add_option("run", wanted->request.name, "its name")->required();
  set_action(*known, context, chosen,
             [&context, wanted] { return acknowledge(context, wanted->request.name); });
}

}  // namespace troupe::apps
