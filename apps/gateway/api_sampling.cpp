#include "apps/gateway/api.hpp"
#include "apps/gateway/checkpoint_search.hpp"
#include "apps/gateway/names.hpp"
#include "config/limits.hpp"
#include "messages/tinker/checkpoint_path.hpp"
#include "messages/tinker/sample_call.hpp"
#include "messages/tinker/sample_output.hpp"

namespace troupe::gateway {
namespace {

void opened(service& all, const std::string& id, sampling_session made, const responder& respond) {
  if (const auto ok = all.samplers.add(id, std::move(made)); !ok) {
    return respond(refusal(ok.error()));
  }
  respond(json_reply({{"sampling_session_id", id}, {"type", "create_sampling_session"}}));
}

void open_on_weights(service& all, call& from, const std::string& id, const std::string& text,
                     const responder& respond) {
  const auto path = tinker::parse_checkpoint_path(text);
  if (!path) return respond(refusal(path.error()));
  const auto run = run_of(path->model_id);
  if (!run || !owns(from.key_id, path->model_id) || path->kind != tinker::weights_kind::sampler) {
    return respond(refusal({errc::not_found, "there are no sampler weights " + text,
                            "the path is mistyped, holds training state, or is of another key",
                            "use a path that save_weights_for_sampler answered"}));
  }
  const auto record = read_record(all.wanted.data_folder, *run);
  if (!record) return respond(refusal(record.error()));
  find_checkpoint(all.cluster, *run, checkpoint_kind::sampler_base, path->name,
                  [&all, id, text, directory = record->directory,
                   respond](const result<checkpoint_record>& found) {
                    if (!found) return respond(refusal(found.error()));
                    opened(all, id, {directory, found->id, text}, respond);
                  });
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
  const std::size_t left = base.max_positions - out.prompt.size();
  if (out.params.max_tokens == 0) {
    out.params.max_tokens =
        static_cast<std::uint32_t>(std::min<std::size_t>(left, limits::sample_tokens_max));
  }
  if (body.stop == tinker::stop_rule::end_of_text) out.params.stop_tokens = base.end_tokens;
  if (out.params.seed == 0) out.params.seed = std::hash<std::string>{}(turn);
  return out;
}

void asample(service& all, call& from, const responder& respond) {
  const auto object = object_of(from, respond);
  if (!object) return;
  auto wanted = tinker::decode_sample_call(*object);
  if (!wanted) return respond(refusal(wanted.error()));
  const auto sampler = find_sampler(all, from.key_id, wanted->sampling_session_id);
  if (!sampler) return respond(refusal(sampler.error()));
  if (all.num_samples() >= limits::gateway_samples_max) {
    return respond(refusal(429, {errc::busy, "as many samples wait as may", "", "ask again"}));
  }
  const std::string turn = wanted->sampling_session_id + "/" + std::to_string(wanted->seq_id);
  boost::json::array sequences;
  for (std::uint32_t i = 0; i < wanted->num_samples; ++i)
    sequences.emplace_back(turn + "/" + std::to_string(i));
  respond(all.desk.take(
      from, "sample/" + turn, keeping::in_memory, {{"sample_sequence_ids", std::move(sequences)}},
      [&](const std::string& request) {
        if (!wanted->body) {
          return all.futures.resolve(request, failed_future(wanted->body.error()));
        }
        const base_model& base = *sampler->base;
        auto full = complete(std::move(*wanted->body), base, turn);
        if (!full) return all.futures.resolve(request, failed_future(full.error()));
        all.pool_of(base).sample(
            sampler->session.weights, std::move(*full),
            [&all, request](const result<sample_reply>& done) {
              all.futures.resolve(request, done
                                               ? protobuf_reply(tinker::encode_sample_output(*done))
                                               : failed_future(done.error()));
            });
      }));
}

}  // namespace

void add_sampling_routes(router& routes, service& all) {
  const auto with = [&all](auto handler) {
    return [&all, handler](call& from, const responder& respond) { handler(all, from, respond); };
  };
  routes.add(
      {"POST", "/api/v1/create_sampling_session", access::with_key, with(create_sampling_session)});
  routes.add({"GET", "/api/v1/samplers/{}", access::with_key, with(get_sampler)});
  routes.add({"POST", "/api/v1/asample", access::with_key, with(asample)});
}

}  // namespace troupe::gateway
