#pragma once

// The device of a node as users and launchers write it: "cpu", "cuda" or "auto", the last two
// perhaps with the number of a GPU behind a colon. Processes of one machine are told different
// numbers, so that each has a GPU of its own; CUDA_VISIBLE_DEVICES still decides which those are.
//
// Threading: pure. Errors: errc::invalid_argument for another text, errc::engine_not_built when
// "cuda" is asked for and the GPU is not there.

#include <cstdint>
#include <optional>
#include <string_view>

#include "messages/error.hpp"

namespace troupe::gpu {

enum class device_kind : std::uint8_t { cpu, cuda, any };

struct device_choice {
  device_kind kind = device_kind::cpu;
  std::uint32_t gpu = 0;

  bool operator==(const device_choice&) const = default;
};

[[nodiscard]] result<device_choice> parse_device(std::string_view text);

/// The GPU to use, or none: the processor. "auto" takes the processor when its GPU is not there.
[[nodiscard]] result<std::optional<std::uint32_t>> choose_gpu(const device_choice& choice,
                                                              std::uint32_t num_gpus);

}  // namespace troupe::gpu
