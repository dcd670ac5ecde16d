#include "apps/gateway/api.hpp"
#include "apps/gateway/names.hpp"
#include "config/deadlines.hpp"
#include "messages/tinker/json_fields.hpp"

namespace troupe::gateway {
namespace {

void retrieve_future(service& all, call& from, const responder& respond) {
  const auto object = object_of(from, respond);
  if (!object) return;
  tinker::json_fields in(*object);
  const std::string request = in.text("request_id");
  if (in.failure()) return respond(refusal(*in.failure()));
  all.futures.retrieve(request, from.key_id, respond);
}

void cancel_future(service& all, call& from, const responder& respond) {
  const auto object = object_of(from, respond);
  if (!object) return;
  tinker::json_fields in(*object);
  const std::string request = in.text("request_id");
  if (in.failure()) return respond(refusal(*in.failure()));
  if (!all.futures.is_of(request, from.key_id)) {
    return respond(refusal({errc::not_found, "there is no such request",
                            "it ended long ago, or is of another key", ""}));
  }
  if (all.desk.is_logged(request)) {
    return respond(refusal({errc::invalid_argument, "operations on a model cannot be cancelled",
                            "those that follow build on them", "cancel samples only"}));
  }
  all.futures.resolve(request,
                      failed_future({errc::cancelled, "the request was cancelled", "", ""}));
  all.cancel_sample(request);
  respond(json_reply({}));
}

void retrieve_futures(service& all, call& from, const responder& respond) {
  const auto object = object_of(from, respond);
  if (!object) return;
  tinker::json_fields in(*object);
  const auto* value = in.find("target");
  if (value == nullptr || !value->is_object()) in.refuse("target", "is missing");
  if (in.failure()) return respond(refusal(*in.failure()));
  tinker::json_fields target(value->get_object());
  const std::string sampler = target.text("sampling_session_id");
  const auto clone = target.optional_integer("cloned_sampler_id").value_or(0);
  const auto cursor = in.optional_integer("prev_cursor").value_or(0);
  const double seconds = in.number_or("timeout", -1);
  if (target.failure()) return respond(refusal(*target.failure()));
  if (in.failure()) return respond(refusal(*in.failure()));
  if (const auto owner = all.sessions.find(from.key_id, sampler); !owner) {
    return respond(refusal(owner.error()));
  }
  const std::chrono::milliseconds whole = deadlines::long_poll;
  const bool is_limited =
      seconds >= 0 && seconds < static_cast<double>(deadlines::long_poll.count());
  const auto patience =
      is_limited ? std::chrono::milliseconds(static_cast<std::int64_t>(seconds * 1000)) : whole;
  all.completions.await(channel_of(sampler, clone), cursor, patience, respond);
}

}  // namespace

void add_future_routes(router& routes, service& all) {
  const auto add = [&](const std::string& path, access who, auto handler) {
    routes.add(
        {"POST", "/api/v1/" + path, who,
         [&all, handler](call& from, const responder& respond) { handler(all, from, respond); }});
  };
  add("retrieve_future", access::waiting, retrieve_future);
  add("retrieve_futures", access::waiting, retrieve_futures);
  add("cancel_future", access::with_key, cancel_future);
}

}  // namespace troupe::gateway
