#pragma once

// The one error value of the project. A code exists only where somebody reacts to it; everything
// else a person needs is in the three sentences: what happened, the likely cause, what to do.
//
// Threading: plain values.

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include <tl/expected.hpp>

namespace troupe {

enum class errc : std::uint16_t {
  none = 0,
  invalid_argument = 1,   ///< user: the request or file is wrong; nothing was changed
  not_found = 2,          ///< user: the named thing does not exist
  already_exists = 3,     ///< user: the name is taken
  bad_model = 4,          ///< user: a model directory is damaged or contradicts itself
  unsupported = 5,        ///< user: well-formed, but this build cannot do it
  not_finite = 6,         ///< user: a loss or gradient is NaN or infinite; state unchanged
  seq_reused = 7,         ///< user: a seq_id came again with another body
  seq_gap = 8,            ///< user: an earlier seq_id never arrived
  fenced = 9,             ///< the sender's incarnation or client_epoch was replaced
  busy = 10,              ///< capacity: a bound is reached; try again
  no_capacity = 11,       ///< capacity: not enough devices joined
  frame_too_large = 12,   ///< user: a message would pass the frame limit; split the batch
  timeout = 13,           ///< a deadline passed; the outcome is unknown to the caller
  peer_lost = 14,         ///< a node, shard or rank went away
  wrong_base = 15,        ///< a delta does not start from the live state
  corrupt = 16,           ///< stored or received bytes fail their digest
  storage = 17,           ///< the disk or database refused
  storage_full = 18,      ///< the disk is full
  in_use = 19,            ///< a data folder or port belongs to somebody else
  engine_not_built = 20,  ///< the device kind is not part of this build
  engine = 21,            ///< the maths library failed
  protocol = 22,          ///< a peer sent what cannot be decoded or speaks another version
  aborted = 23,           ///< the op was given up for good; its stored error is this one
  cancelled = 24,         ///< the user asked to stop
  internal = 25,          ///< a broken promise inside Troupe
  rolled_back = 26,       ///< user: a run lost ops for good and waits to be acknowledged
};

enum class error_category : std::uint8_t { user, system, capacity, fenced, quota };

struct error {
  errc code = errc::none;
  std::string what;    ///< what happened, with the values that matter
  std::string cause;   ///< the likely cause; may be empty
  std::string action;  ///< what to do; may be empty

  bool operator==(const error&) const = default;
};

/// True when the same request may succeed later without being changed.
[[nodiscard]] bool is_retryable(errc code);

[[nodiscard]] error_category category_of(errc code);

/// Stable lower-case name of the code, as `--json` shows it.
[[nodiscard]] std::string_view to_string(errc code);

/// "what (cause): action" in one line.
[[nodiscard]] std::string to_string(const error& e);

template <class T>
using result = tl::expected<T, error>;

/// Builds the failure of a `result`.
[[nodiscard]] inline tl::unexpected<error> fail(errc code, std::string what, std::string cause = {},
                                                std::string action = {}) {
  return tl::unexpected<error>(error{code, std::move(what), std::move(cause), std::move(action)});
}

[[nodiscard]] inline tl::unexpected<error> fail(error e) {
  return tl::unexpected<error>(std::move(e));
}

}  // namespace troupe
