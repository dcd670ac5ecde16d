#include <algorithm>

#include "apps/gateway/api.hpp"
#include "apps/gateway/names.hpp"
#include "apps/gateway/unix_time.hpp"
#include "config/deadlines.hpp"
#include "config/limits.hpp"
#include "messages/tinker/json_fields.hpp"

namespace troupe::gateway {
namespace {

using tinker::checkpoint_path;
using tinker::weights_kind;

constexpr std::uint64_t page_default = 100;
constexpr std::uint64_t page_max = 1000;

const char* type_of(weights_kind kind) {
  switch (kind) {
    case weights_kind::training:
      return "training";
    case weights_kind::sampler:
      return "sampler";
    case weights_kind::external:
      return "external";
  }
  return "training";
}

boost::json::object checkpoint_json(const saved_weights& entry) {
  boost::json::object out{{"checkpoint_id", id_of(entry.path)},
                          {"checkpoint_type", type_of(entry.path.kind)},
                          {"time", rfc3339(entry.created_unix_ms)},
                          {"tinker_path", to_string(entry.path)},
                          {"size_bytes", entry.bytes},
                          {"public", entry.readers == visibility::everybody}};
  if (entry.expires_unix_ms != 0) out["expires_at"] = rfc3339(entry.expires_unix_ms);
  if (!entry.user_metadata.empty()) out["user_metadata"] = entry.user_metadata;
  return out;
}

boost::json::object run_json(service& all, const model_record& record) {
  std::uint64_t last_ms = record.created_unix_ms;
  boost::json::object out{{"training_run_id", record.model_id},
                          {"base_model", record.base_model},
                          {"model_owner", record.model_id.substr(0, record.model_id.find('-'))},
                          {"is_lora", record.is_lora},
                          {"corrupted", false}};
  if (record.is_lora) out["lora_rank"] = record.lora.rank;
  for (const saved_weights& entry : all.weights.of_model(record.model_id)) {
    last_ms = std::max(last_ms, entry.created_unix_ms);
    const bool is_sampler = entry.path.kind == weights_kind::sampler;
    if (entry.path.kind == weights_kind::external) continue;
    out[is_sampler ? "last_sampler_checkpoint" : "last_checkpoint"] = checkpoint_json(entry);
  }
  out["last_request_time"] = rfc3339(std::max(last_ms, all.last_use_unix_ms(record.model_id)));
  if (!record.user_metadata.empty()) out["user_metadata"] = record.user_metadata;
  return out;
}

/// The asked part of a list, with where it stands in the whole.
template <class T, class Show>
boost::json::object page_of(const call& from, const char* name, const std::vector<T>& whole,
                            Show show) {
  const auto limit = std::min(from.query_number("limit", page_default), page_max);
  const auto offset = std::min<std::uint64_t>(from.query_number("offset", 0), whole.size());
  boost::json::array list;
  for (auto i = offset; i < whole.size() && i - offset < limit; ++i)
    list.push_back(show(whole[i]));
  return {{name, std::move(list)},
          {"cursor", {{"offset", offset}, {"limit", limit}, {"total_count", whole.size()}}}};
}

void list_runs(service& all, call& from, const responder& respond) {
  respond(json_reply(page_of(from, "training_runs", all.records.of_prefix(from.key_id + "-"),
                             [&all](const auto& record) { return run_json(all, record); })));
}

result<model_record> own_run(service& all, const call& from) {
  const std::string& id = from.parts.front();
  if (owns(from.key_id, id)) return all.records.find(id);
  return fail(errc::not_found, "there is no training run '" + id.substr(0, 200) + "'",
              "it is mistyped, or of another key", "list the training runs");
}

void get_run(service& all, call& from, const responder& respond) {
  const auto record = own_run(all, from);
  respond(record ? json_reply(run_json(all, *record)) : refusal(record.error()));
}

void list_run_checkpoints(service& all, call& from, const responder& respond) {
  const auto record = own_run(all, from);
  if (!record) return respond(refusal(record.error()));
  respond(json_reply(
      page_of(from, "checkpoints", all.weights.of_model(record->model_id), checkpoint_json)));
}

void list_checkpoints(service& all, call& from, const responder& respond) {
  respond(
      json_reply(page_of(from, "checkpoints", all.weights.of_key(from.key_id), checkpoint_json)));
}

/// The caller's own weights that the path's last three pieces name.
result<saved_weights> own_weights(service& all, const call& from) {
  const auto path = tinker::parse_checkpoint_path("tinker://" + from.parts.at(0) + "/" +
                                                  from.parts.at(1) + "/" + from.parts.at(2));
  if (!path) return fail(path.error());
  const saved_weights* entry =
      owns(from.key_id, path->model_id) ? all.weights.find(*path) : nullptr;
  if (entry != nullptr) return *entry;
  return fail(errc::not_found, "there are no weights " + to_string(*path),
              "they were deleted, have expired, or belong to another key",
              "list the checkpoints of the training run");
}

void change_weights(service& all, call& from, const responder& respond,
                    const std::function<void(saved_weights&)>& change) {
  auto entry = own_weights(all, from);
  if (!entry) return respond(refusal(entry.error()));
  change(*entry);
  const auto ok = all.weights.put(std::move(*entry));
  respond(ok ? json_reply({}) : refusal(ok.error()));
}

void delete_weights(service& all, call& from, const responder& respond) {
  const auto entry = own_weights(all, from);
  if (!entry) return respond(refusal(entry.error()));
  const auto ok = all.forget_weights(entry->path);
  respond(ok ? json_reply({}) : refusal(ok.error()));
}

void publish(service& all, call& from, const responder& respond) {
  change_weights(all, from, respond, [](auto& entry) { entry.readers = visibility::everybody; });
}

void unpublish(service& all, call& from, const responder& respond) {
  change_weights(all, from, respond, [](auto& entry) { entry.readers = visibility::owner; });
}

void set_ttl(service& all, call& from, const responder& respond) {
  const auto object = object_of(from, respond);
  if (!object) return;
  tinker::json_fields in(*object);
  const auto ttl_seconds = in.optional_integer("ttl_seconds");
  if (ttl_seconds && (*ttl_seconds == 0 || *ttl_seconds > limits::weights_ttl_seconds_max)) {
    in.refuse("ttl_seconds", "is not from 1 second to ten years; null keeps the weights");
  }
  if (in.failure()) return respond(refusal(*in.failure()));
  change_weights(all, from, respond, [ttl_seconds](auto& entry) {
    entry.expires_unix_ms = ttl_seconds ? now_unix_ms() + *ttl_seconds * 1000 : 0;
  });
}

struct url_maker {
  export_shop& exports;
  std::string origin;
  export_order order;
  std::uint64_t expires_unix_s;

  [[nodiscard]] std::string url(const std::string& file) const {
    return origin + exports.signed_path(order, file, expires_unix_s);
  }
  [[nodiscard]] std::string expires() const { return rfc3339(expires_unix_s * 1000); }
};

url_maker urls_of(service& all, const call& from, const saved_weights& entry) {
  const auto valid = static_cast<std::uint64_t>(deadlines::export_url.count());
  return {all.exports,
          all.scheme() + "://" + from.http.host,
          {entry.checkpoint, entry.recipients},
          now_unix_ms() / 1000 + valid};
}

void archive(service& all, call& from, const responder& respond) {
  const auto entry = own_weights(all, from);
  if (!entry) return respond(refusal(entry.error()));
  const auto urls = urls_of(all, from, *entry);
  all.exports.pack(urls.order, [urls, respond](const result<export_shop::file_names>& made) {
    if (!made) return respond(refusal(made.error()));
    respond(json_reply({{"url", urls.url("archive.tar")}, {"expires", urls.expires()}}));
  });
}

void external_urls(service& all, call& from, const responder& respond) {
  const auto entry = own_weights(all, from);
  if (!entry) return respond(refusal(entry.error()));
  const auto urls = urls_of(all, from, *entry);
  all.exports.pack(urls.order, [urls, respond](const result<export_shop::file_names>& made) {
    if (!made) return respond(refusal(made.error()));
    boost::json::object list;
    for (const std::string& name : *made)
      list[name] = urls.url(name);
    respond(json_reply({{"urls", std::move(list)}, {"expires", urls.expires()}}));
  });
}

void fetch_export(service& all, call& from, const responder& respond) {
  const auto file = all.exports.open(from.parts.at(0), from.parts.at(1),
                                     from.query_number("expires", 0), from.query("signature"));
  if (!file) return respond(refusal(file.error()));
  reply out;
  out.file = *file;
  respond(std::move(out));
}

/// Where copied weights go: a model of the caller's that has no run.
result<std::string> destination_of(service& all, const call& from, tinker::json_fields& in) {
  const auto session = in.optional_text("session_id");
  if (session) {
    const auto number = in.integer("model_seq_id");
    if (in.failure()) return fail(*in.failure());
    if (const auto ok = all.sessions.find(from.key_id, *session); !ok) return fail(ok.error());
    return model_id_of(*session, number);
  }
  const auto opened = all.sessions.open(from.key_id, {{"display_name", "copied weights"}});
  if (!opened) return fail(opened.error());
  all.sessions.end(*opened, {{"type", "success"}});
  return model_id_of(*opened, 0);
}

void copy_weights(service& all, call& from, const responder& respond) {
  const auto object = object_of(from, respond);
  if (!object) return;
  tinker::json_fields in(*object);
  const auto source = tinker::parse_checkpoint_path(in.text("source_path"));
  const auto ttl_seconds = in.optional_integer("ttl_seconds");
  if (in.failure()) return respond(refusal(*in.failure()));
  if (!source) return respond(refusal(source.error()));
  auto entry = all.weights.readable(from.key_id, *source);
  if (!entry) return respond(refusal(entry.error()));
  auto record = all.records.find(source->model_id);
  if (!record) return respond(refusal(record.error()));
  const auto model_id = destination_of(all, from, in);
  if (!model_id) return respond(refusal(model_id.error()));
  if (const auto there = all.records.find(*model_id); there && !there->is_copy) {
    return respond(refusal({errc::already_exists, *model_id + " is a model that is trained", "",
                            "use another model_seq_id"}));
  }
  record->model_id = *model_id;
  record->run = run_of(*model_id).value_or(run_id{});
  record->created_unix_ms = now_unix_ms();
  record->is_copy = true;
  entry->path.model_id = *model_id;
  entry->readers = visibility::owner;
  entry->created_unix_ms = record->created_unix_ms;
  entry->expires_unix_ms = ttl_seconds ? now_unix_ms() + *ttl_seconds * 1000 : 0;
  const std::string path = to_string(entry->path);
  auto ok = all.records.add(std::move(*record));
  if (ok) ok = all.weights.put(std::move(*entry));
  respond(ok ? json_reply({{"tinker_path", path}}) : refusal(ok.error()));
}

}  // namespace

void add_runs_routes(router& routes, service& all) {
  const auto add = [&](const char* method, const std::string& pattern, auto handler) {
    routes.add(
        {method, "/api/v1/" + pattern, access::with_key,
         [&all, handler](call& from, const responder& respond) { handler(all, from, respond); }});
  };
  const std::string one = "training_runs/{}/checkpoints/{}/{}";
  add("GET", "training_runs", list_runs);
  add("GET", "training_runs/{}", get_run);
  add("GET", "training_runs/{}/checkpoints", list_run_checkpoints);
  add("GET", "checkpoints", list_checkpoints);
  add("DELETE", one, delete_weights);
  add("POST", one + "/publish", publish);
  add("DELETE", one + "/publish", unpublish);
  add("PUT", one + "/ttl", set_ttl);
  add("GET", one + "/archive", archive);
  add("GET", one + "/external_weights_urls", external_urls);
  add("POST", "copy_weights", copy_weights);
  // The signature is the key: downloaders send no other.
  routes.add({"GET", "/api/v1/exports/{}/{}", access::open,
              [&all](call& from, const responder& respond) { fetch_export(all, from, respond); }});
}

}  // namespace troupe::gateway
