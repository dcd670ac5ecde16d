#pragma once

// One rank of a model being trained: the port behind which libtorch works, and behind which a tiny
// exact engine stands in cluster simulations.
//
// Every rank of a set makes the same calls in the same order; inside a call ranks meet in `comm`.
// Gradients accumulate over calls and are summed over ranks; losses are sums, so the result does
// not depend on how a batch was split.
//
// Shapes: per datum vectors of its length N.
// Threading: one thread at a time; the owner is an engine_worker. Only `save` may run beside other
// calls, those that leave weights and moments as they are: all but load and optim_step.
// Errors: errc::not_finite and errc::invalid_argument leave weights and gradients as they were;
// errc::peer_lost, errc::timeout and errc::engine leave the engine unusable (discard it).
// Invariants: ENGINE-1 the same calls on the same world size give the same bits.
//             ENGINE-2 forward + backward differentiates exactly the function whose logprobs were
//                      returned, and equals forward_backward of the same loss bit for bit.
//             ENGINE-3 a kept forward dies with the weights it was made from.

#include <cstdint>
#include <span>
#include <vector>

#include "gpu/parameter_io.hpp"
#include "messages/error.hpp"
#include "messages/model.hpp"
#include "messages/training.hpp"

namespace troupe::gpu {

struct step_output {
  metric_list metrics;
  state_digest weights;  ///< of this rank's slices after the step
};

class trainer_engine {
 public:
  virtual ~trainer_engine() = default;

  /// Slices of canonical space this rank owns; together the ranks own everything that is trained
  /// exactly once, however many copies they hold. With adapters these are theirs, and the model's
  /// own weights are frozen.
  [[nodiscard]] virtual std::vector<parameter_slice> owned_slices() const = 0;

  /// Loads the frozen weights that adapters stand beside, once and before load.
  virtual result<void> load_frozen(parameter_source& source);

  /// Loads what this rank holds. With optimizer_state::reset moments are zero and the count is 0;
  /// with restore they are read from `source` and the count is `optimizer_steps`. Clears gradients
  /// and kept forwards.
  virtual result<void> load(parameter_source& source, optimizer_state optimizer,
                            std::uint64_t optimizer_steps) = 0;

  /// Logprobs of target_tokens, and `details` of each datum. With keep_for_backward the pass is
  /// kept under `seq_id`, and several may be open; within a budget of bytes older ones are computed
  /// again for their backward, and beyond limits::kept_forwards_max the oldest is dropped.
  virtual result<forward_result> forward(std::uint64_t seq_id, std::span<const datum> batch,
                                         retention keep, const forward_details& details) = 0;
  result<forward_result> forward(std::uint64_t seq_id, std::span<const datum> batch,
                                 retention keep) {
    return forward(seq_id, batch, keep, {});
  }

  /// Adds the gradient of a built-in loss. Metric "loss:sum" is always present.
  virtual result<forward_result> forward_backward(std::uint64_t seq_id,
                                                  std::span<const datum> batch, loss_fn loss,
                                                  const loss_fn_config& config) = 0;

  /// Adds the gradient of a kept forward and releases it. errc::not_found when it is not kept.
  virtual result<metric_list> backward(std::uint64_t forward_seq_id,
                                       std::span<const std::vector<float>> logprob_gradients) = 0;

  /// AdamW over owned slices, clipping by the global gradient norm; clears gradients and kept
  /// forwards. A gradient that is not finite on any rank gives errc::not_finite on all of them,
  /// changes no weight, and clears the gradients.
  virtual result<step_output> optim_step(const adam_params& adam) = 0;

  /// AdamW steps since the moments were last reset.
  [[nodiscard]] virtual std::uint64_t optimizer_steps() const = 0;

  /// Digest of the fp32 weights of owned slices.
  [[nodiscard]] virtual state_digest weights_digest() const = 0;

  /// Writes weights, exp_avg and exp_avg_sq of owned slices.
  virtual result<void> save(parameter_sink& sink) const = 0;

  /// Writes weights of published slices in bf16, adapters merged into them. All ranks take part.
  virtual result<void> publish(bf16_sink& sink) const = 0;

  /// Digest of the frozen weights of this rank's slices, rounded to bf16: what a sampler of the
  /// base serves.
  [[nodiscard]] virtual result<state_digest> frozen_digest() const;

  /// What publish writes: slices of the model's own parameters.
  [[nodiscard]] virtual std::vector<parameter_slice> published_slices() const;
};

inline result<void> trainer_engine::load_frozen(parameter_source&) {
  return fail(errc::internal, "this engine trains all weights of its model");
}

inline result<state_digest> trainer_engine::frozen_digest() const {
  return fail(errc::internal, "this engine has no frozen weights");
}

inline std::vector<parameter_slice> trainer_engine::published_slices() const {
  return owned_slices();
}

}  // namespace troupe::gpu
