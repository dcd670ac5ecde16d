#include "tests/simulation/workload.hpp"

namespace troupe::tests {
namespace {

constexpr std::uint64_t num_steps = 10;

datum some_datum(std::uint64_t number) {
  datum d;
  for (std::uint64_t i = 0; i < 4 + number % 5; ++i) {
    d.tokens.push_back(static_cast<token_id>((number * 7 + i) % 32));
  }
  d.target_tokens = d.tokens;
  d.weights.assign(d.tokens.size(), 1.0F);
  return d;
}

void add_pass(std::vector<op_body>& ops, std::uint64_t step) {
  ops.emplace_back(forward_backward_op{some_batch(step), loss_fn::cross_entropy, {}});
}

/// All forwards before the first backward, as a client sends them that computes losses meanwhile.
void add_custom_passes(std::vector<op_body>& ops, const std::vector<std::uint64_t>& numbers) {
  std::vector<op_body> backwards;
  for (const std::uint64_t number : numbers) {
    const auto batch = some_batch(number);
    backward_op backward;
    backward.forward_seq_id = ops.size() + 1;
    for (const datum& d : batch) {
      backward.logprob_gradients.emplace_back(d.tokens.size(), 0.5F * static_cast<float>(number));
    }
    ops.emplace_back(forward_op{batch, retention::keep_for_backward});
    backwards.emplace_back(std::move(backward));
  }
  ops.insert(ops.end(), backwards.begin(), backwards.end());
}

}  // namespace

std::vector<datum> some_batch(std::uint64_t step) {
  std::vector<datum> batch;
  for (std::uint64_t i = 0; i < 3; ++i)
    batch.push_back(some_datum(step * 3 + i));
  return batch;
}

std::vector<std::string> workload_names() {
  return {"sft", "custom", "mixed"};
}

result<std::vector<op_body>> make_workload(const std::string& name) {
  if (name != "sft" && name != "custom" && name != "mixed") {
    return fail(errc::invalid_argument, "there is no workload '" + name + "'", "",
                "use sft, custom or mixed");
  }
  std::vector<op_body> ops;
  for (std::uint64_t step = 1; step <= num_steps; ++step) {
    if (name == "custom") {
      add_custom_passes(ops, {step, step + num_steps});
    } else if (name == "mixed" && step % 2 == 0) {
      add_custom_passes(ops, {step});
    } else {
      add_pass(ops, step);
    }
    if (name == "sft") add_pass(ops, step + num_steps);
    ops.emplace_back(optim_step_op{});
    if (name != "mixed") continue;
    if (step % 3 == 0) ops.emplace_back(save_weights_op{"w" + std::to_string(step)});
    if (step == 5) ops.emplace_back(save_state_op{"half"});
  }
  return ops;
}

}  // namespace troupe::tests
