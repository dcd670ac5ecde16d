#include "apps/troupe/commands/context.hpp"

#include "apps/support/cluster_endpoint.hpp"

namespace troupe::apps {

result<client::service_client> command_context::connect() const {
  const auto endpoint = read_cluster_endpoint(data_folder);
  if (!endpoint) return fail(endpoint.error());
  return client::service_client::connect(*endpoint);
}

void command_context::answer(const std::string& text, const boost::json::object& object) const {
  const std::string out = wants_json ? boost::json::serialize(object) : text;
  std::fprintf(stdout, "%s\n", out.c_str());
}

void set_action(CLI::App& command, command_context& context, command_action& chosen,
                command_action action) {
  command.add_option("--data-folder", context.data_folder, "of the cluster (troupe-data)");
  command.add_flag("--json", context.wants_json, "answer as one JSON object");
  command.callback([&chosen, action = std::move(action)] { chosen = action; });
}

}  // namespace troupe::apps
