#include "apps/gateway/api.hpp"
#include "apps/gateway/names.hpp"
#include "config/limits.hpp"
#include "messages/tinker/json_fields.hpp"

namespace troupe::gateway {
namespace {

void healthz(call&, const responder& respond) {
  respond(json_reply({{"status", "ok"}}));
}

void capabilities(service& all, const responder& respond) {
  boost::json::array models;
  for (const auto& [name, model] : all.bases.all()) {
    models.push_back(boost::json::object{{"model_name", name},
                                         {"max_context_length", model.max_positions},
                                         {"trainable", true},
                                         {"sampleable", true}});
  }
  respond(json_reply({{"supported_models", std::move(models)}}));
}

/// Every flag is said, so that a client's own defaults of another version do not matter. Chunks in
/// order make the sum of gradients reproducible.
void client_config(call&, const responder& respond) {
  respond(json_reply({{"pjwt_auth_enabled", false},
                      {"credential_default_source", "api_key"},
                      {"sample_dispatch_bytes_semaphore_size", 10 * 1024 * 1024},
                      {"inflight_response_bytes_semaphore_size", 50 * 1024 * 1024},
                      {"parallel_fwdbwd_chunks", false},
                      {"proto_compress_fwdbwd", false},
                      {"fwdbwd_max_chunk_len", 1024},
                      {"fwdbwd_max_chunk_bytes_count", 5'000'000},
                      {"fwdbwd_dispatch_bytes_semaphore_size", 50'000'000},
                      {"billing_exception_max_pause_duration_sec", 3600},
                      {"sample_no_retries", false},
                      {"sample_enable_stuck_detection", true},
                      {"sample_max_concurrent_requests", 2000},
                      {"use_pyqwest_transport", true},
                      {"create_model_via_load_weights", true},
                      {"sample_use_retrieve_futures", false},
                      {"custom_loss_server_side", false},
                      {"sample_join_sampling_session", true}}));
}

void dynamic_config(call&, const responder& respond) {
  respond(json_reply({{"refresh_interval_sec", 300},
                      {"sample_cancel_enabled", true},
                      {"sample_cancel_max_batch_size", 64}}));
}

/// What a client says of itself, to be found by later.
result<boost::json::object> client_of(const boost::json::object& in) {
  boost::json::object out;
  for (const char* key : {"user_metadata", "tags", "display_name", "project_id", "sdk_version"}) {
    const auto* value = in.if_contains(key);
    if (value != nullptr && !value->is_null()) out[key] = *value;
  }
  if (boost::json::serialize(out).size() <= limits::user_metadata_bytes_max) return out;
  return fail(errc::invalid_argument,
              "tags and user_metadata are larger than " +
                  std::to_string(limits::user_metadata_bytes_max) + " bytes",
              "", "shorten them");
}

void create_session(service& all, call& from, const responder& respond) {
  const auto object = object_of(from, respond);
  if (!object) return;
  auto client = client_of(*object);
  if (!client) return respond(refusal(client.error()));
  const auto id = all.sessions.open(from.key_id, std::move(*client));
  if (!id) return respond(refusal(id.error()));
  respond(json_reply({{"type", "create_session"}, {"session_id", *id}}));
}

void heartbeat(service& all, call& from, const responder& respond) {
  const auto object = object_of(from, respond);
  if (!object) return;
  tinker::json_fields in(*object);
  const std::string id = in.text("session_id");
  if (in.failure()) return respond(refusal(*in.failure()));
  const auto known = all.sessions.find(from.key_id, id);
  // 410 tells the client to stop; it would repeat a 404 for ever.
  if (!known) return respond(refusal(410, known.error()));
  respond(json_reply({{"type", "session_heartbeat"}}));
}

/// {"reason": {"type": ...}, "detail": ...} without its wrapping; anything else is no ending.
boost::json::object ending_of(const std::string& body) {
  boost::json::object out;
  const auto object = tinker::parse_object(body);
  if (!object) return out;
  tinker::json_fields in(*object);
  const auto* reason = in.find("reason");
  if (reason == nullptr || !reason->is_object()) return out;
  tinker::json_fields inside(reason->get_object());
  const auto type = inside.optional_text("type");
  if (type) out["type"] = *type;
  if (const auto detail = in.optional_text("detail")) out["detail"] = *detail;
  return out;
}

void finish_session(service& all, call& from, const responder& respond) {
  const std::string& id = from.parts.front();
  if (!owns(from.key_id, id)) {
    return respond(refusal({errc::not_found, "there is no session '" + id.substr(0, 200) + "'",
                            "it is mistyped, or of another key", ""}));
  }
  all.end_session(id, ending_of(from.http.body), [id, respond] {
    respond(json_reply({{"session_id", id}}));
  });
}

void telemetry(call&, const responder& respond) {
  respond(json_reply({{"status", "accepted"}}));
}

void show_metrics(service& all, const responder& respond) {
  const gauges now{all.sessions.num_live(), all.futures.num_open(), all.futures.num_waiting(),
                   all.num_samples(), all.sessions.longest_silence_seconds()};
  respond({200, "text/plain; version=0.0.4", all.watched.text(now)});
}

}  // namespace

std::optional<boost::json::object> object_of(const call& from, const responder& respond) {
  auto object = tinker::parse_object(from.http.body);
  if (object) return std::move(*object);
  respond(refusal(object.error()));
  return std::nullopt;
}

void add_session_routes(router& routes, service& all) {
  const auto with = [&all](auto handler) {
    return [&all, handler](call& from, const responder& respond) { handler(all, from, respond); };
  };
  routes.add({"GET", "/api/v1/healthz", access::open, healthz});
  routes.add({"GET", "/healthz", access::open, healthz});
  routes.add({"GET", "/api/v1/get_server_capabilities", access::with_key,
              [&all](call&, const responder& respond) { capabilities(all, respond); }});
  routes.add({"POST", "/api/v1/client/config", access::with_key, client_config});
  routes.add({"POST", "/api/v1/client/dynamic_config", access::with_key, dynamic_config});
  routes.add({"POST", "/api/v1/create_session", access::with_key, with(create_session)});
  routes.add({"POST", "/api/v1/session_heartbeat", access::waiting, with(heartbeat)});
  routes.add({"POST", "/api/v1/sessions/{}/finish", access::with_key, with(finish_session)});
  routes.add({"POST", "/api/v1/telemetry", access::waiting, telemetry});
  // Counts, and no name of anybody's: a scraper needs no key.
  routes.add({"GET", "/metrics", access::open,
              [&all](call&, const responder& respond) { show_metrics(all, respond); }});
}

}  // namespace troupe::gateway
