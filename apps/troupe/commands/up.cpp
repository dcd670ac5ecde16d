// troupe up: runs a cluster in the foreground until Ctrl-C or `troupe down`.

#include <filesystem>
#include <map>

#include "apps/client/service_client.hpp"
#include "apps/gateway/gateway_url.hpp"
#include "apps/gateway/key_file.hpp"
#include "apps/support/cluster_endpoint.hpp"
#include "apps/troupe/commands/all.hpp"
#include "apps/troupe/launcher.hpp"
#include "config/cluster_config.hpp"

namespace troupe::apps {
namespace {

struct up_options {
  std::string config_file;
};

result<std::vector<process_plan>> plan_all(const config::cluster_config& cluster,
                                           const std::string& root) {
  const auto program = find_node_program();
  if (!program) return fail(program.error());
  auto plans = plan_cluster(cluster, root, *program);
  if (cluster.gateway.start == config::gateway_start::off) return plans;
  const auto gateway = find_gateway_program();
  if (!gateway) return fail(gateway.error());
  plans.push_back(plan_gateway(cluster, root, *gateway));
  return plans;
}

/// The first start of a cluster makes a key, before the gateway asks whether there is one.
result<std::string> first_key(const std::string& root) {
  std::error_code problem;
  std::filesystem::create_directories(root, problem);
  const auto keys = gateway::read_keys(root);
  if (!keys) return fail(keys.error());
  if (!keys->empty()) return std::string();
  const auto made = gateway::create_key(root, "first");
  if (!made) return fail(made.error());
  return made->secret;
}

/// What a Tinker program needs.
result<std::string> tell_gateway(const std::string& root, std::string key,
                                 boost::json::object& ready) {
  const auto url = gateway::read_url(root);
  if (!url) return fail(url.error());
  ready["tinker_base_url"] = *url;
  if (key.empty()) {
    key = "<a key of `troupe key create`>";
  } else {
    ready["tinker_api_key"] = key;
  }
  return "\n\n  export TINKER_BASE_URL=" + *url + "\n  export TINKER_API_KEY=" + key + "\n";
}

/// What the file says is served, brought up in turn; a cluster that is started again has it
/// already.
result<boost::json::array> serve_deployments(const config::cluster_config& cluster,
                                             const cluster_endpoint& endpoint, progress& shown) {
  boost::json::array names;
  if (cluster.deployments.empty()) return names;
  auto service = client::service_client::connect(endpoint);
  if (!service) return fail(service.error());
  const auto status = service->status();
  if (!status) return fail(status.error());
  std::map<std::string, std::uint32_t> known;
  for (const deployment_info& each : status->deployments)
    known[each.deployment.value] = each.wanted_replicas;
  for (const config::served_model& wanted : cluster.deployments) {
    shown.event("opening deployment " + wanted.name);
    const auto found = known.find(wanted.name);
    if (found == known.end()) {
      std::error_code problem;
      const auto directory =
          std::filesystem::absolute(cluster.directory_of(wanted), problem).string();
      const auto made =
          service->create_deployment({wanted.name, model_source{directory}, wanted.replicas});
      if (!made) return fail(made.error());
    } else if (found->second != wanted.replicas) {
      const auto scaled = service->scale_deployment(deployment_id{wanted.name}, wanted.replicas);
      if (!scaled) return fail(scaled.error());
    }
    names.emplace_back(wanted.name);
  }
  return names;
}

/// A replica takes a sampler of its own.
result<void> check_replicas(const config::cluster_config& cluster) {
  std::uint64_t wanted = 0;
  for (const config::served_model& each : cluster.deployments)
    wanted += each.replicas;
  if (wanted <= cluster.samplers.count) return {};
  return fail(errc::invalid_argument,
              "the deployments want " + std::to_string(wanted) + " replicas, but there are " +
                  std::to_string(cluster.samplers.count) + " samplers",
              "each replica takes a sampler of its own",
              "raise [samplers] count, or lower replicas");
}

result<void> up(const command_context& context, const up_options& wanted, bool folder_given) {
  config::cluster_config cluster;
  if (!wanted.config_file.empty()) {
    auto read = config::read_cluster_config(wanted.config_file);
    if (!read) return fail(read.error());
    cluster = std::move(*read);
  }
  if (auto ok = check_replicas(cluster); !ok) return ok;
  if (folder_given) cluster.data_folder = context.data_folder;
  std::error_code problem;
  const std::string root = std::filesystem::absolute(cluster.data_folder, problem).string();
  auto plans = plan_all(cluster, root);
  if (!plans) return fail(plans.error());
  const bool has_gateway = cluster.gateway.start == config::gateway_start::on;
  const auto key = has_gateway ? first_key(root) : result<std::string>();
  if (!key) return fail(key.error());
  progress shown(stderr, context.progress_form());
  take_signals();
  launcher processes(std::move(*plans), [&shown](const std::string& text) { shown.event(text); });
  if (auto ok = processes.start(); !ok) return ok;
  const auto endpoint = read_cluster_endpoint(root);
  if (!endpoint) return fail(endpoint.error());
  boost::json::object ready{{"cluster", endpoint->cluster},
                            {"host", endpoint->host},
                            {"port", endpoint->port},
                            {"data_folder", root}};
  std::string environment;
  if (has_gateway) {
    auto told = tell_gateway(root, *key, ready);
    if (!told) return fail(told.error());
    environment = std::move(*told);
  }
  auto deployments = serve_deployments(cluster, *endpoint, shown);
  if (!deployments) {
    processes.stop();
    return fail(deployments.error());
  }
  if (!deployments->empty()) ready["deployments"] = std::move(*deployments);
  context.answer("cluster " + endpoint->cluster + " is up at " + endpoint->host + ":" +
                     std::to_string(endpoint->port) + ", data in " + root + " (Ctrl-C ends it)" +
                     environment,
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
