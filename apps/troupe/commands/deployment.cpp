// troupe deployment create|list|ledger|scale|sync|remove: models that are served.

#include <filesystem>
#include <sstream>

#include "apps/troupe/commands/all.hpp"
#include "config/deadlines.hpp"
#include "config/limits.hpp"

namespace troupe::apps {
namespace {

struct deployment_options {
  std::string name;
  std::string model;
  std::string checkpoint;
  std::string in_flight = "keep";
  std::uint32_t replicas = 1;
};

const char* name_of(replica_phase phase) {
  switch (phase) {
    case replica_phase::opening:
      return "opening";
    case replica_phase::catching_up:
      return "catching up";
    case replica_phase::serving:
      return "serving";
    case replica_phase::draining:
      return "draining";
  }
  return "unknown";
}

std::string text_of(const deployment_info& info) {
  std::ostringstream out;
  out << info.deployment.value << "  version " << info.version << "  replicas " << info.replicas
      << " of " << info.wanted_replicas << "  under way " << info.active_sequences << "  waiting "
      << info.waiting_requests << "  checkpoint "
      << (info.checkpoint.empty() ? "-" : info.checkpoint.value.substr(0, 12));
  for (const replica_info& place : info.places) {
    out << "\n  " << place.replica << "  " << name_of(place.phase) << "  node "
        << (place.node.empty() ? "-" : place.node.value) << "  version " << place.version
        << "  under way " << place.active_requests << "  answered " << place.answered_requests
        << "  restarts " << place.restarts;
  }
  return out.str();
}

boost::json::object object_of(const deployment_info& info) {
  boost::json::array places;
  for (const replica_info& place : info.places) {
    places.push_back(boost::json::object{{"replica", place.replica},
                                         {"node", place.node.value},
                                         {"phase", name_of(place.phase)},
                                         {"version", place.version},
                                         {"active_requests", place.active_requests},
                                         {"answered_requests", place.answered_requests},
                                         {"restarts", place.restarts}});
  }
  return {{"deployment", info.deployment.value},       {"version", info.version},
          {"checkpoint", info.checkpoint.value},       {"replicas", info.replicas},
          {"wanted_replicas", info.wanted_replicas},   {"active_requests", info.active_sequences},
          {"waiting_requests", info.waiting_requests}, {"logprob_gap_mean", info.logprob_gap_mean},
          {"logprob_gap_max", info.logprob_gap_max},   {"places", std::move(places)}};
}

void show(const command_context& context, const deployment_info& info) {
  context.answer(text_of(info), object_of(info));
}

result<void> create(const command_context& context, const deployment_options& wanted) {
  auto cluster = context.connect();
  if (!cluster) return fail(cluster.error());
  std::error_code problem;
  const std::string model = std::filesystem::absolute(wanted.model, problem).string();
  auto made = cluster->create_deployment({wanted.name, {model}, wanted.replicas});
  if (!made) return fail(made.error());
  const auto info = made->status();
  if (!info) return fail(info.error());
  show(context, *info);
  return {};
}

result<void> list(const command_context& context) {
  auto cluster = context.connect();
  if (!cluster) return fail(cluster.error());
  const auto now = cluster->status();
  if (!now) return fail(now.error());
  std::string text;
  boost::json::array all;
  for (const deployment_info& info : now->deployments) {
    text += (text.empty() ? "" : "\n") + text_of(info);
    all.push_back(object_of(info));
  }
  context.answer(text.empty() ? "none" : text, {{"deployments", std::move(all)}});
  return {};
}

result<void> ledger(const command_context& context, const deployment_options& wanted) {
  auto cluster = context.connect();
  if (!cluster) return fail(cluster.error());
  const auto lines = cluster->deployment_ledger({wanted.name});
  if (!lines) return fail(lines.error());
  std::string text;
  boost::json::array all;
  for (const ledger_entry& line : lines->entries) {
    std::ostringstream out;
    out << "replica " << line.replica << "  version " << line.version << "  "
        << line.checkpoint.value.substr(0, 12) << "  " << line.bytes << " bytes  staged "
        << line.stage_ms << " ms  paused " << line.pause_ms << " ms  " << line.outcome;
    text += (text.empty() ? "" : "\n") + out.str();
    all.push_back(boost::json::object{{"replica", line.replica},
                                      {"node", line.node.value},
                                      {"version", line.version},
                                      {"checkpoint", line.checkpoint.value},
                                      {"bytes", line.bytes},
                                      {"stage_ms", line.stage_ms},
                                      {"pause_ms", line.pause_ms},
                                      {"outcome", line.outcome},
                                      {"unix_time_ms", line.unix_time_ms}});
  }
  context.answer(text.empty() ? "none" : text, {{"lines", std::move(all)}});
  return {};
}

result<void> scale(const command_context& context, const deployment_options& wanted) {
  auto cluster = context.connect();
  if (!cluster) return fail(cluster.error());
  const auto info = cluster->scale_deployment({wanted.name}, wanted.replicas);
  if (!info) return fail(info.error());
  show(context, *info);
  return {};
}

result<void> sync(const command_context& context, const deployment_options& wanted) {
  auto cluster = context.connect();
  if (!cluster) return fail(cluster.error());
  const auto record = cluster->checkpoint(wanted.checkpoint);
  if (!record) return fail(record.error());
  auto served = cluster->find_deployment({wanted.name});
  if (!served) return fail(served.error());
  auto policy = in_flight_policy::keep_cache;
  if (wanted.in_flight == "recompute") policy = in_flight_policy::recompute_cache;
  if (wanted.in_flight == "finish") policy = in_flight_policy::finish_old;
  const auto done = served->sync(record->id, policy).get(deadlines::sync);
  if (!done) return fail(done.error());
  std::ostringstream text;
  text << "version " << done->version << " is live on " << done->replicas
       << " replicas: " << (done->was_delta ? "delta" : "whole") << ", " << done->bytes
       << " bytes, staged in " << done->stage_ms << " ms, paused " << done->pause_ms
       << " ms, logprob gap " << done->logprob_gap_mean;
  context.answer(text.str(), {{"version", done->version},
                              {"checkpoint", done->checkpoint.value},
                              {"replicas", done->replicas},
                              {"was_delta", done->was_delta},
                              {"bytes", done->bytes},
                              {"stage_ms", done->stage_ms},
                              {"pause_ms", done->pause_ms},
                              {"total_ms", done->total_ms},
                              {"logprob_gap_mean", done->logprob_gap_mean},
                              {"logprob_gap_max", done->logprob_gap_max}});
  return {};
}

result<void> remove(const command_context& context, const deployment_options& wanted) {
  auto cluster = context.connect();
  if (!cluster) return fail(cluster.error());
  if (auto ok = cluster->remove_deployment({wanted.name}); !ok) return ok;
  context.answer("removed " + wanted.name, {{"deployment", wanted.name}});
  return {};
}

void add_replicas(CLI::App& command, deployment_options& wanted) {
  command.add_option("--replicas", wanted.replicas, "how many samplers serve it")
      ->check(CLI::Range(1U, limits::replicas_max))
      ->capture_default_str();
}

}  // namespace

void add_deployment(CLI::App& program, command_context& context, command_action& chosen) {
  CLI::App* group = program.add_subcommand("deployment", "models that are served");
  group->require_subcommand(1);
  const auto wanted = std::make_shared<deployment_options>();
  CLI::App* creating = group->add_subcommand("create", "serve a Hugging Face directory");
  creating->add_option("name", wanted->name, "for people and programs")->required();
  creating->add_option("--model", wanted->model, "Hugging Face directory")
      ->required()
      ->check(CLI::ExistingDirectory);
  add_replicas(*creating, *wanted);
  set_action(*creating, context, chosen, [&context, wanted] { return create(context, *wanted); });
  CLI::App* listing = group->add_subcommand("list", "all, with their replicas");
  set_action(*listing, context, chosen, [&context] { return list(context); });
  CLI::App* lines = group->add_subcommand("ledger", "what its replicas loaded, and how it went");
  lines->add_option("name", wanted->name, "of the deployment")->required();
  set_action(*lines, context, chosen, [&context, wanted] { return ledger(context, *wanted); });
  CLI::App* scaling = group->add_subcommand("scale", "more replicas, or fewer");
  scaling->add_option("name", wanted->name, "of the deployment")->required();
  add_replicas(*scaling, *wanted);
  set_action(*scaling, context, chosen, [&context, wanted] { return scale(context, *wanted); });
  CLI::App* syncing = group->add_subcommand("sync", "serve a sampler checkpoint");
  syncing->add_option("name", wanted->name, "of the deployment")->required();
  syncing->add_option("checkpoint", wanted->checkpoint, checkpoint_help)->required();
  syncing->add_option("--in-flight", wanted->in_flight, "what becomes of answers under way")
      ->check(CLI::IsMember({"keep", "recompute", "finish"}))
      ->capture_default_str();
  set_action(*syncing, context, chosen, [&context, wanted] { return sync(context, *wanted); });
  CLI::App* removing = group->add_subcommand("remove", "stop serving it");
  removing->add_option("name", wanted->name, "of the deployment")->required();
  set_action(*removing, context, chosen, [&context, wanted] { return remove(context, *wanted); });
}

}  // namespace troupe::apps
