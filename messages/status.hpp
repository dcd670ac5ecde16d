#pragma once

// The whole cluster at one moment, for `troupe status`.
//
// Threading: plain values.

#include <string>
#include <vector>

#include "messages/cluster.hpp"
#include "messages/sampling.hpp"
#include "messages/training.hpp"

namespace troupe {

struct cluster_status {
  std::string cluster;
  std::string storage_root;
  std::vector<node_status> nodes;
  std::vector<run_info> runs;
  std::vector<deployment_info> deployments;
  bool operator==(const cluster_status&) const = default;
};

}  // namespace troupe
