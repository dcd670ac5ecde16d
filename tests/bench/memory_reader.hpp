#pragma once

// Values of a model in memory as what directories are written from, so that a baseline reads the
// weights that the engine has.
//
// Threading: one thread at a time. Errors: none.

#include <algorithm>
#include <cstdint>
#include <span>

#include "storage/hf_directory.hpp"
#include "tests/conformance/engine_memory.hpp"

namespace troupe::bench {

/// Values of parameters from `first` on.
class memory_reader final : public storage::tensor_reader {
 public:
  memory_reader(test::model_memory& memory, std::uint32_t first) : memory_(memory), first_(first) {}
  result<void> read(std::uint32_t parameter, std::uint64_t begin, std::span<float> out) override {
    const auto& values = memory_.parameters(gpu::state_part::weights)[first_ + parameter];
    std::copy_n(values.begin() + static_cast<std::ptrdiff_t>(begin), out.size(), out.begin());
    return {};
  }

 private:
  test::model_memory& memory_;
  std::uint32_t first_;
};

}  // namespace troupe::bench
