#include "apps/gateway/api.hpp"
#include "apps/gateway/names.hpp"
#include "config/limits.hpp"
#include "messages/tinker/checkpoint_path.hpp"
#include "messages/tinker/json_fields.hpp"
#include "messages/tinker/sample_call.hpp"
#include "messages/tinker/sample_output.hpp"

namespace troupe::gateway {
namespace {

void opened(service& all, const std::string& id, sampling_session made, const responder& respond) {
  const auto path = all.samplers.add(id, std::move(made));
  if (!path) return respond(refusal(path.error()));
  all.desk.flush(*path, [id, respond](const result<void>& ok) {
    respond(ok ? json_reply({{"sampling_session_id", id}, {"type", "create_sampling_session"}})
               : refusal(ok.error()));
  });
}

void open_on_weights(service& all, call& from, const std::string& id, const std::string& text,
                     const responder& respond) {
  const auto path = tinker::parse_checkpoint_path(text);
  if (!path) return respond(refusal(path.error()));
  const auto entry = all.weights.readable(from.key_id, *path);
  if (!entry) return respond(refusal(entry.error()));
  if (path->kind != tinker::weights_kind::sampler) {
    return respond(refusal({errc::invalid_argument, text + " holds training state",
                            "save_state keeps what training needs",
                            "sample from a path that "
                            "save_weights_for_sampler answered"}));
  }
  const auto record = all.records.find(path->model_id);
  if (!record) return respond(refusal(record.error()));
  opened(all, id, {record->directory, entry->checkpoint, text}, respond);
}

void create_sampling_session(service& all, call& from, const responder& respond) {
  const auto object = object_of(from, respond);
  if (!object) return;
  const auto wanted = tinker::decode_create_sampling_session(*object);
  if (!wanted) return respond(refusal(wanted.error()));
  const auto owner = all.sessions.find(from.key_id, wanted->session_id);
  if (!owner) return respond(refusal(owner.error()));
  const std::string id = sampler_id_of(wanted->session_id, wanted->sampling_session_seq_id);
  if (wanted->model_path) {
    return open_on_weights(all, from, id, *wanted->model_path, respond);
  }
  const auto base = all.bases.find(*wanted->base_model);
  if (!base) return respond(refusal(base.error()));
  opened(all, id, {(*base)->directory, {}, {}}, respond);
}

struct found_sampler {
  sampling_session session;
  const base_model* base = nullptr;
};

result<found_sampler> find_sampler(service& all, const std::string& key_id, const std::string& id) {
  const auto owner = all.sessions.find(key_id, id);
  if (!owner) return fail(owner.error());
  const auto* known = all.samplers.find(id);
  const auto* base = known == nullptr ? nullptr : all.bases.of_directory(known->directory);
  if (base == nullptr) {
    return fail(errc::not_found, "there is no sampling session '" + id.substr(0, 200) + "'",
                "it is mistyped, or its base model is served no more",
                "make a new sampling client");
  }
  return found_sampler{*known, base};
}

/// Clients number their requests from a billion times their own number.
constexpr std::uint64_t seq_ids_per_clone = 1'000'000'000;

void join_sampling_session(service& all, call& from, const responder& respond) {
  const auto object = object_of(from, respond);
  if (!object) return;
  tinker::json_fields in(*object);
  const std::string id = in.text("sampling_session_id");
  if (in.failure()) return respond(refusal(*in.failure()));
  if (const auto sampler = find_sampler(all, from.key_id, id); !sampler) {
    return respond(refusal(sampler.error()));
  }
  respond(
      json_reply({{"type", "join_sampling_session"}, {"client_counter", all.samplers.join(id)}}));
}

void get_sampler(service& all, call& from, const responder& respond) {
  const std::string& id = from.parts.front();
  const auto sampler = find_sampler(all, from.key_id, id);
  if (!sampler) return respond(refusal(sampler.error()));
  const base_model& base = *sampler->base;
  boost::json::object out{{"sampler_id", id},
                          {"base_model", base.has_tokenizer ? base.directory : base.name}};
  if (!sampler->session.model_path.empty()) out["model_path"] = sampler->session.model_path;
  respond(json_reply(out));
}

/// Fills in what the client left to the server.
result<sample_request> complete(tinker::sample_body body, const base_model& base,
                                const std::string& turn) {
  sample_request out = std::move(body.request);
  if (out.prompt.size() >= base.max_positions) {
    return fail(errc::invalid_argument,
                "the prompt has " + std::to_string(out.prompt.size()) +
                    " tokens, the model takes " + std::to_string(base.max_positions - 1),
                "", "shorten it");
  }
  if (!body.stop_texts.empty() && base.texts == nullptr) {
    return fail(errc::unsupported, "stop texts need the tokenizer of " + base.name,
                "its directory has no tokenizer.json that this server understands",
                "put one beside the weights, or pass token ids as stop");
  }
  const std::size_t left = base.max_positions - out.prompt.size();
  if (out.params.max_tokens == 0) {
    out.params.max_tokens =
        static_cast<std::uint32_t>(std::min<std::size_t>(left, limits::sample_tokens_max));
  }
  if (body.stop == tinker::stop_rule::end_of_text) out.params.stop_tokens = base.end_tokens;
  if (out.params.seed == 0) out.params.seed = std::hash<std::string>{}(turn);
  return out;
}

/// Tells the result to who polls for it and to who polls for all of its client's.
void ended(service& all, const std::string& channel, const std::string& request,
           const result<std::string>& output) {
  using how = completion_feed::end;
  const std::size_t bytes = output ? output->size() : 0;
  all.futures.resolve(request, output ? protobuf_reply(*output) : failed_future(output.error()));
  all.completions.ended(channel, request, output ? how::finished : how::failed, bytes);
}

void draw(service& all, const std::string& key_id, const std::string& request,
          const std::string& turn, const found_sampler& sampler, tinker::sample_call wanted) {
  const std::string channel =
      channel_of(wanted.sampling_session_id, wanted.seq_id / seq_ids_per_clone);
  if (!wanted.body) return ended(all, channel, request, fail(wanted.body.error()));
  const tinker::shown_prompt prompt{wanted.body->request.prompt.size(),
                                    wanted.body->prompt_logprobs_last,
                                    std::move(wanted.body->targets)};
  const auto stops = wanted.body->stop_texts;
  auto full = complete(std::move(*wanted.body), *sampler.base, turn);
  if (!full) return ended(all, channel, request, fail(full.error()));
  all.sample_room.take(key_id);
  all.pool_of(*sampler.base)
      .sample({key_id, session_of(wanted.sampling_session_id), request}, sampler.session.weights,
              std::move(*full),
              [&all, key_id, channel, request, prompt, stops,
               texts = sampler.base->texts](result<sample_reply> done) {
                all.sample_room.give_back(key_id);
                if (!done) return ended(all, channel, request, fail(done.error()));
                std::size_t num_tokens = 0;
                for (sampled_sequence& sequence : done->sequences) {
                  if (!stops.empty()) cut_at_stop(*texts, stops, sequence);
                  num_tokens += sequence.tokens.size();
                }
                all.watched.sampled(prompt.num_tokens, num_tokens);
                ended(all, channel, request, tinker::encode_sample_output(*done, prompt));
              });
}

void asample(service& all, call& from, const responder& respond) {
  const auto object = object_of(from, respond);
  if (!object) return;
  auto wanted = tinker::decode_sample_call(*object);
  if (!wanted) return respond(refusal(wanted.error()));
  const auto sampler = find_sampler(all, from.key_id, wanted->sampling_session_id);
  if (!sampler) return respond(refusal(sampler.error()));
  if (!all.sample_room.has_room_for(from.key_id)) {
    return respond(refusal(429, {errc::busy, "as many samples wait as may", "", "ask again"}));
  }
  const std::string turn = wanted->sampling_session_id + "/" + std::to_string(wanted->seq_id);
  boost::json::array sequences;
  for (std::uint32_t i = 0; i < wanted->num_samples; ++i)
    sequences.emplace_back(turn + "/" + std::to_string(i));
  const auto once = std::make_shared<tinker::sample_call>(std::move(*wanted));
  all.desk.take(
      from, {"sample/" + turn, keeping::in_memory, {{"sample_sequence_ids", std::move(sequences)}}},
      respond,
      [&all, key_id = from.key_id, turn, sampler = *sampler, once](const std::string& request) {
        draw(all, key_id, request, turn, sampler, std::move(*once));
      });
}

}  // namespace

void add_sampling_routes(router& routes, service& all) {
  const auto with = [&all](auto handler) {
    return [&all, handler](call& from, const responder& respond) { handler(all, from, respond); };
  };
  routes.add(
      {"POST", "/api/v1/create_sampling_session", access::with_key, with(create_sampling_session)});
  routes.add({"GET", "/api/v1/samplers/{}", access::with_key, with(get_sampler)});
  routes.add(
      {"POST", "/api/v1/join_sampling_session", access::with_key, with(join_sampling_session)});
  routes.add({"POST", "/api/v1/asample", access::with_key, with(asample)});
}

}  // namespace troupe::gateway
