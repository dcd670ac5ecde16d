#pragma once

// Continuous decoding of many sequences with one set of weights. `step` decodes one token for every
// sequence whose prompt is computed, and computes prompts a bounded piece at a time; prompts that
// begin alike are computed once. Weights change only between steps: everything that takes long is
// done beforehand, by `stage`, while another thread goes on decoding.
//
// Weights are bf16 bits in canonical space, the same that trainer_engine::publish writes; the
// model code is the trainer's. Low-rank adapters stand beside them in fp32: a step decodes
// sequences of many adapters together, and what they share, the product with the weights, is
// computed once for all.
//
// Threading: one thread, which owns the engine; `stage` and `stage_adapter` alone may run on
// another one beside it.
// Errors: errc::busy from admit when a bound is reached; errc::invalid_argument for a prompt that
// does not fit. A failed call changes nothing; errc::engine makes the engine unusable. A sequence
// for which the model computes NaN ends alone, with errc::not_finite.
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

/// An adapter laid out for one engine. It lives as long as somebody holds it: sequences, the
/// weights it is deployed with, or whoever staged it.
class sampler_adapter {
 public:
  virtual ~sampler_adapter() = default;
  [[nodiscard]] virtual std::size_t num_bytes() const = 0;
};

struct sequence_start {
  std::uint64_t sequence = 0;  ///< caller's name for it, unique among active ones
  std::vector<token_id> prompt;
  sampling_params params;
  std::uint32_t sample_index = 0;  ///< which of the num_samples; part of the random key
  bool wants_prompt_logprobs = false;
  std::uint32_t topk_prompt_logprobs = 0;
  std::shared_ptr<const sampler_adapter> adapter = nullptr;  ///< the deployed one
  std::vector<token_id> prompt_targets = {};                 ///< as in sample_request

  [[nodiscard]] bool wants_scores() const {
    return wants_prompt_logprobs || topk_prompt_logprobs > 0 || !prompt_targets.empty();
  }
};

/// What was learnt of a prompt while it was computed: as in sample_reply.
struct prompt_scores {
  std::vector<float> logprobs;
  likeliest_tokens topk;
  std::uint32_t cached_tokens = 0;
  std::vector<float> target_logprobs = {};
  bool is_finite = true;  ///< of every distribution that was scored
};

struct decoded_token {
  std::uint64_t sequence = 0;
  scored_token chosen;                          ///< nothing beside a failure
  std::optional<stop_reason> finished;          ///< set on a sequence's last token
  std::shared_ptr<const prompt_scores> prompt;  ///< set on its first one
  std::optional<error> failure = {};            ///< why it ended without another token
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

  /// Deployed with these weights: for every sequence that names none of its own. Null: none is.
  std::shared_ptr<const sampler_adapter> adapter;
};

/// What becomes of keys and values that active sequences computed with the weights before.
enum class cache_policy : std::uint8_t { keep = 0, recompute = 1 };

/// Where whole weights come from.
class bf16_source {
 public:
  virtual ~bf16_source() = default;
  virtual result<void> read(const parameter_slice& slice, std::span<std::uint16_t> out) = 0;
};

/// What an engine holds.
struct sampler_usage {
  std::size_t held = 0;          ///< active sequences that decode nothing until they are resumed
  std::size_t cache_pages = 0;   ///< keys and values, prompt_pages included
  std::size_t prompt_pages = 0;  ///< kept of prompts for later ones
};

class sampler_engine {
 public:
  virtual ~sampler_engine() = default;

  /// Prepares all weights, or new bits of single elements of the live ones. Nothing is seen of it
  /// before the commit.
  virtual result<std::unique_ptr<staged_weights>> stage(bf16_source& source) const = 0;
  virtual result<std::unique_ptr<staged_weights>> stage(
      std::span<const element_patch> patches) const = 0;

  /// Reads adapters, which stand behind the model's own parameters in canonical space.
  virtual result<std::shared_ptr<const sampler_adapter>> stage_adapter(
      const lora_config& lora, parameter_source& source) const = 0;

  /// Makes staged weights live. Active sequences go on with the new ones.
  virtual result<void> commit(staged_weights& staged, cache_policy caches) = 0;

  /// Stages and commits at once.
  result<void> load(bf16_source& source) { return take(stage(source)); }
  result<void> patch(std::span<const element_patch> patches) { return take(stage(patches)); }

  virtual result<void> admit(sequence_start start) = 0;
  virtual void cancel(std::uint64_t sequence) = 0;

  /// A held sequence keeps what it has and decodes nothing.
  virtual void hold(std::uint64_t sequence) = 0;
  virtual void resume(std::uint64_t sequence) = 0;

  /// At most one token for each active sequence; none for those whose prompt is not computed yet.
  virtual result<std::vector<decoded_token>> step() = 0;

  [[nodiscard]] virtual std::size_t num_active() const = 0;

  /// Tokens that went through the model so far, prompts included: shared ones count once.
  [[nodiscard]] virtual std::uint64_t num_computed_tokens() const = 0;

  [[nodiscard]] virtual sampler_usage usage() const = 0;

 private:
  result<void> take(result<std::unique_ptr<staged_weights>> staged) {
    if (!staged) return fail(staged.error());
    return commit(**staged, cache_policy::keep);
  }
};

}  // namespace troupe::gpu
