#define TROUPE_ISA base
#define TROUPE_ISA_NAME "base"
#define TROUPE_LANES 4
#include "gpu/kernels/cpu_tables.hpp"
