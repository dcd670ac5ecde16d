// Compiled with the flags of AVX-512 FP16; nothing here may call an inline function of a library
// header that could be emitted as a symbol shared with other units.

#include "gpu/kernels/cpu_fp16.hpp"

#include <immintrin.h>

#include "gpu/kernels/cpu_masks.hpp"
#include "gpu/kernels/cpu_unrolled.hpp"

namespace troupe::gpu::kernels {
namespace {

#define TROUPE_LANES 16
#include "gpu/kernels/cpu_vector.hpp"
//
#include "gpu/kernels/cpu_rows.hpp"
//
#include "gpu/kernels/cpu_fp16_tiles.hpp"
//
#include "gpu/kernels/cpu_fp16_pack.hpp"
//
#include "gpu/kernels/cpu_fp16_attention.hpp"

template <packing Order>
void multiply_as(const fp16_product& p) {
  const std::size_t depth = fp16_depth(p.k);
  for (std::size_t row = 0; row < p.m; row += tile_rows) {
    const std::uint32_t* const tile = p.rows + row * depth;
    const std::size_t to = row * p.c_stride;
    const tile_product of_rows{p.k,
                               0,
                               p.columns,
                               factors_of_tile(tile, p.k),
                               {p.panels, p.k},
                               p.addend == nullptr ? nullptr : p.addend + to,
                               p.c + to,
                               p.c_stride};
    multiply_rows(of_rows, smaller(p.m - row, tile_rows), packed_rows<Order>{halves_of(tile)});
  }
}

void multiply(const fp16_product& p) {
  if (p.order == packing::by_k) return multiply_as<packing::by_k>(p);
  multiply_as<packing::by_row>(p);
}

constexpr fp16_kernels products{&pack_panel, &pack_rows,          &multiply,
                                &attention,  &attention_backward, &attention_scratch_of};

}  // namespace

extern const fp16_kernels* const avx512_fp16;
const fp16_kernels* const avx512_fp16 = &products;

}  // namespace troupe::gpu::kernels
