// What a build without CUDA has in place of nccl_comm.cpp.

#include "gpu/comm/nccl_comm.hpp"

namespace troupe::gpu {

result<std::unique_ptr<comm_listener>> listen_for_devices(socket_comm_options, int) {
  return fail(errc::engine_not_built, "this build cannot join GPUs",
              "it was made without CUDA, so without NCCL", "build with TROUPE_CUDA=ON");
}

}  // namespace troupe::gpu
