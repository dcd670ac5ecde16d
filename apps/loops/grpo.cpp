#include "apps/loops/grpo.hpp"

#include "apps/loops/byte_tokenizer.hpp"
#include "apps/loops/sft_data.hpp"
#include "config/deadlines.hpp"

namespace troupe::loops {
namespace {

/// Everything one step trains on.
struct experience {
  std::vector<datum> batch;
  std::vector<answer_terms> terms;
  std::vector<float> rewards;
};

void add_answer(experience& out, const question& asked, const sampled_sequence& answer,
                double reward) {
  std::vector<token_id> sequence = encode_bytes(asked.prompt);
  const std::size_t prompt_length = sequence.size();
  sequence.insert(sequence.end(), answer.tokens.begin(), answer.tokens.end());
  datum row = make_datum(sequence, prompt_length);
  answer_terms terms;
  terms.mask = row.weights;
  terms.sampled_logprobs.assign(row.tokens.size() - answer.logprobs.size(), 0.0F);
  terms.sampled_logprobs.insert(terms.sampled_logprobs.end(), answer.logprobs.begin(),
                                answer.logprobs.end());
  out.batch.push_back(std::move(row));
  out.terms.push_back(std::move(terms));
  out.rewards.push_back(static_cast<float>(reward));
}

result<experience> gather(client::sampling_client& sampling, const question_source& next_question,
                          const reward_function& reward, const grpo_options& options,
                          std::uint64_t step) {
  std::vector<std::pair<question, client::future<sample_reply>>> asked;
  for (std::size_t i = 0; i < options.questions_per_step; ++i) {
    sampling_params params;
    params.max_tokens = options.max_tokens;
    params.seed = options.seed * 1'000'003 + step * options.questions_per_step + i;
    params.stop_tokens = {'\n'};
    const question next = next_question();
    asked.emplace_back(
        next, sampling.sample(encode_bytes(next.prompt), params, options.answers_per_question));
  }
  experience out;
  for (const auto& [each, answers] : asked) {
    const auto reply = answers.get(deadlines::sample);
    if (!reply) return fail(reply.error());
    for (const sampled_sequence& answer : reply->sequences)
      add_answer(out, each, answer, reward(each, decode_bytes(answer.tokens)));
  }
  const auto advantages = group_advantages(out.rewards, options.answers_per_question);
  if (!advantages) return fail(advantages.error());
  for (std::size_t i = 0; i < out.terms.size(); ++i)
    out.terms[i].advantage = (*advantages)[i];
  return out;
}

/// The loss of this loop: a plain function from logprobs to a value and its gradient.
client::custom_loss loss_over(std::vector<answer_terms> terms, clip_range clip) {
  return [terms = std::move(terms), clip](
             const std::vector<std::vector<float>>& logprobs) -> result<client::custom_loss_value> {
    auto value = grpo_loss(logprobs, terms, clip);
    if (!value) return fail(value.error());
    return client::custom_loss_value{
        value->loss, std::move(value->gradients), {{"clipped_share", value->clipped_share}}};
  };
}

double mean_of(const std::vector<float>& values) {
  double sum = 0;
  for (const float value : values)
    sum += double{value};
  return values.empty() ? 0 : sum / static_cast<double>(values.size());
}

}  // namespace

result<void> run_grpo(client::training_client& training, client::sampling_client& sampling,
                      const question_source& next_question, const reward_function& reward,
                      const grpo_options& options, const grpo_observer& observe) {
  adam_params adam;
  adam.learning_rate = options.learning_rate;
  adam.grad_clip_norm = options.grad_clip_norm;
  for (std::uint64_t step = 0; step < options.steps; ++step) {
    auto gathered = gather(sampling, next_question, reward, options, step);
    if (!gathered) return fail(gathered.error());
    auto passed = training.forward_backward_custom(
        std::move(gathered->batch), loss_over(std::move(gathered->terms), options.clip));
    auto stepped = training.optim_step(adam, "grpo " + std::to_string(step + 1));
    // Only a name keeps a sampler checkpoint that newer ones have replaced.
    const bool is_last = step + 1 == options.steps;
    auto saved = training.save_weights_for_sampler(
        is_last ? "grpo-" + std::to_string(step + 1) : std::string(), publish_kind::automatic);
    const auto loss = passed.get(deadlines::op);
    if (!loss) return fail(loss.error());
    const auto done = stepped.get(deadlines::op);
    if (!done) return fail(done.error());
    const auto published = saved.get(deadlines::op);
    if (!published) return fail(published.error());
    const auto synced = sampling.sync(published->checkpoint).get(deadlines::sync);
    if (!synced) return fail(synced.error());
    const grpo_progress now{
        step + 1, mean_of(gathered->rewards), loss->loss, done->weights, *published, *synced};
    if (auto ok = observe(now); !ok) return ok;
  }
  return {};
}

}  // namespace troupe::loops
