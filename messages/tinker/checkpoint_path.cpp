#include "messages/tinker/checkpoint_path.hpp"

#include <algorithm>
#include <array>

#include "messages/ids.hpp"

namespace troupe::tinker {
namespace {

constexpr std::string_view scheme = "tinker://";
/// By weights_kind.
constexpr std::array<std::string_view, 3> kinds{"weights", "sampler_weights", "external_weights"};

tl::unexpected<error> refuse(std::string_view path) {
  return fail(errc::invalid_argument, "'" + std::string(path.substr(0, 200)) + "' names no weights",
              "a path is tinker://<run>/weights/<name> or tinker://<run>/sampler_weights/<name>",
              "use a path that save_state or save_weights_for_sampler answered");
}

}  // namespace

result<checkpoint_path> parse_checkpoint_path(std::string_view path) {
  if (!path.starts_with(scheme)) return refuse(path);
  const std::string_view rest = path.substr(scheme.size());
  const std::size_t first = rest.find('/');
  if (first == std::string_view::npos || first == 0) return refuse(path);
  const std::size_t second = rest.find('/', first + 1);
  if (second == std::string_view::npos) return refuse(path);
  checkpoint_path out;
  out.model_id = rest.substr(0, first);
  out.name = rest.substr(second + 1);
  const std::string_view kind = rest.substr(first + 1, second - first - 1);
  const auto known = std::find(kinds.begin(), kinds.end(), kind);
  if (known == kinds.end()) return refuse(path);
  out.kind = static_cast<weights_kind>(known - kinds.begin());
  if (!is_valid_name(out.name)) return refuse(path);
  return out;
}

std::string id_of(const checkpoint_path& path) {
  return std::string(kinds.at(static_cast<std::size_t>(path.kind))) + "/" + path.name;
}

std::string to_string(const checkpoint_path& path) {
  return std::string(scheme) + path.model_id + "/" + id_of(path);
}

}  // namespace troupe::tinker
