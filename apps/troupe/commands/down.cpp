// troupe down: ends a running cluster in order.

#include "apps/troupe/commands/all.hpp"

namespace troupe::apps {

void add_down(CLI::App& program, command_context& context, command_action& chosen) {
  CLI::App* command = program.add_subcommand("down", "end a running cluster");
  set_action(*command, context, chosen, [&context]() -> result<void> {
    auto cluster = context.connect();
    if (!cluster) return fail(cluster.error());
    if (auto ok = cluster->shutdown("troupe down"); !ok) return ok;
    context.answer("the cluster ends", {{"ended", true}});
    return {};
  });
}

}  // namespace troupe::apps
