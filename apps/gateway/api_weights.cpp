#include "apps/gateway/age_recipient.hpp"
#include "apps/gateway/api.hpp"
#include "apps/gateway/names.hpp"
#include "apps/gateway/unix_time.hpp"
#include "config/limits.hpp"
#include "messages/tinker/checkpoint_path.hpp"
#include "messages/tinker/json_fields.hpp"

namespace troupe::gateway {
namespace {

using tinker::checkpoint_path;
using tinker::weights_kind;

/// What a client wants to be known of saved weights.
struct naming {
  checkpoint_path path;
  std::uint64_t ttl_seconds = 0;
  boost::json::object user_metadata;
  std::vector<std::string> recipients = {};
};

/// The name is written down before its future resolves.
result<saved_weights> name_it(service& all, const std::string& request,
                              const result<op_reply>& done, const naming& wanted) {
  if (!done) return fail(done.error());
  const auto* output = std::get_if<checkpoint_result>(&done->output);
  if (output == nullptr) return fail(errc::internal, "the run answered something of another kind");
  saved_weights entry;
  entry.path = wanted.path;
  entry.checkpoint = output->checkpoint;
  entry.bytes = output->bytes;
  entry.created_unix_ms = now_unix_ms();
  entry.user_metadata = wanted.user_metadata;
  entry.made_by = request;
  entry.recipients = wanted.recipients;
  if (wanted.ttl_seconds > 0) {
    entry.expires_unix_ms = entry.created_unix_ms + wanted.ttl_seconds * 1000;
  }
  if (const auto ok = all.weights.put(entry); !ok) return fail(ok.error());
  return entry;
}

result<void> check_naming(service& all, const naming& wanted, bool overwrite,
                          const std::string& request) {
  if (wanted.ttl_seconds > limits::weights_ttl_seconds_max) {
    return fail(errc::invalid_argument, "ttl_seconds is longer than ten years", "",
                "leave it out to keep the weights for good");
  }
  const auto* known = overwrite ? nullptr : all.weights.find(wanted.path);
  // This request may have made it for an earlier gateway.
  if (known == nullptr || known->made_by == request) return {};
  return fail(errc::already_exists, "there are weights " + to_string(wanted.path) + " already", "",
              "choose another name, or pass overwrite=True");
}

using save_answer = std::function<reply(const saved_weights&)>;

/// One operation that makes a checkpoint with a name.
void save_named(service& all, call& from, std::uint64_t seq_id, naming wanted, bool overwrite,
                const op_body& op, const save_answer& answer, const responder& respond) {
  const std::string model_id = wanted.path.model_id;
  const auto model = all.find_model(from.key_id, model_id);
  if (!model) return respond(refusal(model.error()));
  all.desk.take(from, asked_op(*model, seq_id), respond,
                [&all, model = *model, wanted = std::move(wanted), overwrite, op,
                 answer](const std::string& request) {
                  if (const auto ok = check_naming(all, wanted, overwrite, request); !ok) {
                    model->skip();
                    return all.futures.resolve(request, failed_future(ok.error()));
                  }
                  model->submit(op, all.desk.place_of(request),
                                [&all, request, wanted, answer](const result<op_reply>& done) {
                                  const auto entry = name_it(all, request, done, wanted);
                                  all.futures.resolve(request, entry
                                                                   ? answer(*entry)
                                                                   : failed_future(entry.error()));
                                });
                });
}

void save_weights(service& all, call& from, const responder& respond) {
  const auto object = object_of(from, respond);
  if (!object) return;
  auto wanted = tinker::decode_save_weights(*object);
  if (!wanted) return respond(refusal(wanted.error()));
  if (wanted->name.empty()) wanted->name = "state-" + std::to_string(wanted->seq_id);
  const checkpoint_path path{wanted->model_id, weights_kind::training, wanted->name};
  save_named(
      all, from, wanted->seq_id, {path, wanted->ttl_seconds, std::move(wanted->user_metadata)},
      wanted->overwrite, save_state_op{wanted->name},
      [](const saved_weights& entry) {
        return json_reply({{"path", to_string(entry.path)}, {"type", "save_weights"}});
      },
      respond);
}

constexpr std::size_t recipients_max = 10;

result<std::vector<std::string>> recipients_of(const tinker::json_fields& in) {
  std::vector<std::string> out;
  const auto* list = in.find("age_encryption_recipients");
  if (list == nullptr) return out;
  if (!list->is_array() || list->get_array().size() > recipients_max) {
    return fail(errc::invalid_argument, "age_encryption_recipients is no list of up to 10 keys", "",
                "pass the age1... lines of `age-keygen`");
  }
  for (const auto& one : list->get_array()) {
    const auto* text = one.if_string();
    out.push_back(text == nullptr ? std::string() : std::string(text->data(), text->size()));
    if (const auto key = parse_age_recipient(out.back()); !key) return fail(key.error());
  }
  return out;
}

/// A training checkpoint under a name from which its files can be fetched.
void save_external(service& all, call& from, const responder& respond) {
  const auto object = object_of(from, respond);
  if (!object) return;
  auto recipients = recipients_of(tinker::json_fields(*object));
  auto wanted = tinker::decode_save_weights(*object);
  if (!recipients) return respond(refusal(recipients.error()));
  if (!wanted) return respond(refusal(wanted.error()));
  if (wanted->name.empty()) wanted->name = "export-" + std::to_string(wanted->seq_id);
  const checkpoint_path path{wanted->model_id, weights_kind::external, wanted->name};
  save_named(
      all, from, wanted->seq_id,
      {path, wanted->ttl_seconds, std::move(wanted->user_metadata), std::move(*recipients)},
      wanted->overwrite, save_state_op{wanted->name},
      [](const saved_weights& entry) {
        return json_reply({{"path", to_string(entry.path)},
                           {"size_bytes", entry.bytes},
                           {"type", "save_weights_external"}});
      },
      respond);
}

void open_sampler(service& all, const std::string& request, const result<op_reply>& done,
                  const std::string& directory, const std::string& sampler_id) {
  const auto end = [&all, request](const reply& outcome) { all.futures.resolve(request, outcome); };
  if (!done) return end(failed_future(done.error()));
  const auto* output = std::get_if<checkpoint_result>(&done->output);
  if (output == nullptr) return end(unexpected_result());
  const auto path = all.samplers.add(sampler_id, {directory, output->checkpoint, {}});
  if (!path) return end(failed_future(path.error()));
  all.hold_weights();
  all.desk.flush(*path, [end, sampler_id](const result<void>& ok) {
    end(ok ? json_reply({{"type", "save_weights_for_sampler"},
                         {"sampling_session_id", sampler_id},
                         {"path", nullptr}})
           : failed_future(ok.error()));
  });
}

void save_for_new_sampler(service& all, call& from, const tinker::save_for_sampler_call& wanted,
                          const responder& respond) {
  const auto model = all.find_model(from.key_id, wanted.model_id);
  if (!model) return respond(refusal(model.error()));
  const std::string sampler_id =
      sampler_id_of(session_of(wanted.model_id), wanted.sampling_session_seq_id.value_or(0));
  const std::string directory = (*model)->record().directory;
  all.desk.take(from, asked_op(*model, wanted.seq_id), respond,
                [&all, model = *model, directory, sampler_id](const std::string& request) {
                  model->submit(
                      save_weights_op{"", publish_kind::automatic}, all.desk.place_of(request),
                      [&all, request, directory, sampler_id](const result<op_reply>& done) {
                        open_sampler(all, request, done, directory, sampler_id);
                      });
                });
}

void save_for_sampler(service& all, call& from, const responder& respond) {
  const auto object = object_of(from, respond);
  if (!object) return;
  auto wanted = tinker::decode_save_for_sampler(*object);
  if (!wanted) return respond(refusal(wanted.error()));
  if (wanted->name.empty()) return save_for_new_sampler(all, from, *wanted, respond);
  const checkpoint_path path{wanted->model_id, weights_kind::sampler, wanted->name};
  save_named(
      all, from, wanted->seq_id, {path, wanted->ttl_seconds, std::move(wanted->user_metadata)},
      wanted->overwrite, save_weights_op{wanted->name, publish_kind::automatic},
      [](const saved_weights& entry) {
        return json_reply({{"path", to_string(entry.path)}, {"type", "save_weights_for_sampler"}});
      },
      respond);
}

/// The model that readable weights were made by.
result<model_record> maker_of(service& all, const std::string& key_id,
                              const checkpoint_path& path) {
  const auto entry = all.weights.readable(key_id, path);
  if (!entry) return fail(entry.error());
  return all.records.find(path.model_id);
}

/// Looked up when its turn has come: an earlier turn may save it.
std::function<result<checkpoint_id>()> finder(service& all, const std::string& key_id,
                                              const checkpoint_path& path) {
  return [&all, key_id, path]() -> result<checkpoint_id> {
    const auto entry = all.weights.readable(key_id, path);
    if (!entry) return fail(entry.error());
    return entry->checkpoint;
  };
}

void resolve_load(service& all, const std::string& request, const std::string& model_id,
                  const std::string& path, const result<op_reply>& done) {
  all.futures.resolve(
      request, done ? json_reply({{"model_id", model_id}, {"path", path}, {"type", "load_weights"}})
                    : failed_future(done.error()));
}

void load_into_new(service& all, call& from, const tinker::load_weights_call& wanted,
                   const checkpoint_path& path, const model_record& source,
                   const responder& respond) {
  const std::string model_id = model_id_of(wanted.session_id, wanted.model_seq_id);
  tinker::create_model_call making;
  making.session_id = wanted.session_id;
  making.model_seq_id = wanted.model_seq_id;
  making.base_model = wanted.base_model.value_or(source.base_model);
  if (source.is_lora) making.lora = source.lora;
  making.user_metadata = wanted.user_metadata;
  all.desk.take(from, {"model/" + model_id, keeping::on_disk, {{"model_id", model_id}}}, respond,
                [&all, model_id, making, source, wanted,
                 find = finder(all, from.key_id, path)](const std::string& request) {
                  make_model(all, model_id, making, &source,
                             [&all, request, model_id, wanted,
                              find](const result<std::shared_ptr<training_model>>& made) {
                               if (!made)
                                 return all.futures.resolve(request, failed_future(made.error()));
                               (*made)->load(find, wanted.optimizer, all.desk.place_of(request),
                                             [&all, request, model_id,
                                              text = wanted.path](const result<op_reply>& done) {
                                               resolve_load(all, request, model_id, text, done);
                                             });
                             });
                });
}

void load_weights(service& all, call& from, const responder& respond) {
  const auto object = object_of(from, respond);
  if (!object) return;
  const auto wanted = tinker::decode_load_weights(*object);
  if (!wanted) return respond(refusal(wanted.error()));
  const auto path = tinker::parse_checkpoint_path(wanted->path);
  if (!path) return respond(refusal(path.error()));
  if (path->kind == weights_kind::sampler) {
    return respond(refusal({errc::invalid_argument, wanted->path + " holds sampler weights only",
                            "save_weights_for_sampler keeps no optimizer state and no fp32",
                            "load a path that save_state answered"}));
  }
  const auto source = maker_of(all, from.key_id, *path);
  if (!source) return respond(refusal(source.error()));
  if (wanted->model_id.empty()) {
    const auto owner = all.sessions.find(from.key_id, wanted->session_id);
    if (!owner) return respond(refusal(owner.error()));
    return load_into_new(all, from, *wanted, *path, *source, respond);
  }
  const auto model = all.find_model(from.key_id, wanted->model_id);
  if (!model) return respond(refusal(model.error()));
  all.desk.take(from, asked_op(*model, wanted->seq_id), respond,
                [&all, model = *model, find = finder(all, from.key_id, *path),
                 wanted = *wanted](const std::string& request) {
                  model->load(find, wanted.optimizer, all.desk.place_of(request),
                              [&all, request, id = wanted.model_id,
                               text = wanted.path](const result<op_reply>& done) {
                                resolve_load(all, request, id, text, done);
                              });
                });
}

void weights_info(service& all, call& from, const responder& respond) {
  const auto object = object_of(from, respond);
  if (!object) return;
  tinker::json_fields in(*object);
  const std::string text = in.text("tinker_path");
  if (in.failure()) return respond(refusal(*in.failure()));
  const auto path = tinker::parse_checkpoint_path(text);
  if (!path) return respond(refusal(path.error()));
  const auto record = maker_of(all, from.key_id, *path);
  if (!record) return respond(refusal(record.error()));
  respond(json_reply({{"base_model", record->base_model},
                      // SDKs up to 0.36 resume nothing else; rank 0 says that all weights train.
                      {"is_lora", true},
                      {"lora_rank", record->lora.rank},
                      {"train_unembed", record->lora.train_unembed},
                      {"train_mlp", record->lora.train_mlp},
                      {"train_attn", record->lora.train_attn}}));
}

}  // namespace

void add_weights_routes(router& routes, service& all) {
  const auto with = [&all](auto handler) {
    return [&all, handler](call& from, const responder& respond) { handler(all, from, respond); };
  };
  routes.add({"POST", "/api/v1/save_weights", access::with_key, with(save_weights)});
  routes.add(
      {"POST", "/api/v1/save_weights_for_sampler", access::with_key, with(save_for_sampler)});
  routes.add({"POST", "/api/v1/save_weights_external", access::with_key, with(save_external)});
  routes.add({"POST", "/api/v1/load_weights", access::with_key, with(load_weights)});
  routes.add({"POST", "/api/v1/weights_info", access::with_key, with(weights_info)});
}

}  // namespace troupe::gateway
