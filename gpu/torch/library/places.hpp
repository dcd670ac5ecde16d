#pragma once

// The ops of routing.hpp in the maths library's words, for any device it knows. Which expert a row
// goes to is decided on the host, from the probabilities that the device computed: the sizes of the
// products that follow are needed there.
//
// Shapes, invariants: those of routing.hpp. Sums over a row's picks are taken in their order.
// Threading: one thread. Errors: the library's exceptions.

#include <vector>

#include "gpu/torch/routing.hpp"

namespace troupe::gpu::library {

/// Softmax of each row of logits.
[[nodiscard]] at::Tensor softmax_rows(const at::Tensor& logits);

[[nodiscard]] at::Tensor gather_places(const routing& choice, const at::Tensor& x);
void add_places(const routing& choice, const at::Tensor& places, at::Tensor sum);
void scale_places(const routing& choice, at::Tensor places);

/// By slot: the products of a place's rows in `a` and `b`, summed.
[[nodiscard]] std::vector<float> dot_places(const routing& choice, const at::Tensor& a,
                                            const at::Tensor& b);

}  // namespace troupe::gpu::library
