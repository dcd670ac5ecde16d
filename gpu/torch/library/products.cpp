#include "gpu/torch/library/products.hpp"

#include <ATen/ops/mm.h>

#include "gpu/torch/linear.hpp"

namespace troupe::gpu::library {
namespace {

at::Tensor rounded(const at::Tensor& operand) {
  return operand.to(at::kBFloat16).to(at::kFloat);
}

at::Tensor outputs_of(const at::Tensor& y, const low_rank& adapter) {
  return y.narrow(1, static_cast<std::int64_t>(adapter.first_output), adapter.b.size(0));
}

at::Tensor reduced_input(const projection& layer, const low_rank& adapter, const at::Tensor& x) {
  return product(x, adapter.a.t()).mul_(layer.adapter_scale);
}

}  // namespace

at::Tensor product(const at::Tensor& a, const at::Tensor& b) {
  if (product_type() == compute_type::fp32) return at::mm(a, b);
  if (a.is_cuda()) return at::mm(a.to(at::kBFloat16), b.to(at::kBFloat16), at::kFloat);
  // Products of two bf16 numbers are exact in fp32, so this is what a GPU computes.
  return at::mm(rounded(a), rounded(b));
}

void product_into(const at::Tensor& a, const at::Tensor& b, write_mode mode, at::Tensor into) {
  if (product_type() != compute_type::fp32 && mode == write_mode::overwrite && a.is_cuda()) {
    at::mm_out(into, a.to(at::kBFloat16), b.to(at::kBFloat16), at::kFloat);
  } else if (product_type() != compute_type::fp32) {
    const at::Tensor result = product(a, b);
    if (mode == write_mode::add) {
      into.add_(result);
    } else {
      into.copy_(result);
    }
  } else if (mode == write_mode::add) {
    into.addmm_(a, b);
  } else {
    at::mm_out(into, a, b);
  }
}

void add_adapters(const projection& layer, const at::Tensor& x, at::Tensor y) {
  for (const low_rank& adapter : layer.adapters)
    outputs_of(y, adapter).add_(product(reduced_input(layer, adapter, x), adapter.b.t()));
}

at::Tensor adapter_input_gradient(const projection& layer, const low_rank& adapter,
                                  const at::Tensor& dy, at::Tensor dx) {
  at::Tensor reduced = product(outputs_of(dy, adapter), adapter.b).mul_(layer.adapter_scale);
  product_into(reduced, adapter.a, write_mode::add, dx);
  return reduced;
}

void adapter_gradients(const projection& layer, const low_rank& adapter, const adapter_terms& terms,
                       const low_rank& gradient, write_mode mode) {
  product_into(outputs_of(terms.dy, adapter).t(), reduced_input(layer, adapter, terms.x), mode,
               gradient.b);
  product_into(terms.reduced.t(), terms.x, mode, gradient.a);
}

}  // namespace troupe::gpu::library
