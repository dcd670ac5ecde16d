#pragma once

// What the units of `troupe checkpoint` share.
//
// Threading: one thread.

#include <string>
#include <vector>

#include "apps/troupe/commands/context.hpp"
#include "messages/checkpoint.hpp"

namespace troupe::apps {

/// gc, remove, verify, diff.
void add_checkpoint_care(CLI::App& group, command_context& context, command_action& chosen);

/// From the newest base to the checkpoint with this id or prefix.
[[nodiscard]] result<std::vector<checkpoint_record>> chain_of(client::service_client& cluster,
                                                              const std::string& id);

}  // namespace troupe::apps
