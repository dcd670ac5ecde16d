#pragma once

// What the gateway is told on its command line; `troupe up` takes it from the cluster file.
//
// Threading: pure. Errors: errc::invalid_argument with the parser's own words.

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "apps/gateway/http_server.hpp"
#include "config/cluster_config.hpp"
#include "messages/error.hpp"

namespace troupe::gateway {

struct options {
  std::string help;  ///< when it was asked for, and nothing else is set
  std::string name = "gateway";
  std::string data_folder;  ///< absolute
  std::string host = "127.0.0.1";
  std::uint16_t port = 0;
  std::uint32_t ranks = 1;  ///< of each run
  config::lora_mode lora = config::lora_mode::adapters;
  config::key_quota per_key;
  std::optional<tls_files> tls;
  std::map<std::string, std::string> models;  ///< base_model -> absolute directory
  int ready_descriptor = -1;

  [[nodiscard]] std::string scheme() const { return tls ? "https" : "http"; }
};

[[nodiscard]] bool is_loopback(const std::string& host);

[[nodiscard]] result<options> parse_options(int count, const char* const* words);

}  // namespace troupe::gateway
