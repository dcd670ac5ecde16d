#include "apps/loops/sft.hpp"

#include <algorithm>
#include <numeric>
#include <random>
#include <sstream>

#include "config/deadlines.hpp"

namespace troupe::loops {
namespace {

/// Rows of step `step`: every pass over the data has an order of its own.
std::vector<datum> batch_of(const std::vector<datum>& rows, const sft_options& options,
                            std::uint64_t step) {
  std::vector<datum> batch;
  std::vector<std::size_t> order(rows.size());
  std::uint64_t ordered_pass = ~std::uint64_t{0};
  for (std::size_t i = 0; i < options.batch_size; ++i) {
    const std::uint64_t place = step * options.batch_size + i;
    const std::uint64_t pass = place / rows.size();
    if (pass != ordered_pass) {
      std::iota(order.begin(), order.end(), std::size_t{0});
      std::mt19937_64 random(options.seed * 1'000'003 + pass);
      std::shuffle(order.begin(), order.end(), random);
      ordered_pass = pass;
    }
    batch.push_back(rows[order[place % rows.size()]]);
  }
  return batch;
}

double total_weight(const std::vector<datum>& batch) {
  double sum = 0;
  for (const datum& row : batch) {
    for (const float weight : row.weights)
      sum += double{weight};
  }
  return sum;
}

/// The built-in loss is a sum; dividing the weights makes the step a mean over trained tokens.
void normalise(std::vector<datum>& batch, double total) {
  for (datum& row : batch) {
    for (float& weight : row.weights)
      weight = static_cast<float>(double{weight} / total);
  }
}

double loss_of(const std::vector<datum>& batch, const forward_result& output) {
  double loss = 0;
  for (std::size_t i = 0; i < batch.size() && i < output.logprobs.size(); ++i) {
    for (std::size_t t = 0; t < output.logprobs[i].size(); ++t)
      loss -= double{output.logprobs[i][t]} * double{batch[i].weights[t]};
  }
  return loss;
}

}  // namespace

std::string to_string(const sft_cursor& cursor) {
  return "sft " + std::to_string(cursor.steps) + (cursor.has_passed ? " passed" : "");
}

result<sft_cursor> parse_sft_cursor(const std::string& text) {
  sft_cursor out;
  if (text.empty()) return out;
  std::istringstream words(text);
  std::string loop;
  words >> loop >> out.steps;
  out.has_passed = text.ends_with(" passed");
  if (words && to_string(out) == text) return out;
  return fail(errc::invalid_argument, "the run's cursor is '" + text.substr(0, 64) + "'",
              "another loop made it", "give the run another name, or go on with that loop");
}

result<void> run_sft(client::training_client& training, const std::vector<datum>& rows,
                     const sft_options& options, const sft_observer& observe) {
  if (rows.empty() || options.batch_size == 0) {
    return fail(errc::invalid_argument, "there is nothing to train on");
  }
  adam_params adam;
  adam.learning_rate = options.learning_rate;
  adam.grad_clip_norm = options.grad_clip_norm;
  const auto settled = training.settled(deadlines::op);
  if (!settled) return fail(settled.error());
  const auto from = parse_sft_cursor(settled->cursor);
  if (!from) return fail(from.error());
  for (std::uint64_t step = from->steps; step < options.steps; ++step) {
    std::vector<datum> batch = batch_of(rows, options, step);
    normalise(batch, std::max(total_weight(batch), 1e-9));
    std::optional<client::future<forward_result>> passed;
    if (step > from->steps || !from->has_passed) {
      passed = training.forward_backward(batch, loss_fn::cross_entropy, {},
                                         to_string(sft_cursor{step, true}));
    }
    auto stepped = training.optim_step(adam, to_string(sft_cursor{step + 1, false}));
    sft_progress now{step + 1, std::nullopt, {}};
    if (passed) {
      const auto output = passed->get(deadlines::op);
      if (!output) return fail(output.error());
      now.loss = loss_of(batch, *output);
    }
    const auto done = stepped.get(deadlines::op);
    if (!done) return fail(done.error());
    now.weights = done->weights;
    if (auto ok = observe(now); !ok) return ok;
  }
  return {};
}

}  // namespace troupe::loops
