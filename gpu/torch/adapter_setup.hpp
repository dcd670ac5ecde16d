#pragma once

// What makes a trainer one of adapters, without the maths library that holds their base.
//
// Threading: plain values.

#include <memory>

#include "messages/model.hpp"

namespace troupe::gpu {

struct frozen_base;

struct adapter_setup {
  lora_config lora;
  std::shared_ptr<frozen_base> base = nullptr;  ///< null: a copy of its own
};

}  // namespace troupe::gpu
