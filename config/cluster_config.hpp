#pragma once

// What a user writes about a cluster, read once at start. Every value has a default, so that no
// file is needed on one machine; every key is known, so that a typing error is found here and not
// as a default that silently stayed.
//
// Threading: pure functions.
// Errors: errc::not_found (no such file), errc::invalid_argument naming file, line and key.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "config/deadlines.hpp"
#include "config/limits.hpp"
#include "messages/error.hpp"

namespace troupe::config {

/// What matrix products of trainers round their operands to; everything else is fp32.
enum class product_type : std::uint8_t { fp32 = 0, bf16 = 1 };

/// Where processes compute on a machine with several memory nodes.
enum class memory_choice : std::uint8_t {
  near = 0,  ///< on nodes of their own, as evenly as they go
  any = 1,   ///< wherever the system puts them
};

/// Processes of one role on this machine.
struct process_group {
  std::uint32_t count = 1;
  std::uint32_t threads = 0;                  ///< that compute in each; 0: an equal share of cores
  std::uint32_t slots = 1;                    ///< trainers: adapter runs that share a process
  product_type compute = product_type::fp32;  ///< trainers
  std::string device = "cpu";                 ///< trainers: cpu, cuda or auto, a GPU each
  /// Trainers: what a batch keeps for its backward; 0: nothing that can be computed again.
  std::uint32_t kept_activations_mib = limits::kept_activation_bytes_max / limits::mebibyte;
  memory_choice numa = memory_choice::near;

  bool operator==(const process_group&) const = default;
};

/// What becomes of a client that asks for LoRA. One that asks for rank 0 trains all weights.
enum class lora_mode : std::uint8_t {
  full_parameter = 0,  ///< all weights are trained instead, and the client is told its own rank
  refuse = 1,
  adapters = 2,  ///< low-rank adapters of the rank it asks for
};

enum class gateway_start : std::uint8_t { off = 0, on = 1 };

/// What one API key may use at once; 0: as much as there is.
struct key_quota {
  std::uint32_t models = 0;               ///< that are in training
  std::uint32_t requests_per_second = 0;  ///< without heartbeats and polls
  std::uint64_t held_bytes = 0;           ///< of requests that have no result yet

  bool operator==(const key_quota&) const = default;
};

/// The HTTP side, for clients of the Tinker protocol.
struct gateway_config {
  gateway_start start = gateway_start::on;
  std::string host = "127.0.0.1";
  std::uint16_t port = 0;   ///< 0: the last one again, or a free one
  std::uint32_t ranks = 1;  ///< trainer nodes of each model
  lora_mode lora = lora_mode::adapters;
  key_quota per_key;
  std::string tls_certificate;  ///< PEM files; a host beyond this machine needs them
  std::string tls_key;

  bool operator==(const gateway_config&) const = default;
};

/// A base model as clients name it.
struct named_model {
  std::string name;
  std::string directory;

  bool operator==(const named_model&) const = default;
};

/// A deployment that is there as soon as the cluster is.
struct served_model {
  std::string name;
  std::string model;  ///< a name of [models], or a directory
  std::uint32_t replicas = 1;

  bool operator==(const served_model&) const = default;
};

struct cluster_config {
  std::string name = "troupe";
  std::string data_folder = "troupe-data";
  std::string host = "127.0.0.1";
  std::uint16_t port = 0;  ///< 0: a free one is picked and written to the data folder
  process_group trainers{2, 0, 8};
  process_group samplers{1, 0, 1};
  std::uint64_t snapshot_every_steps = 0;  ///< 0: by what one costs and how often nodes are lost
  /// After its client has gone a run keeps its nodes for this long; 0: for ever.
  std::uint64_t park_idle_runs_after_s = deadlines::client_gone.count();
  gateway_config gateway;
  std::vector<named_model> models;
  std::vector<served_model> deployments;

  /// Where the weights of a deployment lie.
  [[nodiscard]] std::string directory_of(const served_model& deployment) const;

  bool operator==(const cluster_config&) const = default;
};

[[nodiscard]] result<cluster_config> read_cluster_config(const std::string& path);

/// `path` only names the source in errors.
[[nodiscard]] result<cluster_config> parse_cluster_config(std::string_view text,
                                                          const std::string& path);

}  // namespace troupe::config
