#pragma once

// HTTP/1.1 on one event loop: thousands of idle long polls cost a socket and a few kilobytes each,
// no thread. Headers are judged before a body is read, so that strangers cannot make the gateway
// hold their megabytes.
//
// Threading: everything on the io_context's thread; a responder must be called there, once.
// Errors: errc::in_use when the port is taken. Broken, slow and oversized requests are answered or
// cut off here and never seen by a handler.

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include <boost/asio/io_context.hpp>

#include "apps/gateway/reply.hpp"

namespace troupe::gateway {

struct http_call {
  std::string method;
  std::string path;   ///< without the query
  std::string query;  ///< after '?'
  std::string content_type;
  std::string content_encoding;
  std::string host;        ///< as the client addressed this server
  std::string credential;  ///< X-API-Key, or the token of Authorization: Bearer
  std::string body;
};

struct http_handlers {
  /// Sees a call without its body; what it gives is the answer, and the connection ends.
  std::function<std::optional<reply>(const http_call&)> gate;
  std::function<void(http_call, responder)> serve;
};

/// PEM files.
struct tls_files {
  std::string certificate;  ///< with its chain
  std::string key;
};

class http_server {
 public:
  [[nodiscard]] static result<std::unique_ptr<http_server>> listen(
      boost::asio::io_context& loop, const std::string& host, std::uint16_t port,
      const std::optional<tls_files>& tls, http_handlers handlers);
  http_server(const http_server&) = delete;
  http_server& operator=(const http_server&) = delete;
  ~http_server();

  [[nodiscard]] std::uint16_t port() const;

 private:
  struct acceptor;
  explicit http_server(std::shared_ptr<acceptor> door);

  std::shared_ptr<acceptor> acceptor_;
};

}  // namespace troupe::gateway
