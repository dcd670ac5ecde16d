// troupe up: runs a cluster in the foreground until Ctrl-C or `troupe down`.

#include <filesystem>

#include "apps/support/cluster_endpoint.hpp"
#include "apps/troupe/commands/all.hpp"
#include "apps/troupe/launcher.hpp"
#include "config/cluster_config.hpp"

namespace troupe::apps {
namespace {

struct up_options {
  std::string config_file;
};

result<void> up(const command_context& context, const up_options& wanted, bool folder_given) {
  config::cluster_config cluster;
  if (!wanted.config_file.empty()) {
    auto read = config::read_cluster_config(wanted.config_file);
    if (!read) return fail(read.error());
    cluster = std::move(*read);
  }
  if (folder_given) cluster.data_folder = context.data_folder;
  const auto program = find_node_program();
  if (!program) return fail(program.error());
  std::error_code problem;
  const std::string root = std::filesystem::absolute(cluster.data_folder, problem).string();
  progress shown(stderr, context.progress_form());
  take_signals();
  launcher processes(plan_cluster(cluster, root, *program),
                     [&shown](const std::string& text) { shown.event(text); });
  if (auto ok = processes.start(); !ok) return ok;
  const auto endpoint = read_cluster_endpoint(root);
  if (!endpoint) return fail(endpoint.error());
  boost::json::object ready{{"cluster", endpoint->cluster},
                            {"host", endpoint->host},
                            {"port", endpoint->port},
                            {"data_folder", root}};
  context.answer("cluster " + endpoint->cluster + " is up at " + endpoint->host + ":" +
                     std::to_string(endpoint->port) + ", data in " + root + " (Ctrl-C ends it)",
                 ready);
  std::fflush(stdout);
  processes.run();
  shown.event("ending the cluster");
  processes.stop();
  return {};
}

}  // namespace

void add_up(CLI::App& program, command_context& context, command_action& chosen) {
  CLI::App* command = program.add_subcommand("up", "start a cluster on this machine");
  const auto wanted = std::make_shared<up_options>();
  command->add_option("cluster", wanted->config_file, "TOML file; none: the defaults");
  set_action(*command, context, chosen, [&context, wanted, command] {
    return up(context, *wanted, command->count("--data-folder") > 0);
  });
}

}  // namespace troupe::apps
