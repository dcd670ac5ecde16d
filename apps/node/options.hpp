#pragma once

// What one node is told on its command line. Everything else it learns from the cluster's data
// folder, so that secrets never stand in a process list.
//
// Threading: pure. Errors: errc::invalid_argument with the parser's own words.

#include <cstdint>
#include <string>

#include "apps/node/memory_nodes.hpp"
#include "config/deadlines.hpp"
#include "config/limits.hpp"
#include "gpu/engine_factory.hpp"
#include "messages/cluster.hpp"
#include "messages/error.hpp"

namespace troupe::node {

struct options {
  std::string help;  ///< when it was asked for, and nothing else is set
  node_role role = node_role::trainer;
  std::string name;
  std::string data_folder;
  std::uint32_t threads = 1;
  std::uint32_t slots = 1;                              ///< trainer
  gpu::compute_type compute = gpu::compute_type::fp32;  ///< trainer
  std::uint32_t kept_activations_mib =
      limits::kept_activation_bytes_max / limits::mebibyte;  ///< trainer
  std::string device = "cpu";
  machine_share share;                     ///< trainer, sampler
  bool stays_near = true;                  ///< trainer, sampler: to the memory nodes of its share
  std::string cluster = "troupe";          ///< control
  std::string host = "127.0.0.1";          ///< control
  std::uint16_t port = 0;                  ///< control
  std::uint64_t snapshot_every_steps = 0;  ///< control; 0: by cost and losses
  std::uint64_t park_idle_runs_after_s = deadlines::client_gone.count();  ///< control; 0: never
  int ready_descriptor = -1;  ///< where a launcher listens; -1: started by hand
};

[[nodiscard]] result<options> parse_options(int count, const char* const* words);

}  // namespace troupe::node
