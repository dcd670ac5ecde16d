#pragma once

// One served model, as its users see it: sample from it, and bring it to a new checkpoint while it
// goes on serving.
//
// Threading: calls from any thread. Errors: in the futures; busy replicas are asked again.

#include <memory>
#include <vector>

#include "apps/client/future.hpp"
#include "messages/sampling.hpp"
#include "messages/weight_sync.hpp"

namespace troupe::client {

class sampling_session;

class sampling_client {
 public:
  explicit sampling_client(std::shared_ptr<sampling_session> session);

  future<sample_reply> sample(std::vector<token_id> prompt, const sampling_params& params,
                              std::uint32_t num_samples);
  future<sync_reply> sync(checkpoint_id checkpoint,
                          in_flight_policy in_flight = in_flight_policy::keep_cache);

  [[nodiscard]] result<deployment_info> status();

 private:
  std::shared_ptr<sampling_session> session_;
};

}  // namespace troupe::client
