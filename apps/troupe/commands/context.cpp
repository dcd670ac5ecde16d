#include "apps/troupe/commands/context.hpp"

#include <optional>
#include <stop_token>

#include "apps/client/front_door_call.hpp"
#include "apps/support/cluster_endpoint.hpp"

namespace troupe::apps {

result<client::service_client> command_context::connect() const {
  if (const auto endpoint = read_cluster_endpoint(data_folder); !endpoint)
    return fail(endpoint.error());
  std::stop_source found_out;
  std::optional<result<client::service_client>> out;
  const auto attempt = [&](const cluster_endpoint& endpoint) -> result<void> {
    const bool is_first = !out;
    out = client::service_client::connect(endpoint);
    if (*out) return {};
    const error& reason = out->error();
    const bool may_come = reason.code == errc::peer_lost || reason.code == errc::timeout;
    if (!may_come) found_out.request_stop();
    if (may_come && is_first && wait_s > 0) {
      progress(stderr, progress_form())
          .event("the control node does not answer; waiting up to " + std::to_string(wait_s) +
                 " s for it (--wait-s)");
    }
    return fail(reason);
  };
  const auto found = client::search_cluster(data_folder, std::chrono::seconds(wait_s),
                                            found_out.get_token(), attempt);
  if (!out) return fail(found.error());
  return std::move(*out);
}

void command_context::answer(const std::string& text, const boost::json::object& object) const {
  const std::string out = wants_json ? boost::json::serialize(object) : text;
  std::fprintf(stdout, "%s\n", out.c_str());
}

void set_action(CLI::App& command, command_context& context, command_action& chosen,
                command_action action) {
  command.add_option("--data-folder", context.data_folder, "of the cluster (troupe-data)");
  command.add_option("--wait-s", context.wait_s, "for a control node that does not answer")
      ->check(CLI::Range(0, static_cast<int>(deadlines::command_wait_max.count())))
      ->capture_default_str();
  command.add_flag("--json", context.wants_json, "answer as one JSON object");
  command.callback([&chosen, action = std::move(action)] { chosen = action; });
}

}  // namespace troupe::apps
