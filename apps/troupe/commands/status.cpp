// troupe status: nodes, runs and deployments of a running cluster.

#include <sstream>

#include "apps/troupe/commands/all.hpp"

namespace troupe::apps {
namespace {

const char* name_of(run_phase phase) {
  switch (phase) {
    case run_phase::starting:
      return "starting";
    case run_phase::ready:
      return "ready";
    case run_phase::recovering:
      return "recovering";
    case run_phase::failed:
      return "failed";
    case run_phase::rolled_back:
      return "rolled_back";
    case run_phase::parked:
      return "parked";
  }
  return "unknown";
}

std::string to_text(const cluster_status& now) {
  std::ostringstream out;
  out << "cluster " << now.cluster << "  data " << now.storage_root << "\n\nnodes";
  for (const node_status& node : now.nodes) {
    out << "\n  " << node.node.value << "  " << to_string(node.role) << "  pid " << node.process_id
        << "  seen " << node.last_seen_ms << " ms ago  "
        << (node.hosting.empty() ? "idle" : node.hosting);
    if (node.slots > 1 && !node.hosting.empty()) {
      out << "  (" << node.free_slots << " of " << node.slots << " slots free)";
    }
  }
  out << "\nruns";
  for (const run_info& run : now.runs) {
    out << "\n  " << run.run.value << "  " << name_of(run.phase) << "  step " << run.step
        << "  ranks " << run.world_size << "  op " << run.committed_seq_id << "  weights "
        << to_hex(run.weights);
    if (!run.detail.empty()) out << "  " << run.detail;
  }
  out << "\ndeployments";
  for (const deployment_info& each : now.deployments) {
    out << "\n  " << each.deployment.value << "  version " << each.version << "  replicas "
        << each.replicas << "  checkpoint "
        << (each.checkpoint.empty() ? "-" : each.checkpoint.value.substr(0, 12));
  }
  return out.str();
}

boost::json::object to_object(const cluster_status& now) {
  boost::json::array nodes;
  for (const node_status& node : now.nodes) {
    nodes.push_back(boost::json::object{{"node", node.node.value},
                                        {"role", std::string(to_string(node.role))},
                                        {"process_id", node.process_id},
                                        {"last_seen_ms", node.last_seen_ms},
                                        {"hosting", node.hosting},
                                        {"slots", node.slots},
                                        {"free_slots", node.free_slots}});
  }
  boost::json::array runs;
  for (const run_info& run : now.runs) {
    runs.push_back(boost::json::object{{"run", run.run.value},
                                       {"phase", name_of(run.phase)},
                                       {"step", run.step},
                                       {"world_size", run.world_size},
                                       {"committed_seq_id", run.committed_seq_id},
                                       {"weights", to_hex(run.weights)},
                                       {"cursor", run.cursor},
                                       {"detail", run.detail}});
  }
  boost::json::array deployments;
  for (const deployment_info& each : now.deployments) {
    deployments.push_back(boost::json::object{{"deployment", each.deployment.value},
                                              {"version", each.version},
                                              {"replicas", each.replicas},
                                              {"checkpoint", each.checkpoint.value}});
  }
  return {{"cluster", now.cluster},
          {"storage_root", now.storage_root},
          {"nodes", std::move(nodes)},
          {"runs", std::move(runs)},
          {"deployments", std::move(deployments)}};
}

}  // namespace

void add_status(CLI::App& program, command_context& context, command_action& chosen) {
  CLI::App* command = program.add_subcommand("status", "show a running cluster");
  set_action(*command, context, chosen, [&context]() -> result<void> {
    auto cluster = context.connect();
    if (!cluster) return fail(cluster.error());
    const auto now = cluster->status();
    if (!now) return fail(now.error());
    context.answer(to_text(*now), to_object(*now));
    return {};
  });
}

}  // namespace troupe::apps
