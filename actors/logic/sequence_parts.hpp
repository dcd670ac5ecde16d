#pragma once

// Sampled sequences in pieces: how one grows by tokens, is cut in two, and is put together again
// from the chunks of a stream. Whoever joins all chunks has the answer that one message would have
// been.
//
// Threading: pure functions.

#include <cstddef>
#include <cstdint>

#include "messages/sampling.hpp"

namespace troupe::logic {

/// A sequence's next token, with what its request wanted to know of it.
void append_token(sampled_sequence& out, const scored_token& token, std::uint64_t version,
                  const sampling_params& params);

/// Takes the first `size` tokens away; the reason stays behind. Requires: as many are there.
[[nodiscard]] sampled_sequence take_front(sampled_sequence& from, std::size_t size);

/// Puts a part behind what is there already.
void append_part(sampled_sequence& whole, const sampled_sequence& part);

/// Puts a chunk behind those before it. Chunks with another number of samples are cut to fit.
void append_chunk(sample_reply& whole, const sample_chunk& chunk);

}  // namespace troupe::logic
