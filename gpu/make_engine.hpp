#pragma once

// The only place that knows which devices this build has code for.
//
// Threading: call once per process before other threads use the maths library.
// Errors: errc::engine_not_built for a GPU that is not there, at start-up and never in mid-run;
// errc::no_capacity when a model does not fit its GPU, and other errors of device_ledger.

#include <cstdint>
#include <memory>
#include <string>

#include "config/limits.hpp"
#include "gpu/engine_factory.hpp"

namespace troupe::gpu {

struct engine_options {
  std::string device = "cpu";                 ///< see device_choice.hpp
  std::uint32_t num_threads = 1;              ///< of the maths library in this process
  compute_type compute = compute_type::fp32;  ///< of trainers
  /// What a batch of a trainer keeps for its backward; the rest is computed again.
  std::size_t kept_activation_bytes = limits::kept_activation_bytes_max;
  /// What its activations may take in all, on a processor; larger batches are refused.
  std::size_t batch_activation_bytes = limits::batch_activation_bytes_max;
  std::string comm_address = "127.0.0.1";  ///< interface on which ranks meet
  std::uint32_t slots = 1;                 ///< adapter engines at one time
};

[[nodiscard]] result<std::unique_ptr<engine_factory>> make_engine_factory(
    const engine_options& options);

}  // namespace troupe::gpu
