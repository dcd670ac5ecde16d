#pragma once

// Frozen weights of a base model, held once per process however many adapters train beside them:
// the base is most of such an engine's memory, and reading it most of its start.
//
// The cache knows bases by the identity that their first user gives; it keeps none alive, so a base
// goes with the last engine that stands on it.
//
// Threading: locked. The second user of a base waits while the first one reads it; after that the
// weights are read only.
// Invariants: BASE-1 weights never change once is_loaded is set.

#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "gpu/models/sharding.hpp"
#include "gpu/torch/tensors.hpp"
#include "messages/error.hpp"
#include "messages/model.hpp"

namespace troupe::gpu {

struct frozen_base {
  std::mutex loading;
  bool is_loaded = false;
  std::vector<at::Tensor> shards;           ///< one per parameter group
  std::optional<state_digest> bf16_digest;  ///< once somebody asked for it
};

class frozen_bases {
 public:
  struct key {
    std::string identity;  ///< empty: never shared
    model_config model;
    std::uint32_t rank = 0;
    std::uint32_t world_size = 1;
    std::uint32_t shard_size = 0;  ///< as in rank_set

    bool operator==(const key&) const = default;
  };

  [[nodiscard]] std::shared_ptr<frozen_base> find_or_make(const key& wanted);

 private:
  struct entry {
    key name;
    std::weak_ptr<frozen_base> base;
  };

  std::mutex mutex_;
  std::vector<entry> entries_;
};

}  // namespace troupe::gpu
