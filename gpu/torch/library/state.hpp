#pragma once

// Norm, AdamW and digest over flat shards in the maths library's words, for any device it knows;
// on a GPU the latter two are kernels of this project.
//
// Threading: one thread; numbers are returned on the host, so the device is waited for.
// Errors: the library's exceptions.

#include <cstdint>
#include <span>
#include <vector>

#include "gpu/kernels/cpu_kernels.hpp"
#include "gpu/torch/sharded_state.hpp"

namespace troupe::gpu::library {

/// In double, over all shards.
[[nodiscard]] double sum_of_squares(const std::vector<state_shard>& shards);

/// The update of kernels::adamw_task, whose pointers are not used.
void update_shard(state_shard& shard, const kernels::adamw_task& task);

[[nodiscard]] state_digest digest_weights(const sharded_state& state);

}  // namespace troupe::gpu::library
