#pragma once

// Continuous decoding of many sequences with one set of weights. `step` decodes one token for every
// sequence whose prompt is computed, and computes prompts a bounded piece at a time; prompts that
// begin alike are computed once. Weights change only between steps: everything that takes long is
// done beforehand, by `stage`, while another thread goes on decoding.
//
// Weights are bf16 bits in canonical space, the same that trainer_engine::publish writes; the
// model code is the trainer's.
//
// Threading: one thread, which owns the engine; `stage` alone may run on another one beside it.
// Errors: errc::busy from admit when a bound is reached; errc::invalid_argument for a prompt that
// does not fit. A failed call changes nothing; errc::engine makes the engine unusable.
// Invariants: SAMPLE-1 tokens and logprobs of a sequence depend only on weights, prompt, params and
//             sample_index, never on what else is decoded beside it.

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "gpu/parameter_io.hpp"
#include "messages/error.hpp"
#include "messages/sampling.hpp"

namespace troupe::gpu {

struct sequence_start {
  std::uint64_t sequence = 0;  ///< caller's name for it, unique among active ones
  std::vector<token_id> prompt;
  sampling_params params;
  std::uint32_t sample_index = 0;  ///< which of the num_samples; part of the random key
  bool wants_prompt_logprobs = false;
  std::uint32_t topk_prompt_logprobs = 0;

  [[nodiscard]] bool wants_scores() const {
    return wants_prompt_logprobs || topk_prompt_logprobs > 0;
  }
};

/// What was learnt of a prompt while it was computed: as in sample_reply.
struct prompt_scores {
  std::vector<float> logprobs;
  likeliest_tokens topk;
  std::uint32_t cached_tokens = 0;
};

struct decoded_token {
  std::uint64_t sequence = 0;
  scored_token chosen;
  std::optional<stop_reason> finished;          ///< set on a sequence's last token
  std::shared_ptr<const prompt_scores> prompt;  ///< set on its first one
};

/// New bits of single elements of one parameter, for a small in-place change.
struct element_patch {
  std::uint32_t parameter = 0;
  std::vector<std::uint64_t> elements;
  std::vector<std::uint16_t> bits;
};

/// New weights, prepared beside the live ones. After its commit it holds what is to be freed, which
/// takes long for large models and may happen on any thread.
class staged_weights {
 public:
  virtual ~staged_weights() = default;
};

/// What becomes of keys and values that active sequences computed with the weights before.
enum class cache_policy : std::uint8_t { keep = 0, recompute = 1 };

/// Where whole weights come from.
class bf16_source {
 public:
  virtual ~bf16_source() = default;
  virtual result<void> read(const parameter_slice& slice, std::span<std::uint16_t> out) = 0;
};

class sampler_engine {
 public:
  virtual ~sampler_engine() = default;

  /// Prepares all weights, or new bits of single elements of the live ones. Nothing is seen of it
  /// before the commit.
  virtual result<std::unique_ptr<staged_weights>> stage(bf16_source& source) const = 0;
  virtual result<std::unique_ptr<staged_weights>> stage(
      std::span<const element_patch> patches) const = 0;

  /// Makes staged weights live. Active sequences go on with the new ones.
  virtual result<void> commit(staged_weights& staged, cache_policy caches) = 0;

  /// Stages and commits at once.
  result<void> load(bf16_source& source) { return take(stage(source)); }
  result<void> patch(std::span<const element_patch> patches) { return take(stage(patches)); }

  virtual result<void> admit(sequence_start start) = 0;
  virtual void cancel(std::uint64_t sequence) = 0;

  /// At most one token for each active sequence; none for those whose prompt is not computed yet.
  virtual result<std::vector<decoded_token>> step() = 0;

  [[nodiscard]] virtual std::size_t num_active() const = 0;

  /// Tokens that went through the model so far, prompts included: shared ones count once.
  [[nodiscard]] virtual std::uint64_t num_computed_tokens() const = 0;

 private:
  result<void> take(result<std::unique_ptr<staged_weights>> staged) {
    if (!staged) return fail(staged.error());
    return commit(**staged, cache_policy::keep);
  }
};

}  // namespace troupe::gpu
