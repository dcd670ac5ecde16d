#pragma once

// A linear layer as a model has it: a matrix, perhaps a bias, and perhaps low-rank adapters, each
// on a range of the outputs, because one matrix here holds several layers of the checkpoint (q, k
// and v; gate and up). With adapters the matrix itself is frozen, and its gradient, a third of a
// step's products, is never computed.
//
// On a processor products with an adapter's factors are fp32 whatever others are: they are thin and
// wait for memory, not for arithmetic.
//
// The same struct names a layer's gradients: what is undefined there is frozen.
//
// Shapes: x [T, K]; y [T, N]; weight [N, K]; a [r, K]; b [n, r].
// Threading: called from one thread; runs on the pool.
// Invariants: PROJECT-1 a row of y depends on that row of x and on the layer only.
// Source: Hu et al. 2021.

#include <span>
#include <vector>

#include "gpu/torch/tensors.hpp"

namespace troupe::gpu {

struct low_rank {
  at::Tensor a;
  at::Tensor b;
  std::size_t first_output = 0;
};

struct projection {
  at::Tensor weight;
  at::Tensor bias;
  std::vector<low_rank> adapters;
  float adapter_scale = 1;
};

[[nodiscard]] at::Tensor project(const projection& layer, const at::Tensor& x);

/// residual + the layer's output. Requires: the layer has no bias.
[[nodiscard]] at::Tensor project_add(const projection& layer, const at::Tensor& x,
                                     const at::Tensor& residual);

/// Into memory that is there.
void project_into(const projection& layer, const at::Tensor& x, at::Tensor y);

/// Gradient of a layer's inputs, and what the gradients of its adapters are made of as well.
struct input_gradient {
  at::Tensor dx;
  std::vector<at::Tensor> reduced;  ///< scale * dy B of each adapter, [T, r]
};

[[nodiscard]] input_gradient project_input_gradient(const projection& layer, const at::Tensor& dy);

/// Gradients of the parameters, once that of the inputs is there.
void project_parameter_gradients(const projection& layer, const at::Tensor& x, const at::Tensor& dy,
                                 std::span<const at::Tensor> reduced, const projection& gradient,
                                 write_mode mode);

/// Both: gradient of x; those of the parameters go to `gradient`.
[[nodiscard]] at::Tensor project_backward(const projection& layer, const at::Tensor& x,
                                          const at::Tensor& dy, const projection& gradient,
                                          write_mode mode);

/// The same, dx into memory that is there.
void project_backward_into(const projection& layer, const at::Tensor& x, const at::Tensor& dy,
                           const projection& gradient, write_mode mode, at::Tensor dx);

/// Zeroes all gradients of a layer.
void clear(const projection& gradient);

}  // namespace troupe::gpu
