#pragma once

// Devices joined by memory of this process: what NCCL does between GPUs, for tests of all that
// stands above a device_link. Each may be told to refuse, fail or hang at one of its steps.
//
// Threading: each link belongs to one thread, but for now(); the rest is locked.

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "gpu/comm/device_comm.hpp"
#include "gpu/comm/device_link.hpp"

namespace troupe::tests {

enum class device_fault : std::uint8_t {
  none,
  makes_no_id,
  refuses_joining,
  hangs_joining,
  refuses_starting,  ///< the first operation
  fails_running,
  hangs_running,
  fails_finishing,
  hangs_aborting,  ///< after it hung running
};

class fake_fabrics;

class fake_devices {
 public:
  fake_devices();
  ~fake_devices();

  /// Opens links of one rank, which may outlive this.
  [[nodiscard]] gpu::link_maker links(device_fault fault = device_fault::none) const;

  /// Gives every device a piece of work, numbered from 1.
  void give_work();
  /// The last piece that rank 0's gathers began behind, one for each.
  [[nodiscard]] std::vector<std::uint64_t> gathers_began_behind() const;

  /// Links that were told to abort.
  [[nodiscard]] std::uint32_t num_aborts() const;

 private:
  std::shared_ptr<fake_fabrics> fabrics_;
};

}  // namespace troupe::tests
