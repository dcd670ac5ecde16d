#include <array>
#include <cstdlib>
#include <string_view>

#include <cpuid.h>

#include "gpu/kernels/cpu_bf16.hpp"
#include "gpu/kernels/cpu_fp16.hpp"
#include "gpu/kernels/cpu_kernels.hpp"

namespace troupe::gpu::kernels {

namespace avx512 {
extern const cpu_kernels kernel_table;
}
namespace avx2 {
extern const cpu_kernels kernel_table;
}
namespace base {
extern const cpu_kernels kernel_table;
}

namespace {

std::size_t first_table() {
  if (__builtin_cpu_supports("avx512f") != 0 && __builtin_cpu_supports("avx512dq") != 0 &&
      __builtin_cpu_supports("avx512bw") != 0 && __builtin_cpu_supports("avx512vl") != 0)
    return 0;
  return __builtin_cpu_supports("avx2") != 0 && __builtin_cpu_supports("fma") != 0 ? 1 : 2;
}

/// Not all compilers know this one by name. Source: Intel SDM, CPUID leaf 7, bit 23 of EDX.
bool multiplies_fp16() {
  unsigned eax = 0;
  unsigned ebx = 0;
  unsigned ecx = 0;
  unsigned edx = 0;
  return __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) != 0 && (edx & (1U << 23U)) != 0;
}

const cpu_kernels& at(std::size_t index) {
  return index == 0 ? avx512::kernel_table : (index == 1 ? avx2::kernel_table : base::kernel_table);
}

std::size_t chosen_table() {
  const char* const asked = std::getenv("TROUPE_ISA");
  if (asked == nullptr) return first_table();
  for (std::size_t index = first_table(); index < 3; ++index)
    if (std::string_view(asked) == at(index).name) return index;
  return first_table();
}

}  // namespace

std::size_t attention_scratch(std::size_t length, std::size_t head_dim) {
  const auto padded = [](std::size_t value) {
    return (value + panel_columns - 1) / panel_columns * panel_columns;
  };
  return 2 * head_dim * padded(length) + length * padded(head_dim) +
         2 * attention_query_tile * (padded(length) + padded(head_dim)) + 2 * length * head_dim;
}

extern const bf16_kernels* const avx512_bf16;

const bf16_kernels* bf16_of_this_cpu() {
  // A lower instruction set that was asked for has none.
  static const bool has_it =
      &for_this_cpu() == &avx512::kernel_table && __builtin_cpu_supports("avx512bf16") != 0;
  return has_it ? avx512_bf16 : nullptr;
}

const bf16_kernels* bf16_for_this_cpu() {
  static const bool is_slow = __builtin_cpu_is("intel") != 0;
  return is_slow ? nullptr : bf16_of_this_cpu();
}

extern const fp16_kernels* const avx512_fp16;

const fp16_kernels* fp16_for_this_cpu() {
  static const bool has_it = &for_this_cpu() == &avx512::kernel_table && multiplies_fp16();
  return has_it ? avx512_fp16 : nullptr;
}

const cpu_kernels& for_this_cpu() {
  static const std::size_t index = chosen_table();
  return at(index);
}

std::size_t num_tables() {
  return 3 - first_table();
}

const cpu_kernels& table(std::size_t index) {
  return at(first_table() + index);
}

}  // namespace troupe::gpu::kernels
