#pragma once

// An allocator for tensors that keeps freed blocks. A training step asks for the same sizes again
// and again, and blocks of megabytes that go back to the kernel in between come back as zeroed
// pages one fault at a time. Large blocks also ask for huge pages, which the products that stream
// through them notice.
//
// Units: bytes. Threading: locked. Errors: std::bad_alloc when memory runs out.

namespace troupe::gpu {

/// Makes libtorch allocate CPU tensors here, for the rest of the process. Repeating it is harmless.
void reuse_tensor_memory();

}  // namespace troupe::gpu
