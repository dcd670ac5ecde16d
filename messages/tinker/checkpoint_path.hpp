#pragma once

// The names under which Tinker's clients know weights: tinker://<run>/<kind>/<name>. The run is the
// model's id and may hold ':'; kind and name have no slash.
//
// Threading: pure functions. Errors: errc::invalid_argument.

#include <cstdint>
#include <string>
#include <string_view>

#include "messages/error.hpp"

namespace troupe::tinker {

enum class weights_kind : std::uint8_t { training = 0, sampler = 1, external = 2 };

struct checkpoint_path {
  std::string model_id;
  weights_kind kind = weights_kind::training;
  std::string name;

  bool operator==(const checkpoint_path&) const = default;
};

[[nodiscard]] result<checkpoint_path> parse_checkpoint_path(std::string_view path);

[[nodiscard]] std::string to_string(const checkpoint_path& path);

/// "<kind>/<name>": what the protocol calls a checkpoint_id within its run.
[[nodiscard]] std::string id_of(const checkpoint_path& path);

}  // namespace troupe::tinker
