// troupe-node: one process of a cluster. Exit status 0: it was asked to leave; 1: it could not
// start or lost its cluster; 2: wrong options.

#include <cstdio>

#include "apps/node/exit_signal.hpp"
#include "apps/node/options.hpp"
#include "apps/node/roles.hpp"
#include "config/failpoint.hpp"
#include "config/log.hpp"

int main(int count, char** words) {
  using namespace troupe;
  const auto wanted = node::parse_options(count, words);
  if (!wanted) {
    std::fprintf(stderr, "%s\n", to_string(wanted.error()).c_str());
    return 2;
  }
  if (!wanted->help.empty()) {
    std::fputs(wanted->help.c_str(), stdout);
    return 0;
  }
  node::exit_signal exit(wanted->ready_descriptor);
  config::arm_failpoints(wanted->name);
  config::start_log(wanted->name, config::log_level::info);
  const auto served = wanted->role == node_role::control ? node::serve_control(*wanted, exit)
                                                         : node::serve_worker(*wanted, exit);
  if (served) return 0;
  config::log(config::log_level::failure, to_string(served.error()));
  exit.tell_failed(to_string(served.error()));
  return 1;
}
