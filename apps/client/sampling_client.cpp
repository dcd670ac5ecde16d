#include "apps/client/sampling_client.hpp"

#include "apps/client/sampling_session.hpp"
#include "config/deadlines.hpp"

namespace troupe::client {

sampling_client::sampling_client(std::shared_ptr<sampling_session> session)
    : session_(std::move(session)) {}

future<sample_reply> sampling_client::sample(std::vector<token_id> prompt,
                                             const sampling_params& params,
                                             std::uint32_t num_samples) {
  return session_->ask<sample_reply>(
      deadlines::sample,
      sample_request{session_->deployment(), std::move(prompt), params, num_samples, 0});
}

future<sync_reply> sampling_client::sync(checkpoint_id checkpoint, in_flight_policy in_flight) {
  return session_->ask<sync_reply>(
      deadlines::sync, sync_request{session_->deployment(), std::move(checkpoint), in_flight});
}

result<deployment_info> sampling_client::status() {
  return session_
      ->ask<deployment_info>(deadlines::control, deployment_status_request{session_->deployment()})
      .get(deadlines::op);
}

}  // namespace troupe::client
