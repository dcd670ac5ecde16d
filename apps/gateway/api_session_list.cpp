#include <algorithm>
#include <cctype>
#include <sstream>

#include "apps/gateway/api.hpp"
#include "apps/gateway/names.hpp"
#include "apps/gateway/unix_time.hpp"
#include "messages/tinker/json_fields.hpp"

namespace troupe::gateway {
namespace {

constexpr std::uint64_t search_limit_default = 50;
constexpr std::uint64_t search_limit_max = 200;

result<const session*> own_session(service& all, const call& from) {
  const std::string& id = from.parts.front();
  const session* known = all.sessions.known(from.key_id, id);
  if (known != nullptr) return known;
  return fail(errc::not_found, "there is no session '" + id.substr(0, 200) + "'",
              "it is mistyped, or of another key", "list the sessions");
}

/// The client's metadata as far as it is text, which is all that clients read back.
boost::json::object texts_of(const session& from, const char* key) {
  boost::json::object out;
  const auto* value = from.client.if_contains(key);
  if (value == nullptr || !value->is_object()) return out;
  for (const auto& [name, entry] : value->get_object()) {
    if (entry.is_string()) out[name] = entry;
  }
  return out;
}

std::string text_of(const boost::json::object& in, const char* key) {
  const auto* value = in.if_contains(key);
  return value != nullptr && value->is_string() ? std::string(value->get_string()) : std::string();
}

void list_sessions(service& all, call& from, const responder& respond) {
  const auto ids = all.sessions.of_key(from.key_id);
  const auto limit = from.query_number("limit", ids.size());
  boost::json::array out;
  for (auto i = from.query_number("offset", 0); i < ids.size() && out.size() < limit; ++i)
    out.emplace_back(ids[i]);
  respond(json_reply({{"sessions", std::move(out)}}));
}

void get_session(service& all, call& from, const responder& respond) {
  const auto known = own_session(all, from);
  if (!known) return respond(refusal(known.error()));
  const std::string& id = from.parts.front();
  boost::json::array runs;
  for (const model_record& record : all.records.of_prefix(id + ":train:"))
    runs.emplace_back(record.model_id);
  boost::json::array samplers;
  for (const std::string& sampler : all.samplers.of_session(id))
    samplers.emplace_back(sampler);
  boost::json::object out{{"training_run_ids", std::move(runs)},
                          {"sampler_ids", std::move(samplers)},
                          {"user_metadata", texts_of(**known, "user_metadata")}};
  const std::string name = text_of((*known)->client, "display_name");
  if (!name.empty()) out["display_name"] = name;
  respond(json_reply(out));
}

void set_project(service& all, call& from, const responder& respond) {
  const auto object = object_of(from, respond);
  if (!object) return;
  tinker::json_fields in(*object);
  const std::string project = in.text("project_id");
  if (in.failure()) return respond(refusal(*in.failure()));
  const auto known = own_session(all, from);
  if (!known) return respond(refusal(known.error()));
  const auto ok = all.sessions.set_project(from.parts.front(), project);
  respond(ok ? json_reply({}) : refusal(ok.error()));
}

void export_trace(service& all, call& from, const responder& respond) {
  const auto known = own_session(all, from);
  if (!known) return respond(refusal(known.error()));
  respond(json_reply(
      {{"status", "failed"},
       {"error", "this server records no traces: GET /metrics has the times of all requests"}}));
}

const char* status_type(const session& entry) {
  if (!entry.has_ended) return "active";
  return entry.ending.empty() ? "cancelled" : "client_finished";
}

boost::json::object status_json(const session& entry) {
  boost::json::object out{{"type", status_type(entry)}};
  if (entry.has_ended && entry.ending.empty()) out["detail"] = "the client went silent";
  if (!entry.ending.empty()) {
    std::string reason = text_of(entry.ending, "type");
    if (reason.empty()) reason = "success";
    out["reason"] = boost::json::object{{"type", reason}};
    if (entry.ending.contains("detail")) out["detail"] = entry.ending.at("detail");
  }
  return out;
}

bool has_status(const session& entry, const boost::json::value* wanted) {
  if (wanted == nullptr || !wanted->is_array()) return true;
  for (const auto& one : wanted->get_array()) {
    if (!one.is_object() || text_of(one.get_object(), "type") != status_type(entry)) continue;
    const auto* reasons = one.get_object().if_contains("reasons");
    if (reasons == nullptr || !reasons->is_array()) return true;
    for (const auto& reason : reasons->get_array()) {
      if (reason.is_string() && reason.get_string() == text_of(entry.ending, "type")) return true;
    }
  }
  return false;
}

/// Every word of the wanted name appears, whatever its case.
bool has_words(std::string name, const std::string& wanted) {
  const auto lower = [](std::string text) {
    for (char& c : text)
      c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    return text;
  };
  name = lower(std::move(name));
  std::istringstream words(lower(wanted));
  for (std::string word; words >> word;) {
    if (name.find(word) == std::string::npos) return false;
  }
  return true;
}

struct session_query {
  std::optional<std::string> id;
  std::optional<std::string> name;
  const boost::json::value* metadata = nullptr;
  const boost::json::value* statuses = nullptr;
  std::optional<std::string> after_id;

  [[nodiscard]] bool fits(const std::string& own_id, const session& entry) const {
    const bool fits_id = id && *id == own_id;
    const bool fits_name = name && has_words(text_of(entry.client, "display_name"), *name);
    if ((id || name) && !fits_id && !fits_name) return false;
    if (metadata != nullptr && metadata->is_object()) {
      const auto own = texts_of(entry, "user_metadata");
      for (const auto& [key, value] : metadata->get_object()) {
        if (!own.contains(key) || own.at(key) != value) return false;
      }
    }
    return has_status(entry, statuses);
  }
};

boost::json::object summary_of(service& all, const std::string& id, const session& entry) {
  std::size_t num_weights = 0;
  std::uint64_t bytes = 0;
  for (const model_record& record : all.records.of_prefix(id + ":train:")) {
    for (const saved_weights& saved : all.weights.of_model(record.model_id)) {
      ++num_weights;
      bytes += saved.bytes;
    }
  }
  boost::json::object out{{"session_id", id},
                          {"created_at", rfc3339(entry.created_unix_ms)},
                          {"owner", entry.key_id},
                          {"project_id", text_of(entry.client, "project_id")},
                          {"status", status_json(entry)},
                          {"checkpoints_count", num_weights},
                          {"checkpoint_storage_bytes", bytes},
                          {"user_metadata", texts_of(entry, "user_metadata")}};
  const std::string name = text_of(entry.client, "display_name");
  if (!name.empty()) out["display_name"] = name;
  return out;
}

void search_sessions(service& all, call& from, const responder& respond) {
  const auto object = object_of(from, respond);
  if (!object) return;
  tinker::json_fields in(*object);
  session_query query{in.optional_text("session_id"), in.optional_text("display_name"),
                      in.find("user_metadata"), in.find("statuses"), std::nullopt};
  const auto limit =
      std::min(in.optional_integer("limit").value_or(search_limit_default), search_limit_max);
  if (const auto* cursor = in.find("cursor"); cursor != nullptr && cursor->is_object()) {
    query.after_id = text_of(cursor->get_object(), "last_session_id");
  }
  if (in.failure()) return respond(refusal(*in.failure()));
  boost::json::array found;
  boost::json::value next;
  bool is_behind = !query.after_id;
  for (const std::string& id : all.sessions.of_key(from.key_id)) {
    const session& entry = *all.sessions.known(from.key_id, id);
    if (is_behind && query.fits(id, entry)) {
      if (found.size() == limit) {
        const auto& last = found.back().get_object();
        next = boost::json::object{{"last_created_at", last.at("created_at")},
                                   {"last_session_id", last.at("session_id")}};
        break;
      }
      found.push_back(summary_of(all, id, entry));
    }
    is_behind = is_behind || *query.after_id == id;
  }
  respond(json_reply({{"sessions", std::move(found)}, {"next_cursor", std::move(next)}}));
}

}  // namespace

void add_session_list_routes(router& routes, service& all) {
  const auto add = [&](const char* method, const std::string& pattern, auto handler) {
    routes.add(
        {method, "/api/v1/" + pattern, access::with_key,
         [&all, handler](call& from, const responder& respond) { handler(all, from, respond); }});
  };
  add("GET", "sessions", list_sessions);
  add("POST", "sessions/search", search_sessions);
  add("GET", "sessions/{}", get_session);
  add("PUT", "sessions/{}/project", set_project);
  add("GET", "sessions/{}/trace_export", export_trace);
}

}  // namespace troupe::gateway
