#include "apps/gateway/api.hpp"
#include "apps/gateway/names.hpp"
#include "messages/tinker/checkpoint_path.hpp"
#include "messages/tinker/json_fields.hpp"

namespace troupe::gateway {
namespace {

using tinker::checkpoint_path;
using tinker::weights_kind;

std::string op_key(const std::string& model_id, std::uint64_t seq_id) {
  return "op/" + model_id + "/" + std::to_string(seq_id);
}

void save_weights(service& all, call& from, const responder& respond) {
  const auto object = object_of(from, respond);
  if (!object) return;
  auto wanted = tinker::decode_save_weights(*object);
  if (!wanted) return respond(refusal(wanted.error()));
  const auto model = all.find_model(from.key_id, wanted->model_id);
  if (!model) return respond(refusal(model.error()));
  if (wanted->name.empty()) wanted->name = "state-" + std::to_string(wanted->seq_id);
  const std::string path =
      to_string(checkpoint_path{wanted->model_id, weights_kind::training, wanted->name});
  respond(all.desk.take(from, op_key(wanted->model_id, wanted->seq_id), keeping::on_disk,
                        {{"model_id", wanted->model_id}}, [&](const std::string& request) {
                          (*model)->submit(
                              save_state_op{wanted->name}, all.desk.place_of(request),
                              [&all, request, path](const result<op_reply>& done) {
                                all.futures.resolve(
                                    request,
                                    done ? json_reply({{"path", path}, {"type", "save_weights"}})
                                         : failed_future(done.error()));
                              });
                        }));
}

reply saved_for_sampler(service& all, const result<op_reply>& done, const model_record& record,
                        const std::string& path, const std::string& sampler_id) {
  if (!done) return failed_future(done.error());
  const auto* output = std::get_if<checkpoint_result>(&done->output);
  if (output == nullptr) return unexpected_result();
  boost::json::object out{{"type", "save_weights_for_sampler"}};
  if (!path.empty()) out["path"] = path;
  if (!sampler_id.empty()) {
    const auto ok = all.samplers.add(sampler_id, {record.directory, output->checkpoint, path});
    if (!ok) return failed_future(ok.error());
    out["sampling_session_id"] = sampler_id;
  }
  return json_reply(out);
}

void save_for_sampler(service& all, call& from, const responder& respond) {
  const auto object = object_of(from, respond);
  if (!object) return;
  const auto wanted = tinker::decode_save_for_sampler(*object);
  if (!wanted) return respond(refusal(wanted.error()));
  const auto model = all.find_model(from.key_id, wanted->model_id);
  if (!model) return respond(refusal(model.error()));
  std::string path;
  std::string sampler_id;
  if (!wanted->name.empty()) {
    path = to_string(checkpoint_path{wanted->model_id, weights_kind::sampler, wanted->name});
  }
  if (wanted->sampling_session_seq_id) {
    sampler_id = sampler_id_of(session_of(wanted->model_id), *wanted->sampling_session_seq_id);
  }
  const model_record record = (*model)->record();
  respond(all.desk.take(
      from, op_key(wanted->model_id, wanted->seq_id), keeping::on_disk,
      {{"model_id", wanted->model_id}}, [&](const std::string& request) {
        (*model)->submit(
            save_weights_op{wanted->name, publish_kind::automatic}, all.desk.place_of(request),
            [&all, request, record, path, sampler_id](const result<op_reply>& done) {
              all.futures.resolve(request, saved_for_sampler(all, done, record, path, sampler_id));
            });
      }));
}

/// The model that a path names, if it belongs to the caller.
result<model_record> record_of_path(service& all, const std::string& key_id,
                                    const checkpoint_path& path) {
  const auto run = run_of(path.model_id);
  if (!run || !owns(key_id, path.model_id)) {
    return fail(errc::not_found, "there are no weights " + to_string(path),
                "the path is mistyped, or belongs to another key",
                "use a path that save_state answered");
  }
  return read_record(all.wanted.data_folder, *run);
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
  respond(all.desk.take(
      from, "model/" + model_id, keeping::on_disk, {{"model_id", model_id}},
      [&](const std::string& request) {
        make_model(all, model_id, making,
                   [&all, request, model_id, wanted, path,
                    run = source.run](const result<std::shared_ptr<training_model>>& made) {
                     if (!made) return all.futures.resolve(request, failed_future(made.error()));
                     (*made)->load(run, path.name, wanted.optimizer, all.desk.place_of(request),
                                   [&all, request, model_id,
                                    text = wanted.path](const result<op_reply>& done) {
                                     resolve_load(all, request, model_id, text, done);
                                   });
                   });
      }));
}

void load_weights(service& all, call& from, const responder& respond) {
  const auto object = object_of(from, respond);
  if (!object) return;
  const auto wanted = tinker::decode_load_weights(*object);
  if (!wanted) return respond(refusal(wanted.error()));
  const auto path = tinker::parse_checkpoint_path(wanted->path);
  if (!path) return respond(refusal(path.error()));
  if (path->kind != weights_kind::training) {
    return respond(refusal({errc::invalid_argument, wanted->path + " holds sampler weights only",
                            "save_weights_for_sampler keeps no optimizer state and no fp32",
                            "load a path that save_state answered"}));
  }
  const auto source = record_of_path(all, from.key_id, *path);
  if (!source) return respond(refusal(source.error()));
  if (wanted->model_id.empty()) {
    const auto owner = all.sessions.find(from.key_id, wanted->session_id);
    if (!owner) return respond(refusal(owner.error()));
    return load_into_new(all, from, *wanted, *path, *source, respond);
  }
  const auto model = all.find_model(from.key_id, wanted->model_id);
  if (!model) return respond(refusal(model.error()));
  respond(all.desk.take(from, op_key(wanted->model_id, wanted->seq_id), keeping::on_disk,
                        {{"model_id", wanted->model_id}}, [&](const std::string& request) {
                          (*model)->load(source->run, path->name, wanted->optimizer,
                                         all.desk.place_of(request),
                                         [&all, request, id = wanted->model_id,
                                          text = wanted->path](const result<op_reply>& done) {
                                           resolve_load(all, request, id, text, done);
                                         });
                        }));
}

void weights_info(service& all, call& from, const responder& respond) {
  const auto object = object_of(from, respond);
  if (!object) return;
  tinker::json_fields in(*object);
  const std::string text = in.text("tinker_path");
  if (in.failure()) return respond(refusal(*in.failure()));
  const auto path = tinker::parse_checkpoint_path(text);
  if (!path) return respond(refusal(path.error()));
  const auto record = record_of_path(all, from.key_id, *path);
  if (!record) return respond(refusal(record.error()));
  respond(json_reply({{"base_model", record->base_model},
                      {"is_lora", record->is_lora},
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
  routes.add({"POST", "/api/v1/load_weights", access::with_key, with(load_weights)});
  routes.add({"POST", "/api/v1/weights_info", access::with_key, with(weights_info)});
}

}  // namespace troupe::gateway
