#pragma once

// Tensors on the CPU that live in a reusing_heap.
//
// Threading: any. Errors: std::bad_alloc when memory runs out.

namespace troupe::gpu {

/// Makes libtorch allocate CPU tensors there, for the rest of the process. Repeating it is
/// harmless.
void reuse_tensor_memory();

}  // namespace troupe::gpu
