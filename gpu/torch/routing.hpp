#pragma once

// Which experts a row goes to, and with what weight: the softmax of the router's logits, its
// largest entries, perhaps scaled so that they sum to one. Rows are then sorted by expert, because
// an expert is a matrix product over all of its rows at once.
//
// Shapes: T rows, E experts, k picked per row; S = T k slots, slot t k + j being the j-th pick of
// row t; places are slots sorted by expert, rows in order within one.
// Threading: called from one thread; runs on the pool.
// Invariants: ROUTE-1 picks and weights of a row depend on that row only; equal probabilities go
//             to the expert that comes first.
// Source: transformers, models/qwen3_moe.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "gpu/comm.hpp"
#include "gpu/torch/tensors.hpp"
#include "messages/error.hpp"
#include "messages/model.hpp"

namespace troupe::gpu {

struct routing {
  at::Tensor probabilities;          ///< [T, E]
  std::vector<std::uint32_t> picks;  ///< [S] expert of each slot
  std::vector<float> weights;        ///< [S] of each slot
  std::vector<std::uint32_t> slots;  ///< [S] slot of each place
  std::vector<std::size_t> offsets;  ///< [E + 1] first place of each expert

  [[nodiscard]] std::size_t num_places() const { return slots.size(); }
};

/// How evenly experts are used, over the layers and rows of a pass. Sums, because what is made of
/// them is no mean of what ranks would make of their own.
struct router_load {
  std::vector<double> picks;          ///< [E]
  std::vector<double> probabilities;  ///< [E] sums
  double rows = 0;

  void add(const routing& choice);
  /// Makes them the sums over all ranks, which call it alike, with rows or without.
  [[nodiscard]] result<void> add_up(comm& ranks, std::size_t num_experts);
  /// The auxiliary loss that transformers reports: k when all experts are used alike.
  [[nodiscard]] double balance_loss() const;
  /// The busiest expert's share of all picks.
  [[nodiscard]] double busiest_share() const;
};

/// `logits` [T, E] are used up.
[[nodiscard]] routing route(const expert_config& experts, at::Tensor logits);

/// Rows of x [T, D] at their places, [S, D].
[[nodiscard]] at::Tensor gather_places(const routing& choice, const at::Tensor& x);

/// Adds to each row of `sum` [T, D] the rows of its places, in order of its picks.
void add_places(const routing& choice, const at::Tensor& places, at::Tensor sum);

/// Multiplies each place's row by its slot's weight.
void scale_places(const routing& choice, at::Tensor places);

/// Gradient of the logits, [T, E], from that of the slots' weights.
[[nodiscard]] at::Tensor route_backward(const expert_config& experts, const routing& choice,
                                        std::span<const float> weight_gradient);

}  // namespace troupe::gpu
