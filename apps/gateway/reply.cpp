#include "apps/gateway/reply.hpp"

namespace troupe::gateway {
namespace {

const char* category_name(errc code) {
  return category_of(code) == error_category::user ? "user" : "server";
}

unsigned status_of(errc code) {
  switch (code) {
    case errc::not_found:
      return 404;
    case errc::fenced:
      return 403;
    case errc::busy:
      return 429;
    default:
      return category_of(code) == error_category::user ? 400 : 503;
  }
}

}  // namespace

reply json_reply(const boost::json::object& object) {
  return {200, "application/json", boost::json::serialize(object)};
}

reply protobuf_reply(std::string bytes) {
  return {200, "application/x-protobuf", std::move(bytes)};
}

reply refusal(const error& e) {
  return refusal(status_of(e.code), e);
}

reply refusal(unsigned status, const error& e) {
  reply out = json_reply({{"detail", to_string(e)}, {"category", category_name(e.code)}});
  out.status = status;
  return out;
}

reply failed_future(const error& e) {
  return json_reply({{"error", to_string(e)}, {"category", category_name(e.code)}});
}

reply unexpected_result() {
  return failed_future({errc::internal, "the run answered something of another kind",
                        "gateway and cluster are of different versions",
                        "use the same build for both"});
}

}  // namespace troupe::gateway
