#pragma once

// What a sampling_client holds: its link and the deployment's handle.
//
// Threading: immutable.

#include <memory>

#include "apps/client/connection.hpp"
#include "messages/sampling.hpp"

namespace troupe::client {

class sampling_session {
 public:
  sampling_session(std::shared_ptr<connection> link, deployment_id deployment,
                   actors::deployment_actor handle)
      : link_(std::move(link)), deployment_(std::move(deployment)), handle_(std::move(handle)) {}

  [[nodiscard]] const connection& link() const { return *link_; }
  [[nodiscard]] const deployment_id& deployment() const { return deployment_; }
  [[nodiscard]] const actors::deployment_actor& handle() const { return handle_; }

 private:
  std::shared_ptr<connection> link_;
  deployment_id deployment_;
  actors::deployment_actor handle_;
};

}  // namespace troupe::client
