#include "apps/gateway/listening.hpp"

#include "apps/gateway/gateway_url.hpp"

namespace troupe::gateway {

result<std::unique_ptr<http_server>> listen_as_before(boost::asio::io_context& loop,
                                                      const options& wanted,
                                                      const http_handlers& handlers) {
  const std::uint16_t earlier = wanted.port == 0 ? read_port(wanted.data_folder) : wanted.port;
  auto server = http_server::listen(loop, wanted.host, earlier, wanted.tls, handlers);
  if (!server && wanted.port == 0) {
    server = http_server::listen(loop, wanted.host, 0, wanted.tls, handlers);
  }
  if (!server) return server;
  const auto ok = write_url(wanted.data_folder, wanted.scheme(), wanted.host, (*server)->port());
  if (!ok) return fail(ok.error());
  return server;
}

}  // namespace troupe::gateway
