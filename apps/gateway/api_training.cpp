#include <chrono>
#include <cmath>

#include "apps/gateway/api.hpp"
#include "apps/gateway/forward_loss.hpp"
#include "apps/gateway/idle_nodes.hpp"
#include "apps/gateway/names.hpp"
#include "apps/gateway/unix_time.hpp"
#include "messages/tinker/json_fields.hpp"
#include "messages/tinker/training_call.hpp"
#include "messages/tinker/training_output.hpp"

namespace troupe::gateway {
namespace {

using made_model = result<std::shared_ptr<training_model>>;

model_record record_of(const std::string& model_id, const tinker::create_model_call& wanted,
                       const base_model& base) {
  model_record out;
  out.model_id = model_id;
  out.run = run_of(model_id).value_or(run_id{});
  out.base_model = base.name;
  out.directory = base.directory;
  out.is_lora = wanted.lora && wanted.lora->rank > 0;
  out.lora = wanted.lora.value_or(tinker::lora_config{});
  out.user_metadata = wanted.user_metadata;
  out.created_unix_ms = now_unix_ms();
  return out;
}

void create_model(service& all, call& from, const responder& respond) {
  const auto object = object_of(from, respond);
  if (!object) return;
  const auto wanted = tinker::decode_create_model(*object);
  if (!wanted) return respond(refusal(wanted.error()));
  if (const auto ok = all.sessions.find(from.key_id, wanted->session_id); !ok) {
    return respond(refusal(ok.error()));
  }
  const std::string model_id = model_id_of(wanted->session_id, wanted->model_seq_id);
  all.desk.take(
      from, {"model/" + model_id, keeping::on_disk, {{"model_id", model_id}}}, respond,
      [&all, model_id, wanted = *wanted](const std::string& request) {
        make_model(
            all, model_id, wanted, nullptr, [&all, request, model_id](const made_model& made) {
              all.futures.resolve(
                  request, made ? json_reply({{"model_id", model_id}, {"type", "create_model"}})
                                : failed_future(made.error()));
            });
      });
}

/// The model that a request's body names; null once the request is refused.
std::shared_ptr<training_model> named_model(service& all, call& from, const responder& respond) {
  const auto object = object_of(from, respond);
  if (!object) return nullptr;
  tinker::json_fields in(*object);
  const std::string model_id = in.text("model_id");
  if (in.failure()) {
    respond(refusal(*in.failure()));
    return nullptr;
  }
  auto model = all.find_model(from.key_id, model_id);
  if (model) return std::move(*model);
  respond(refusal(model.error()));
  return nullptr;
}

void get_info(service& all, call& from, const responder& respond) {
  const auto model = named_model(all, from, respond);
  if (!model) return;
  const model_record& record = model->record();
  boost::json::object data{{"model_name", record.base_model}};
  const base_model* base = all.bases.of_directory(record.directory);
  if (base != nullptr && base->has_tokenizer) data["tokenizer_id"] = base->directory;
  respond(json_reply({{"type", "get_info"},
                      {"model_id", record.model_id},
                      {"model_data", std::move(data)},
                      {"is_lora", record.is_lora},
                      {"lora_rank", record.lora.rank},
                      {"model_name", record.base_model}}));
}

void unload_model(service& all, call& from, const responder& respond) {
  const auto model = named_model(all, from, respond);
  if (!model) return;
  const std::string& model_id = model->record().model_id;
  const auto request = all.futures.open(from.key_id);
  if (!request) return respond(refusal(request.error()));
  model->park([&all, request = *request, model_id](const result<run_info>& parked) {
    all.futures.resolve(request,
                        parked ? json_reply({{"model_id", model_id}, {"type", "unload_model"}})
                               : failed_future(parked.error()));
  });
  respond(json_reply({{"request_id", *request}, {"model_id", model_id}}));
}

/// What the answer needs of the request once the logprobs are there.
struct asked_pass {
  std::optional<forward_loss> loss;  ///< of a forward; the engine tells that of a forward_backward
  std::vector<std::size_t> columns;
};

result<asked_pass> asked_of(const tinker::training_call& taken) {
  if (!taken.body) return fail(taken.body.error());
  asked_pass out{{}, taken.columns};
  const auto* forward = std::get_if<forward_op>(&*taken.body);
  if (forward == nullptr) return out;
  auto loss = forward_loss::of(taken.loss, taken.loss_config, forward->batch);
  if (!loss) return fail(loss.error());
  out.loss = std::move(*loss);
  return out;
}

reply training_reply(const result<op_reply>& done, const asked_pass& asked) {
  if (!done) return failed_future(done.error());
  const auto* output = std::get_if<forward_result>(&done->output);
  if (output == nullptr) return unexpected_result();
  if (!asked.loss) return protobuf_reply(tinker::encode_training_output(*output, asked.columns));
  forward_result with_loss = *output;
  std::erase_if(with_loss.metrics, [](const auto& m) { return m.first == "loss:sum"; });
  with_loss.metrics.emplace_back("loss:sum", asked.loss->value(output->logprobs));
  return protobuf_reply(tinker::encode_training_output(with_loss, asked.columns));
}

std::size_t tokens_of(const op_body& body) {
  const std::vector<datum>* batch = nullptr;
  if (const auto* op = std::get_if<forward_op>(&body)) batch = &op->batch;
  if (const auto* op = std::get_if<forward_backward_op>(&body)) batch = &op->batch;
  std::size_t out = 0;
  for (std::size_t i = 0; batch != nullptr && i < batch->size(); ++i)
    out += (*batch)[i].tokens.size();
  return out;
}

/// Tells the operator when the operation of this kind is done.
std::function<void()> watch(service& all, const char* kind, std::size_t tokens) {
  return [&all, kind, tokens, start = std::chrono::steady_clock::now()] {
    all.watched.op_done(kind, std::chrono::steady_clock::now() - start, tokens);
  };
}

void run_pass(service& all, training_model& model, op_body body, asked_pass asked,
              const std::string& request) {
  auto told = watch(all, asked.loss ? "forward" : "forward_backward", tokens_of(body));
  model.submit(std::move(body), all.desk.place_of(request),
               [&all, request, told = std::move(told),
                asked = std::move(asked)](const result<op_reply>& done) {
                 told();
                 all.futures.resolve(request, training_reply(done, asked));
               });
}

void forward_backward(service& all, call& from, const responder& respond) {
  auto taken = tinker::decode_training_call(from.http.body);
  if (!taken) return respond(refusal(400, taken.error()));
  const auto model = all.find_model(from.key_id, taken->model_id);
  if (!model) return respond(refusal(model.error()));
  auto wanted = asked_op(*model, taken->seq_id);
  auto asked = asked_of(*taken);
  if (!asked) {
    wanted.number = nullptr;
    return all.desk.take(from, std::move(wanted), respond,
                         [&all, why = asked.error()](const std::string& request) {
                           all.futures.resolve(request, failed_future(why));
                         });
  }
  // Started at most once; shared because functions are copied.
  const auto once =
      std::make_shared<std::pair<op_body, asked_pass>>(std::move(*taken->body), std::move(*asked));
  all.desk.take(from, std::move(wanted), respond,
                [&all, model = *model, once](const std::string& request) {
                  run_pass(all, *model, std::move(once->first), std::move(once->second), request);
                });
}

reply step_reply(const result<op_reply>& done) {
  if (!done) return failed_future(done.error());
  const auto* output = std::get_if<optim_step_result>(&done->output);
  if (output == nullptr) return unexpected_result();
  boost::json::object metrics{{"step:max", output->step}};
  for (const auto& [name, value] : output->metrics) {
    if (std::isfinite(value)) metrics[name] = value;
  }
  return json_reply({{"metrics", std::move(metrics)}, {"type", "optim_step"}});
}

void optim_step(service& all, call& from, const responder& respond) {
  const auto object = object_of(from, respond);
  if (!object) return;
  const auto wanted = tinker::decode_optim_step(*object);
  if (!wanted) return respond(refusal(wanted.error()));
  const auto model = all.find_model(from.key_id, wanted->model_id);
  if (!model) return respond(refusal(model.error()));
  all.desk.take(from, asked_op(*model, wanted->seq_id), respond,
                [&all, model = *model, adam = wanted->adam](const std::string& request) {
                  model->submit(optim_step_op{adam}, all.desk.place_of(request),
                                [&all, request,
                                 told = watch(all, "optim_step", 0)](const result<op_reply>& done) {
                                  told();
                                  all.futures.resolve(request, step_reply(done));
                                });
                });
}

}  // namespace

request_desk::asked asked_op(const std::shared_ptr<training_model>& model, std::uint64_t seq_id) {
  const std::string& model_id = model->record().model_id;
  return {op_key(model_id, seq_id), keeping::on_disk, {{"model_id", model_id}}, [model] {
            return model->promise_number();
          }};
}

void make_model(service& all, const std::string& model_id, const tinker::create_model_call& wanted,
                const model_record* like, std::function<void(made_model)> then) {
  const auto base = all.bases.find(wanted.base_model);
  if (!base) return then(fail(base.error()));
  if (wanted.lora && wanted.lora->rank > 0 && all.wanted.lora == config::lora_mode::refuse) {
    return then(fail(errc::unsupported, "this cluster trains no LoRA adapters",
                     "[gateway] lora is \"refuse\" in its cluster file",
                     "set it to \"adapters\", or ask for rank 0 to train all weights"));
  }
  // Made by an earlier gateway, which could not tell any more.
  if (auto made = all.records.find(model_id)) {
    const auto model = all.open_model(std::move(*made));
    return model->await_start([model, then = std::move(then)](const result<void>& started) {
      started ? then(model) : then(fail(started.error()));
    });
  }
  const auto admitted = all.quotas.admit_model(all.num_models(key_of(model_id)));
  if (!admitted) return then(fail(admitted.error()));
  auto record = record_of(model_id, wanted, **base);
  const bool adapts =
      like != nullptr ? like->has_adapters : all.wanted.lora == config::lora_mode::adapters;
  record.has_adapters = record.is_lora && adapts;
  // Clients ask for an adapter on the head by default; merged weights could not stay tied.
  if (record.has_adapters && (*base)->has_tied_head) record.lora.train_unembed = false;
  const auto share = record.has_adapters ? node_share::slot : node_share::whole;
  await_idle_nodes(
      all.cluster, node_role::trainer, share, all.wanted.ranks,
      [&all, record = std::move(record), then = std::move(then)](const result<void>& idle) {
        if (!idle) return then(fail(idle.error()));
        if (const auto ok = all.records.add(record); !ok) {
          return then(fail(ok.error()));
        }
        const auto model = all.open_model(record);
        model->await_start([model, then](const result<void>& started) {
          started ? then(model) : then(fail(started.error()));
        });
      });
}

void add_training_routes(router& routes, service& all) {
  const auto with = [&all](auto handler) {
    return [&all, handler](call& from, const responder& respond) { handler(all, from, respond); };
  };
  routes.add({"POST", "/api/v1/create_model", access::with_key, with(create_model)});
  routes.add({"POST", "/api/v1/get_info", access::with_key, with(get_info)});
  routes.add({"POST", "/api/v1/unload_model", access::with_key, with(unload_model)});
  routes.add({"POST", "/api/v1/forward_backward", access::with_key, with(forward_backward)});
  routes.add({"POST", "/api/v1/optim_step", access::with_key, with(optim_step)});
}

}  // namespace troupe::gateway
