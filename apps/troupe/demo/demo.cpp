#include "apps/troupe/demo/demo.hpp"

#include <chrono>
#include <filesystem>
#include <sstream>

#include <signal.h>

#include "apps/loops/byte_tokenizer.hpp"
#include "apps/loops/grpo.hpp"
#include "apps/loops/sft.hpp"
#include "apps/loops/sft_data.hpp"
#include "apps/support/checkpoint_export.hpp"
#include "apps/support/seeded_model.hpp"
#include "apps/support/text_file.hpp"
#include "apps/troupe/local_cluster.hpp"
#include "config/deadlines.hpp"
#include "storage/open_store.hpp"

namespace troupe::apps {
namespace {

constexpr std::uint32_t hidden_size = 128;
constexpr std::uint32_t num_layers = 3;
constexpr std::uint64_t num_demonstrations = 8192;
constexpr std::uint32_t answer_tokens_max = 4;

class demo {
 public:
  demo(const demo_options& options, progress& shown)
      : options_(options), shown_(shown), start_(std::chrono::steady_clock::now()) {}

  result<demo_report> run();

 private:
  result<void> prepare_files();
  result<void> start_cluster();
  result<void> start_run();
  result<void> fine_tune();
  result<void> publish_base();
  result<void> reinforce();
  result<void> after_grpo_step(const loops::grpo_progress& now);
  result<void> kill_a_trainer();
  result<void> note_recovery();
  result<void> export_model();
  result<double> accuracy();

  const demo_options& options_;
  progress& shown_;
  std::chrono::steady_clock::time_point start_;
  demo_report report_;
  std::string model_;
  std::string rows_file_;
  std::unique_ptr<local_cluster> cluster_;
  std::optional<client::training_client> training_;
  std::optional<client::sampling_client> sampling_;
  checkpoint_id published_;
};

std::string percent(double share) {
  std::ostringstream out;
  out.precision(1);
  out << std::fixed << 100 * share << " %";
  return out.str();
}

std::string rounded(double value) {
  std::ostringstream out;
  out.precision(3);
  out << std::fixed << value;
  return out.str();
}

result<void> demo::prepare_files() {
  std::error_code problem;
  const std::string folder = std::filesystem::absolute(options_.folder, problem).string();
  std::filesystem::create_directories(folder, problem);
  model_ = folder + "/model";
  rows_file_ = folder + "/sft.jsonl";
  std::filesystem::remove_all(model_, problem);
  std::filesystem::remove_all(folder + "/trained", problem);
  if (auto ok =
          write_seeded_model(model_, byte_level_qwen3(hidden_size, num_layers), options_.seed);
      !ok) {
    return ok;
  }
  loops::arithmetic_task task(options_.seed, loops::task_split::train);
  std::string rows;
  for (std::uint64_t i = 0; i < num_demonstrations; ++i) {
    const loops::question asked = task.next();
    rows += boost::json::serialize(
        boost::json::object{{"prompt", asked.prompt}, {"completion", task.demonstration(asked)}});
    rows += '\n';
  }
  shown_.event("model and " + std::to_string(num_demonstrations) + " demonstrations in " + folder);
  shown_.event(
      "the task: the largest of four digits; demonstrations show only the form, any digit");
  return replace_text_file(rows_file_, rows);
}

result<void> demo::start_cluster() {
  auto folder = make_scratch_folder();
  if (!folder) return fail(folder.error());
  config::cluster_config cluster;
  cluster.name = "demo";
  cluster.data_folder = *folder;
  auto started = local_cluster::start(cluster, folder_lifetime::removed_at_end,
                                      [this](const std::string& text) { shown_.event(text); });
  if (!started) return fail(started.error());
  cluster_ = std::move(*started);
  shown_.event("cluster is up: 1 control node, 2 trainers, 1 sampler");
  return {};
}

result<void> demo::start_run() {
  create_run_request request;
  request.name = "demo";
  request.model.directory = model_;
  request.world_size = 2;
  request.seed = options_.seed;
  auto training = cluster_->service().create_training_run(request);
  if (!training) return fail(training.error());
  training_.emplace(std::move(*training));
  auto sampling = cluster_->service().create_deployment({"demo", request.model});
  if (!sampling) return fail(sampling.error());
  sampling_.emplace(std::move(*sampling));
  shown_.event("the run has 2 ranks, the deployment serves the untrained model");
  return {};
}

result<double> demo::accuracy() {
  loops::arithmetic_task task(options_.seed + 1'000'000, loops::task_split::held_out);
  std::vector<std::pair<loops::question, client::future<sample_reply>>> asked;
  for (std::uint64_t i = 0; i < options_.num_held_out; ++i) {
    sampling_params params;
    params.max_tokens = answer_tokens_max;
    params.seed = options_.seed * 7919 + i;
    params.stop_tokens = {'\n'};
    const loops::question next = task.next();
    asked.emplace_back(next, sampling_->sample(loops::encode_bytes(next.prompt), params, 1));
  }
  double right = 0;
  for (const auto& [each, answer] : asked) {
    const auto reply = answer.get(deadlines::sample);
    if (!reply) return fail(reply.error());
    for (const sampled_sequence& sequence : reply->sequences)
      right += loops::reward_of(each, loops::decode_bytes(sequence.tokens));
  }
  return right / static_cast<double>(options_.num_held_out);
}

result<void> demo::fine_tune() {
  const auto rows = loops::read_sft_file(rows_file_, loops::byte_vocabulary);
  if (!rows) return fail(rows.error());
  loops::sft_options sft;
  sft.steps = options_.sft_steps;
  sft.batch_size = 64;
  sft.learning_rate = 1e-3;
  sft.seed = options_.seed;
  return loops::run_sft(*training_, *rows, sft, [&](const loops::sft_progress& now) {
    const double loss = now.loss.value_or(0);
    report_.losses.push_back(loss);
    report_.weights_digest = to_hex(now.weights);
    shown_.update("sft ", now.step, sft.steps, "loss " + rounded(loss));
    return result<void>();
  });
}

result<void> demo::publish_base() {
  const auto base =
      training_->save_weights_for_sampler("after-sft", publish_kind::base).get(deadlines::op);
  if (!base) return fail(base.error());
  report_.base_bytes = base->bytes;
  published_ = base->checkpoint;
  const auto synced = sampling_->sync(base->checkpoint).get(deadlines::sync);
  if (!synced) return fail(synced.error());
  report_.sync_pause_ms = synced->pause_ms;
  shown_.event("base checkpoint " + base->checkpoint.value.substr(0, 12) + " of " +
               std::to_string(base->bytes) + " bytes is live after " + rounded(synced->total_ms) +
               " ms");
  return {};
}

result<void> demo::kill_a_trainer() {
  const auto status = cluster_->service().status();
  if (!status) return fail(status.error());
  for (const node_status& node : status->nodes) {
    if (node.role != node_role::trainer || node.hosting.empty()) continue;
    shown_.event("killing " + node.node.value + " (process " + std::to_string(node.process_id) +
                 ") with SIGKILL");
    ::kill(static_cast<pid_t>(node.process_id), SIGKILL);
    return {};
  }
  return fail(errc::internal, "no trainer hosts a rank");
}

result<void> demo::after_grpo_step(const loops::grpo_progress& now) {
  report_.rewards.push_back(now.reward);
  report_.weights_digest = to_hex(now.weights);
  published_ = now.published.checkpoint;
  if (now.published.is_delta) {
    report_.delta_bytes += now.published.bytes;
    ++report_.num_deltas;
  }
  report_.sync_pause_ms = std::max(report_.sync_pause_ms, now.sync.pause_ms);
  report_.sync_total_ms += now.sync.total_ms / static_cast<double>(options_.grpo_steps);
  shown_.update("grpo", now.step, options_.grpo_steps,
                "reward " + rounded(now.reward) + "  version " + std::to_string(now.sync.version) +
                    "  " + std::to_string(now.published.bytes) + " bytes  pause " +
                    rounded(now.sync.pause_ms) + " ms");
  // Between two snapshots, so that the recovery has operations to replay.
  const bool is_due = now.step == options_.grpo_steps / 2 + 5;
  if (is_due && options_.faults == fault_plan::kill_a_trainer) return kill_a_trainer();
  return {};
}

result<void> demo::reinforce() {
  loops::grpo_options grpo;
  grpo.steps = options_.grpo_steps;
  grpo.questions_per_step = 64;
  grpo.answers_per_question = 8;
  grpo.max_tokens = answer_tokens_max;
  grpo.learning_rate = 5e-4;
  grpo.seed = options_.seed;
  loops::arithmetic_task task(options_.seed + 1, loops::task_split::train);
  return loops::run_grpo(
      *training_, *sampling_, [&task] { return task.next(); }, loops::reward_of, grpo,
      [this](const loops::grpo_progress& now) { return after_grpo_step(now); });
}

result<void> demo::note_recovery() {
  const auto events = training_->events(0);
  if (!events) return fail(events.error());
  for (const run_event& event : *events) {
    if (event.kind != run_event_kind::resumed) continue;
    report_.recovered = true;
    report_.bit_exact = event.bit_exact;
    report_.recovery_s = event.seconds;
    report_.ops_replayed = event.ops_replayed;
    shown_.event("recovered in " + rounded(event.seconds) + " s, " +
                 std::to_string(event.ops_replayed) + " operations replayed, " +
                 (event.bit_exact ? "bit-exact" : "NOT bit-exact"));
  }
  if (!report_.recovered && options_.faults == fault_plan::kill_a_trainer) {
    return fail(errc::internal, "the killed trainer was never missed", "",
                "see the log of the control node");
  }
  return {};
}

result<void> demo::export_model() {
  const auto chain = cluster_->service().checkpoint_chain(published_);
  if (!chain) return fail(chain.error());
  auto blobs = storage::open_posix_blob_store(cluster_->service().storage_root());
  if (!blobs) return fail(blobs.error());
  std::error_code problem;
  const std::string target =
      std::filesystem::absolute(options_.folder + "/trained", problem).string();
  if (auto ok = export_checkpoint(**blobs, chain->records, target); !ok) return ok;
  shown_.event("the trained model is in " + target);
  return {};
}

result<demo_report> demo::run() {
  report_.seed = options_.seed;
  using phase = result<void> (demo::*)();
  struct measured_phase {
    phase act;
    double demo_report::*accuracy_after;
  };
  const measured_phase phases[] = {{&demo::prepare_files, nullptr},
                                   {&demo::start_cluster, nullptr},
                                   {&demo::start_run, &demo_report::accuracy_before},
                                   {&demo::fine_tune, nullptr},
                                   {&demo::publish_base, &demo_report::accuracy_after_sft},
                                   {&demo::reinforce, &demo_report::accuracy_after_rl},
                                   {&demo::note_recovery, nullptr},
                                   {&demo::export_model, nullptr}};
  for (const measured_phase& each : phases) {
    if (auto ok = (this->*each.act)(); !ok) return fail(ok.error());
    if (each.accuracy_after == nullptr) continue;
    const auto measured = accuracy();
    if (!measured) return fail(measured.error());
    report_.*each.accuracy_after = *measured;
    shown_.event("accuracy on held-out questions: " + percent(*measured));
  }
  if (report_.num_deltas > 0) report_.delta_bytes /= report_.num_deltas;
  report_.wall_s = std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  if (auto ok = write_report(report_, options_.folder); !ok) return fail(ok.error());
  return report_;
}

}  // namespace

result<demo_report> run_demo(const demo_options& options, progress& shown) {
  return demo(options, shown).run();
}

}  // namespace troupe::apps
