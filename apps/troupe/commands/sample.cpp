// troupe sample: one question to a deployment, its answer shown as it is decoded. Ctrl-C ends the
// process, and with it the request: the cluster notices that its client has gone.

#include "actors/logic/sequence_parts.hpp"
#include "apps/loops/byte_tokenizer.hpp"
#include "apps/troupe/commands/all.hpp"
#include "config/limits.hpp"

namespace troupe::apps {
namespace {

struct sample_options {
  std::string name;
  std::string prompt;
  std::string adapter;
  sample_request request;
};

boost::json::array numbers(const std::vector<token_id>& tokens) {
  return boost::json::array(tokens.begin(), tokens.end());
}

boost::json::array numbers(const std::vector<float>& values) {
  boost::json::array out;
  for (const float value : values)
    out.emplace_back(double{value});
  return out;
}

const char* name_of(stop_reason reason) {
  return reason == stop_reason::stop ? "stop" : "length";
}

/// Writes tokens for people as text where the model is byte-level, else as their numbers.
class shown_tokens {
 public:
  shown_tokens(std::uint32_t vocabulary, std::uint32_t num_samples)
      : is_text_(vocabulary == loops::byte_vocabulary), num_samples_(num_samples) {}

  void show(const sample_chunk& chunk) {
    for (std::size_t sample = 0; sample < chunk.part.sequences.size(); ++sample) {
      const auto& tokens = chunk.part.sequences[sample].tokens;
      if (tokens.empty()) continue;
      if (num_samples_ > 1) std::fprintf(stdout, "[%zu] ", sample);
      std::fputs(text_of(tokens).c_str(), stdout);
      if (num_samples_ > 1) std::fputc('\n', stdout);
    }
    std::fflush(stdout);
  }

 private:
  [[nodiscard]] std::string text_of(const std::vector<token_id>& tokens) const {
    if (is_text_) return loops::decode_bytes(tokens);
    std::string out;
    for (const token_id token : tokens)
      out += std::to_string(token) + " ";
    return out;
  }

  bool is_text_;
  std::uint32_t num_samples_;
};

/// One line per chunk.
boost::json::object object_of(const sample_chunk& chunk) {
  boost::json::array parts;
  for (std::size_t sample = 0; sample < chunk.part.sequences.size(); ++sample) {
    const sampled_sequence& part = chunk.part.sequences[sample];
    if (part.tokens.empty()) continue;
    parts.push_back(boost::json::object{{"sample", sample},
                                        {"tokens", numbers(part.tokens)},
                                        {"logprobs", numbers(part.logprobs)},
                                        {"version", part.last_version}});
  }
  return {{"chunk", chunk.chunk}, {"parts", std::move(parts)}};
}

boost::json::object object_of(const sample_reply& whole) {
  boost::json::array sequences;
  for (const sampled_sequence& sequence : whole.sequences)
    sequences.push_back(boost::json::object{{"tokens", sequence.tokens.size()},
                                            {"stop_reason", name_of(sequence.reason)},
                                            {"first_version", sequence.first_version},
                                            {"last_version", sequence.last_version}});
  return {{"sequences", std::move(sequences)},
          {"cached_prompt_tokens", whole.cached_prompt_tokens}};
}

result<sample_request> complete(const sample_options& wanted, std::uint32_t vocabulary) {
  sample_request out = wanted.request;
  out.adapter.value = wanted.adapter;
  if (out.prompt.empty() && vocabulary != loops::byte_vocabulary)
    return fail(errc::unsupported, "this deployment's model is not byte-level", "",
                "give the prompt as --tokens");
  if (out.prompt.empty()) out.prompt = loops::encode_bytes(wanted.prompt);
  return out;
}

result<void> sample(const command_context& context, const sample_options& wanted) {
  auto cluster = context.connect();
  if (!cluster) return fail(cluster.error());
  auto deployment = cluster->find_deployment({wanted.name});
  if (!deployment) return fail(deployment.error());
  const auto info = deployment->status();
  if (!info) return fail(info.error());
  const auto request = complete(wanted, info->model.vocab_size);
  if (!request) return fail(request.error());
  auto stream = deployment->stream(*request);
  if (!stream) return fail(stream.error());
  shown_tokens shown(info->model.vocab_size, request->num_samples);
  sample_reply whole;
  while (!stream->is_over()) {
    const auto chunk = stream->next();
    if (!chunk) return fail(chunk.error());
    logic::append_chunk(whole, *chunk);
    if (context.wants_json) {
      std::fprintf(stdout, "%s\n", boost::json::serialize(object_of(*chunk)).c_str());
      std::fflush(stdout);
    } else {
      shown.show(*chunk);
    }
  }
  context.answer("", object_of(whole));
  return {};
}

}  // namespace

void add_sample(CLI::App& program, command_context& context, command_action& chosen) {
  CLI::App* command = program.add_subcommand("sample", "ask a deployment; tokens as they come");
  const auto wanted = std::make_shared<sample_options>();
  sampling_params& params = wanted->request.params;
  params.max_tokens = 128;
  command->add_option("name", wanted->name, "of the deployment")->required();
  CLI::App* question = command->add_option_group("question");
  question->add_option("--prompt", wanted->prompt, "text, for byte-level models");
  question->add_option("--tokens", wanted->request.prompt, "token ids: 1,2,3")->delimiter(',');
  question->require_option(1);
  command->add_option("--max-tokens", params.max_tokens, "of an answer")
      ->check(CLI::Range(1U, limits::sample_tokens_max))
      ->capture_default_str();
  command->add_option("--samples", wanted->request.num_samples, "answers")
      ->check(CLI::Range(1U, limits::samples_per_request_max))
      ->capture_default_str();
  command->add_option("--temperature", params.temperature, "0: the likeliest token")
      ->capture_default_str();
  command->add_option("--top-p", params.top_p, "the likeliest tokens up to this share")
      ->capture_default_str();
  command->add_option("--top-k", params.top_k, "so many likeliest tokens; -1: all")
      ->capture_default_str();
  command->add_option("--seed", params.seed, "of the choice")->capture_default_str();
  command->add_option("--stop-token", params.stop_tokens, "ids that end an answer: 1,2")
      ->delimiter(',');
  command->add_option("--adapter", wanted->adapter, "a sampler checkpoint of an adapter run");
  set_action(*command, context, chosen, [&context, wanted] { return sample(context, *wanted); });
}

}  // namespace troupe::apps
