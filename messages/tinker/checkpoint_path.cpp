#include "messages/tinker/checkpoint_path.hpp"

#include "messages/ids.hpp"

namespace troupe::tinker {
namespace {

constexpr std::string_view scheme = "tinker://";

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
  if (kind == "sampler_weights") {
    out.kind = weights_kind::sampler;
  } else if (kind != "weights") {
    return refuse(path);
  }
  if (!is_valid_name(out.name)) return refuse(path);
  return out;
}

std::string to_string(const checkpoint_path& path) {
  const char* kind = path.kind == weights_kind::training ? "/weights/" : "/sampler_weights/";
  return std::string(scheme) + path.model_id + kind + path.name;
}

}  // namespace troupe::tinker
