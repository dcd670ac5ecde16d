#pragma once

// What the actors of one node are made with: the ports that `main` chose, and on which threads
// blocking work runs.
//
// Threading: shared by all actors of the node; outlives them.

#include <cstdint>

#include "gpu/engine_factory.hpp"
#include "messages/ids.hpp"
#include "storage/blob_store.hpp"

namespace troupe::actors {

/// Where engine work runs. Simulations keep everything on their one thread.
enum class worker_threads : std::uint8_t { own_thread, inline_scheduler };

struct node_context {
  node_id node;
  gpu::engine_factory* engines = nullptr;
  storage::blob_store* blobs = nullptr;
  worker_threads threads = worker_threads::own_thread;
};

}  // namespace troupe::actors
