// troupe-gateway: the HTTP side of a cluster. Exit status 0: it was asked to leave; 1: it could not
// start; 2: wrong options.

#include <cstdio>
#include <cstdlib>
#include <thread>

#include <sys/resource.h>

#include "apps/gateway/api.hpp"
#include "apps/gateway/listening.hpp"
#include "apps/node/exit_signal.hpp"
#include "apps/support/cluster_endpoint.hpp"
#include "config/log.hpp"

namespace troupe::gateway {
namespace {

/// Each idle long poll holds a socket.
void raise_descriptor_limit() {
  rlimit now{};
  if (::getrlimit(RLIMIT_NOFILE, &now) != 0) return;
  now.rlim_cur = now.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &now);
}

result<void> serve(const options& wanted, node::exit_signal& exit) {
  raise_descriptor_limit();
  const auto endpoint = apps::read_cluster_endpoint(wanted.data_folder);
  if (!endpoint) return fail(endpoint.error());
  auto bases = base_models::open(wanted.models);
  if (!bases) return fail(bases.error());
  auto link = client::connection::open(*endpoint);
  if (!link) return fail(link.error());

  boost::asio::io_context loop(1);
  if (!key_ring(wanted.data_folder).has_active() && !is_loopback(wanted.host)) {
    return fail(errc::unsupported, "nobody could use a gateway on " + wanted.host,
                "there is no active API key", "make one with `troupe key create NAME`");
  }
  service all(loop, wanted, std::move(*bases), std::move(*link));
  router routes(all.keys, all.quotas, all.watched);
  add_session_routes(routes, all);
  add_session_list_routes(routes, all);
  add_future_routes(routes, all);
  add_training_routes(routes, all);
  add_weights_routes(routes, all);
  add_runs_routes(routes, all);
  add_sampling_routes(routes, all);
  const http_handlers handlers{[&routes](const http_call& http) { return routes.gate(http); },
                               [&routes](http_call http, const responder& respond) {
                                 routes.serve(std::move(http), respond);
                               }};
  if (const auto ok = all.desk.restore(routes); !ok) return fail(ok.error());
  const auto server = listen_as_before(loop, wanted, handlers);
  if (!server) return fail(server.error());
  std::thread worker([&loop] { loop.run(); });
  config::log(config::log_level::info,
              "listening on " + wanted.host + ":" + std::to_string((*server)->port()));
  exit.tell_ready();
  const auto reason = exit.wait();
  config::log(config::log_level::info, "leaving");
  // Requests may be under way: those that matter are in the request log.
  std::_Exit(reason && !reason->empty() ? 1 : 0);
}

}  // namespace
}  // namespace troupe::gateway

int main(int count, char** words) {
  using namespace troupe;
  const auto wanted = gateway::parse_options(count, words);
  if (!wanted) {
    std::fprintf(stderr, "%s\n", to_string(wanted.error()).c_str());
    return 2;
  }
  if (!wanted->help.empty()) {
    std::fputs(wanted->help.c_str(), stdout);
    return 0;
  }
  node::exit_signal exit(wanted->ready_descriptor);
  config::start_log(wanted->name, config::log_level::info);
  const auto served = gateway::serve(*wanted, exit);
  if (served) return 0;
  config::log(config::log_level::failure, to_string(served.error()));
  exit.tell_failed(to_string(served.error()));
  return 1;
}
