#pragma once

// The body of POST asample. As with training, a broken envelope refuses the request and anything
// else that is wrong fails its future.
//
// Threading: pure functions.
// Errors: errc::invalid_argument. In `body` also errc::unsupported, naming the option.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <boost/json.hpp>

#include "messages/error.hpp"
#include "messages/sampling.hpp"
#include "messages/tinker/target_cells.hpp"

namespace troupe::tinker {

enum class stop_rule : std::uint8_t {
  end_of_text = 0,  ///< nothing was said: the model's own end tokens stop it
  listed = 1,       ///< only params.stop_tokens and stop_texts do
};

/// `request.deployment` stays empty. max_tokens and seed of 0 mean that none was given.
struct sample_body {
  sample_request request;
  stop_rule stop = stop_rule::end_of_text;
  std::vector<std::string> stop_texts;
  std::size_t prompt_logprobs_last = 0;  ///< asked for these only; 0: for all
  std::optional<target_cells> targets;   ///< whose tokens are in the request
};

struct sample_call {
  std::string sampling_session_id;
  std::uint64_t seq_id = 0;
  std::uint32_t num_samples = 1;
  result<sample_body> body;
};

[[nodiscard]] result<sample_call> decode_sample_call(const boost::json::object& in);

}  // namespace troupe::tinker
