#pragma once

// From the names that clients use to checkpoints: the newest of a run that has the name.
//
// Threading: the loop's thread. Errors: errc::not_found, those of the checkpoint store.

#include <functional>
#include <string>

#include "apps/gateway/cluster_link.hpp"
#include "messages/checkpoint.hpp"

namespace troupe::gateway {

/// `kind` training, or sampler_base for either form of sampler weights.
void find_checkpoint(cluster_link& link, const run_id& run, checkpoint_kind kind,
                     const std::string& name, std::function<void(result<checkpoint_record>)> then);

}  // namespace troupe::gateway
