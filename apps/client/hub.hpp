#pragma once

// The actor behind a client: threads hand it small jobs, it sends the requests and fulfils the
// futures. One per connection, so that everything a client remembers is touched by one thread.
//
// Threading: `post` from any thread; jobs run one after the other in the hub.

#include <functional>
#include <memory>
#include <utility>

#include <caf/all.hpp>

#include "actors/protocol/type_ids.hpp"

namespace troupe::client {

struct hub_job;

using hub_actor = caf::typed_actor<caf::result<void>(hub_job)>;

/// Never leaves its process.
struct hub_job {
  std::shared_ptr<const std::function<void(hub_actor::pointer)>> run;
};

[[nodiscard]] inline hub_actor::behavior_type hub(hub_actor::pointer self) {
  return {[self](const hub_job& job) { (*job.run)(self); }};
}

template <class Job>
void post(const hub_actor& to, Job&& job) {
  using stored = std::function<void(hub_actor::pointer)>;
  caf::anon_send(to, hub_job{std::make_shared<const stored>(std::forward<Job>(job))});
}

}  // namespace troupe::client

CAF_BEGIN_TYPE_ID_BLOCK(troupe_client, caf::id_block::troupe::end)
CAF_ADD_TYPE_ID(troupe_client, (troupe::client::hub_job))
CAF_END_TYPE_ID_BLOCK(troupe_client)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::client::hub_job)
