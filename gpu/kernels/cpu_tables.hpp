// Compiles every kernel for one instruction set. Included once by each cpu_<isa>.cpp, which defines
// TROUPE_ISA (the namespace) and TROUPE_LANES (floats per vector) and is compiled with that set's
// flags. Nothing here may call an inline function of a library header that could be emitted as a
// symbol shared with other units: it would carry this unit's instructions.

#include <cstddef>
#include <cstdint>
#include <utility>

#include "gpu/kernels/cpu_kernels.hpp"
#include "gpu/kernels/cpu_unrolled.hpp"
#include "messages/digest_term.hpp"

namespace troupe::gpu::kernels {
namespace TROUPE_ISA {
namespace {

#include "gpu/kernels/cpu_vector.hpp"
//
#include "gpu/kernels/cpu_gemm.hpp"
#include "gpu/kernels/cpu_pack.hpp"
#include "gpu/kernels/cpu_rows.hpp"
#include "gpu/kernels/cpu_state.hpp"
//
#include "gpu/kernels/cpu_attention.hpp"
//
#include "gpu/kernels/cpu_cached_attention.hpp"

}  // namespace

extern const cpu_kernels kernel_table;
const cpu_kernels kernel_table{
    TROUPE_ISA_NAME,
    &pack_panel,
    &multiply_panel,
    &multiply_panels,
    &multiply_bf16_panel,
    &pack_rows,
    &rms_norm,
    &rms_norm_backward,
    &norm_rotate,
    &norm_rotate_backward,
    &rotate,
    &rotate_backward,
    &swiglu,
    &swiglu_backward,
    &attention,
    &attention_backward,
    &cached_attention,
    &log_sum_exp,
    &exponentials,
    &logprob_backward,
    &widen_bf16,
    &add,
    &sum_of_squares,
    &adamw,
    &digest,
};

}  // namespace TROUPE_ISA
}  // namespace troupe::gpu::kernels
