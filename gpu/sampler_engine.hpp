#pragma once

// Continuous decoding of many sequences with one set of weights. `step` decodes one token for every
// active sequence, prefilling those just admitted; weights change only between steps.
//
// Weights are bf16 bits in canonical space, the same that trainer_engine::publish writes; the
// model code is the trainer's.
//
// Threading: one thread at a time; the owner is an engine_worker.
// Errors: errc::busy from admit when a bound is reached; errc::invalid_argument for a prompt that
// does not fit. A failed call changes nothing; errc::engine makes the engine unusable.
// Invariants: SAMPLE-1 tokens and logprobs of a sequence depend only on weights, prompt, params and
//             sample_index, never on what else is decoded beside it.

#include <cstdint>
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
};

struct decoded_token {
  std::uint64_t sequence = 0;
  token_id token = 0;
  float logprob = 0;
  std::optional<stop_reason> finished;  ///< set on a sequence's last token
};

/// New bits of single elements of one parameter, for a small in-place change.
struct element_patch {
  std::uint32_t parameter = 0;
  std::vector<std::uint64_t> elements;
  std::vector<std::uint16_t> bits;
};

/// Where whole weights come from.
class bf16_source {
 public:
  virtual ~bf16_source() = default;
  virtual result<void> read(const parameter_slice& slice, std::span<std::uint16_t> out) = 0;
};

class sampler_engine {
 public:
  virtual ~sampler_engine() = default;

  /// Replaces all weights. Active sequences keep their KV cache and go on with the new weights.
  virtual result<void> load(bf16_source& source) = 0;

  /// Replaces single elements.
  virtual result<void> patch(std::span<const element_patch> patches) = 0;

  virtual result<void> admit(sequence_start start) = 0;
  virtual void cancel(std::uint64_t sequence) = 0;

  /// One token for every active sequence; empty when there is none.
  virtual result<std::vector<decoded_token>> step() = 0;

  [[nodiscard]] virtual std::size_t num_active() const = 0;
};

}  // namespace troupe::gpu
