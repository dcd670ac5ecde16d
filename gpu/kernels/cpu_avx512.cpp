#define TROUPE_ISA avx512
#define TROUPE_ISA_NAME "avx512"
#define TROUPE_LANES 16
#include "gpu/kernels/cpu_tables.hpp"
