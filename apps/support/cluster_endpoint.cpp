#include "apps/support/cluster_endpoint.hpp"

#include <filesystem>
#include <limits>
#include <sstream>

#include "apps/support/json.hpp"
#include "apps/support/text_file.hpp"
#include "config/limits.hpp"

namespace troupe::apps {
namespace {

std::string path_of(const std::string& data_folder) {
  return data_folder + "/cluster.json";
}

}  // namespace

result<cluster_endpoint> read_cluster_endpoint(const std::string& data_folder) {
  std::error_code problem;
  const std::string absolute = std::filesystem::absolute(data_folder, problem).string();
  const std::string path = path_of(absolute);
  const auto text = read_text_file(path, limits::config_file_bytes_max);
  if (!text) {
    return fail(errc::not_found, "no cluster at " + absolute, "it was never started there",
                "start it with `troupe up`, or name its data folder with --data-folder");
  }
  const auto parsed = parse_json(*text);
  if (!parsed || !parsed->is_object()) {
    return fail(errc::invalid_argument, path + " is damaged", "it was edited or cut short",
                "restart the cluster");
  }
  const auto& object = parsed->get_object();
  const auto cluster = text_of(object, "cluster");
  const auto host = text_of(object, "host");
  const auto token = text_of(object, "join_token");
  const auto port = integer_of(object, "port");
  if (!cluster || !host || !token || !port || *port < 0 ||
      *port > std::numeric_limits<std::uint16_t>::max()) {
    return fail(errc::invalid_argument, path + " lacks a field", "it was edited",
                "restart the cluster");
  }
  return cluster_endpoint{*cluster, *host, static_cast<std::uint16_t>(*port), *token, absolute};
}

result<void> write_cluster_endpoint(const cluster_endpoint& endpoint) {
  boost::json::object object;
  object["cluster"] = endpoint.cluster;
  object["host"] = endpoint.host;
  object["port"] = endpoint.port;
  object["join_token"] = endpoint.join_token;
  return replace_text_file(path_of(endpoint.data_folder), boost::json::serialize(object) + "\n");
}

}  // namespace troupe::apps
