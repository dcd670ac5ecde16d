#include "apps/gateway/gateway_url.hpp"

#include <limits>
#include <optional>

#include "apps/support/json.hpp"
#include "apps/support/text_file.hpp"
#include "config/limits.hpp"

namespace troupe::gateway {
namespace {

std::string path_of(const std::string& data_folder) {
  return data_folder + "/gateway.json";
}

std::optional<boost::json::object> read_file(const std::string& data_folder) {
  const auto text = apps::read_text_file(path_of(data_folder), limits::config_file_bytes_max);
  if (!text) return std::nullopt;
  auto value = apps::parse_json(*text);
  if (!value || !value->is_object()) return std::nullopt;
  return std::move(value->get_object());
}

}  // namespace

result<std::string> read_url(const std::string& data_folder) {
  const auto object = read_file(data_folder);
  const auto url = object ? apps::text_of(*object, "url") : std::nullopt;
  if (url) return *url;
  return fail(errc::not_found, "no gateway listens for " + data_folder,
              "it was never started there", "start it with `troupe up`");
}

std::uint16_t read_port(const std::string& data_folder) {
  const auto object = read_file(data_folder);
  const auto port = object ? apps::integer_of(*object, "port") : std::nullopt;
  const bool fits = port && *port > 0 && *port <= std::numeric_limits<std::uint16_t>::max();
  return fits ? static_cast<std::uint16_t>(*port) : std::uint16_t{0};
}

result<void> write_url(const std::string& data_folder, const std::string& scheme,
                       const std::string& host, std::uint16_t port) {
  const std::string place = host.find(':') == std::string::npos ? host : "[" + host + "]";
  const boost::json::object out{{"url", scheme + "://" + place + ":" + std::to_string(port)},
                                {"port", port}};
  return apps::replace_text_file(path_of(data_folder), boost::json::serialize(out) + "\n");
}

}  // namespace troupe::gateway
