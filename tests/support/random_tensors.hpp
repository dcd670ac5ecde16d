#pragma once

// Weights of a model from a seed, in the order in which they are read.
//
// Threading: one thread.

#include <random>

#include "storage/hf_directory.hpp"

namespace troupe::tests {

class random_tensors final : public storage::tensor_reader {
 public:
  random_tensors(std::uint32_t seed, float deviation) : random_(seed), weights_(0.0F, deviation) {}

  result<void> read(std::uint32_t, std::uint64_t, std::span<float> out) override {
    for (float& value : out)
      value = weights_(random_);
    return {};
  }

 private:
  std::mt19937 random_;
  std::normal_distribution<float> weights_;
};

}  // namespace troupe::tests
