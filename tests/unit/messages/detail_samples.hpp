#pragma once

// Parts that samples of several topics hold.
//
// Threading: pure functions.

#include "messages/checkpoint.hpp"
#include "messages/sampling.hpp"
#include "messages/training.hpp"
#include "tests/unit/messages/value_source.hpp"

namespace troupe::test {

[[nodiscard]] error make_error(value_source& from);
[[nodiscard]] std::vector<datum> make_batch(value_source& from);
[[nodiscard]] adam_params make_adam(value_source& from);
[[nodiscard]] forward_details make_details(value_source& from);
[[nodiscard]] std::vector<datum_details> make_told(value_source& from);
[[nodiscard]] op_request make_op(value_source& from);
[[nodiscard]] op_reply make_reply(value_source& from);
[[nodiscard]] create_run_request make_create_run(value_source& from);
[[nodiscard]] run_info make_run_info(value_source& from);
[[nodiscard]] checkpoint_file make_file(value_source& from);
[[nodiscard]] checkpoint_record make_record(value_source& from);
[[nodiscard]] deployment_info make_deployment(value_source& from);

}  // namespace troupe::test
