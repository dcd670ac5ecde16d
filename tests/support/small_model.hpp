#pragma once

// The smallest model that has all that a dense one has.
//
// Threading: pure functions.

#include "messages/model.hpp"

namespace troupe::tests {

[[nodiscard]] inline model_config small_model() {
  model_config m;
  m.vocab_size = 40;
  m.hidden_size = 16;
  m.intermediate_size = 24;
  m.num_layers = 2;
  m.num_heads = 2;
  m.num_kv_heads = 1;
  m.head_dim = 8;
  m.max_positions = 64;
  return m;
}

}  // namespace troupe::tests
