#pragma once

// An allocator for tensors that keeps freed blocks. A training step asks for the same sizes again
// and again, and blocks of megabytes that go back to the kernel in between come back as zeroed
// pages one fault at a time. Large blocks also ask for huge pages, which the products that stream
// through them notice.
//
// Units: bytes. Threading: locked. Errors: std::bad_alloc when memory runs out.

#include "gpu/torch/tensors.hpp"

namespace troupe::gpu {

/// Makes libtorch allocate CPU tensors here, for the rest of the process. Repeating it is harmless.
void reuse_tensor_memory();

/// Gives the memory of a tensor that this allocator made back to the system, as far as it is whole
/// pages; the tensor stays, and what was in those pages reads as 0. For state that lies idle while
/// other work needs its room. Of a GPU nothing is given back.
void give_back_pages(at::Tensor& tensor);

}  // namespace troupe::gpu
