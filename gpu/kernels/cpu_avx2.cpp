#define TROUPE_ISA avx2
#define TROUPE_ISA_NAME "avx2"
#define TROUPE_LANES 8
#include "gpu/kernels/cpu_tables.hpp"
