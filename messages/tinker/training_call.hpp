#pragma once

// The body of POST forward_backward: an envelope that says which model is meant and in which turn,
// and the batch. A broken envelope refuses the request; a broken batch uses up its turn and fails
// its future, because a client whose request is refused may wait for that turn for ever.
//
// Threading: pure functions.
// Errors: errc::protocol (no envelope). In `body`: errc::invalid_argument, errc::not_finite,
// errc::unsupported, errc::frame_too_large, each naming datum and field.

#include <cstdint>
#include <string>
#include <string_view>

#include "messages/error.hpp"
#include "messages/training.hpp"

namespace troupe::tinker {

struct training_call {
  std::string model_id;
  std::uint64_t seq_id = 0;
  result<op_body> body;
  std::vector<std::size_t> columns;       ///< of each datum's targets; 0: they have one dimension
  loss_fn loss = loss_fn::cross_entropy;  ///< with its options: of a forward, too
  loss_fn_config loss_config;
};

[[nodiscard]] result<training_call> decode_training_call(std::string_view bytes);

}  // namespace troupe::tinker
