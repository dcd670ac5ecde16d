#pragma once

// Who has which part of a GPU's memory. Engines of one process share it: adapter engines stand
// beside each other, as many as their node has slots, and an engine that was replaced may compute
// for a while when the next one is made. So each takes a place first, which waits for those before
// it to be gone, and is told what its activations may take beside the states and activations of all
// others. Places of sharers are equal from the first on, so that none is starved by those before.
//
// Units: bytes. Threading: locked; take may wait.
// Errors: errc::no_capacity when places stay taken or the state does not fit beside the others,
// errc::unsupported for ranks that share GPUs with other runs: NCCL may wait for ever when two
// communicators of one device are used in another order than on its peers.
// Invariants: LEDGER-1 states and activations of all places never pass what the device has.

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "config/deadlines.hpp"
#include "gpu/activation_budget.hpp"
#include "messages/error.hpp"

namespace troupe::gpu {

struct device_demand {
  std::uint64_t state = 0;  ///< of this engine alone
  std::uint32_t num_ranks = 1;
  bool shares = false;      ///< with other adapter engines; else it is alone on the device
  std::uint64_t base = 0;   ///< frozen weights
  std::string base_name{};  ///< engines with the same name hold them once; empty: never shared
};

class device_ledger {
 public:
  explicit device_ledger(std::uint32_t num_slots);

  struct place {
    activation_budget budget;
    std::shared_ptr<const void> held;  ///< the place is given back with the last copy
  };

  /// What the device has for all tensors of this process, used or not; asked once a place is free.
  using measurement = std::function<result<std::uint64_t>()>;
  [[nodiscard]] result<place> take(const device_demand& wanted, const measurement& measure,
                                   std::chrono::milliseconds patience = deadlines::device_free);

 private:
  struct book;

  std::shared_ptr<book> book_;  ///< outlived by places
  const std::uint32_t num_slots_;
};

}  // namespace troupe::gpu
