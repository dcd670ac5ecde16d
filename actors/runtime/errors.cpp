#include "actors/runtime/errors.hpp"

#include <caf/all.hpp>

#include "actors/protocol/type_ids.hpp"

namespace troupe::actors {

caf::error to_caf(const error& e) {
  return caf::make_error(e.code, e.what, e.cause, e.action);
}

error from_caf(const caf::error& e) {
  if (e.category() == caf::type_id_v<errc>) {
    error out{static_cast<errc>(e.code()), {}, {}, {}};
    auto context = e.context();
    if (auto view =
            caf::make_const_typed_message_view<std::string, std::string, std::string>(context)) {
      out.what = caf::get<0>(view);
      out.cause = caf::get<1>(view);
      out.action = caf::get<2>(view);
    }
    return out;
  }
  if (e == caf::sec::request_timeout) {
    return {errc::timeout, "no answer before the deadline", "the receiver is busy or gone", ""};
  }
  if (e == caf::sec::request_receiver_down || e == caf::sec::remote_lookup_failed ||
      e == caf::sec::broken_promise || e == caf::sec::no_route_to_receiving_node ||
      e == caf::sec::connection_timeout || e == caf::sec::cannot_connect_to_node ||
      e.category() == caf::type_id_v<caf::exit_reason>) {
    return {errc::peer_lost, "the receiver went away", "its process ended or its link was cut",
            "" + to_string(e)};
  }
  return {errc::internal, to_string(e), "", ""};
}

bool is_lost(const error& e) {
  return e.code == errc::peer_lost || e.code == errc::timeout;
}

}  // namespace troupe::actors
