#pragma once

// Where the tensors of an engine lie and whose code works on them. On the processor these are the
// kernels of this project; on a GPU it is the maths library, with the kernels of this project where
// it lacks one (library/). The library's way runs on the processor as well, which is how it is
// tested without a GPU.
//
// An engine enters its placement with a placement_scope; the ops below it find it there, as they
// find the pool of threads.
//
// Threading: a scope holds for its own thread. Ops ask before they share work out.

#include <cstdint>
#include <optional>

namespace troupe::gpu {

enum class op_code : std::uint8_t { own, library };

struct placement {
  std::optional<std::uint32_t> gpu = std::nullopt;  ///< as this process counts them
  op_code code = op_code::own;

  bool operator==(const placement&) const = default;
};

[[nodiscard]] constexpr placement on_gpu(std::uint32_t number) {
  return {number, op_code::library};
}

class placement_scope {
 public:
  explicit placement_scope(const placement& place);
  ~placement_scope();
  placement_scope(const placement_scope&) = delete;
  placement_scope& operator=(const placement_scope&) = delete;

 private:
  placement outer_;
};

/// Of this thread.
[[nodiscard]] const placement& current_placement();
[[nodiscard]] bool uses_library();

}  // namespace troupe::gpu
