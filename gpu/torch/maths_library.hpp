#pragma once

// Process-wide settings of libtorch. Its loops are few and small here and run on their caller: its
// own threads would spin beside those of gpu/parallel.
//
// Threading: once per process, before other work of the library.

namespace troupe::gpu {

void prepare_maths_library();

}  // namespace troupe::gpu
