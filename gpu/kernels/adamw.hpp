#pragma once

// AdamW in one pass over weights, moments and gradients that lie on a GPU: 28 bytes for each
// element, where the same formula in ops of the maths library moves more than three times as much.
//
// Shapes: flat, task.count elements. Which parameter they are of is not used.
// Threading: asynchronous on the stream. Errors: errc::engine when a launch is refused.
// Invariants: ADAMW-1 an element's bits depend on that element and the step's numbers alone.

#include <vector>

#include "gpu/kernels/adamw_task.hpp"
#include "gpu/kernels/device_kernel.hpp"
#include "messages/error.hpp"

namespace troupe::gpu::kernels {

/// On memory of the host.
void adamw_reference(const adamw_task& task);

/// On memory of the device.
[[nodiscard]] result<void> adamw(const adamw_task& task, device_stream stream);

/// Against the reference, and its time.
[[nodiscard]] result<std::vector<kernel_report>> check_adamw(std::size_t count);

}  // namespace troupe::gpu::kernels
