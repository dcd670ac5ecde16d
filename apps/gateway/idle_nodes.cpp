#include "apps/gateway/idle_nodes.hpp"

#include <algorithm>
#include <memory>

#include "config/deadlines.hpp"
#include "messages/status.hpp"

namespace troupe::gateway {
namespace {

constexpr std::chrono::milliseconds retry_pause{200};
constexpr auto attempts_max =
    static_cast<std::uint32_t>(std::chrono::milliseconds(deadlines::node_start) / retry_pause);

struct question {
  cluster_link& link;
  node_role role;
  node_share share;
  std::uint32_t count;
  std::function<void(result<void>)> then;
  std::uint32_t attempts = 0;
  boost::asio::steady_timer pause;
};

tl::unexpected<error> none_idle(const question& asked, std::size_t num_idle, std::size_t num_all) {
  const std::string role(to_string(asked.role));
  return fail(errc::no_capacity,
              std::to_string(asked.count) + " idle " + role + " nodes are needed, " +
                  std::to_string(num_idle) + " of " + std::to_string(num_all) + " are idle",
              "other models use them; those of ended sessions give theirs back",
              "end another client, or raise count in [" + role + "s] of the cluster file");
}

void ask(const std::shared_ptr<question>& asked) {
  asked->link.ask_manager<cluster_status>(
      deadlines::control, cluster_status_request{}, [asked](const result<cluster_status>& status) {
        if (!status) return asked->then(fail(status.error()));
        std::size_t num_idle = 0;
        std::size_t num_all = 0;
        for (const node_status& node : status->nodes) {
          if (node.role != asked->role) continue;
          ++num_all;
          const bool has_room =
              asked->share == node_share::slot ? node.free_slots > 0 : node.hosting.empty();
          if (has_room) ++num_idle;
        }
        // One that was here is probably being started again.
        std::size_t& most = asked->link.most_nodes(asked->role);
        most = std::max({most, num_all, std::size_t{asked->count}});
        if (num_idle >= asked->count) return asked->then({});
        const bool may_join = num_all < most && ++asked->attempts < attempts_max;
        if (!may_join) most = num_all;
        if (!may_join) return asked->then(none_idle(*asked, num_idle, num_all));
        asked->pause.expires_after(retry_pause);
        asked->pause.async_wait([asked](boost::system::error_code) { ask(asked); });
      });
}

}  // namespace

void await_idle_nodes(cluster_link& link, node_role role, node_share share, std::uint32_t count,
                      std::function<void(result<void>)> then) {
  ask(std::make_shared<question>(question{link, role, share, count, std::move(then), 0,
                                          boost::asio::steady_timer(link.loop())}));
}

}  // namespace troupe::gateway
