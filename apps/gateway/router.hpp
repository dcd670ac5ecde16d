#pragma once

// Every path the gateway knows, in one table, and who may call it. A route without a key is a
// decision that stands beside its path.
//
// Threading: one owner; built before the first call.

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "apps/gateway/http_server.hpp"
#include "apps/gateway/key_ring.hpp"
#include "apps/gateway/metrics.hpp"
#include "apps/gateway/quota_ledger.hpp"

namespace troupe::gateway {

/// `waiting`: with a key, too, but never counted against its quota.
enum class access : std::uint8_t { with_key = 0, open = 1, waiting = 2 };

struct call {
  http_call http;
  std::string key_id;              ///< of the caller; empty on open routes
  std::vector<std::string> parts;  ///< what stood in place of each {}

  /// A value of the query; empty when it is not there.
  [[nodiscard]] std::string query(std::string_view key) const;
  [[nodiscard]] std::uint64_t query_number(std::string_view key, std::uint64_t otherwise) const;
};

using call_handler = std::function<void(call&, const responder&)>;

struct route {
  std::string method;
  std::string pattern;  ///< "/api/v1/sessions/{}/finish"
  access who = access::with_key;
  call_handler handler;
};

class router {
 public:
  router(key_ring& keys, quota_ledger& quotas, metrics& watched)
      : keys_(keys), quotas_(quotas), watched_(watched) {}

  void add(route entry);
  [[nodiscard]] const std::vector<route>& routes() const { return routes_; }

  /// The refusal of a call that no route or no key lets in.
  [[nodiscard]] std::optional<reply> gate(const http_call& http);
  void serve(http_call http, const responder& respond);
  /// A call that was let in by an earlier gateway.
  void handle(call taken, const responder& respond);

 private:
  struct match {
    const route* found = nullptr;
    std::vector<std::string> parts;
  };
  [[nodiscard]] match find(std::string_view method, std::string_view path) const;
  [[nodiscard]] std::optional<reply> refusal_at_the_gate(const http_call& http, const route* found);

  key_ring& keys_;
  quota_ledger& quotas_;
  metrics& watched_;
  std::vector<route> routes_;
};

}  // namespace troupe::gateway
