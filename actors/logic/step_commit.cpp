#include "actors/logic/step_commit.hpp"

#include <algorithm>
#include <string>
#include <string_view>
#include <type_traits>

#include "config/limits.hpp"

namespace troupe::logic {
namespace {

template <class Op>
constexpr bool has_batch =
    std::is_same_v<Op, forward_op> || std::is_same_v<Op, forward_backward_op>;

shard_body part_of(const forward_op& op, const std::vector<std::size_t>& positions) {
  return shard_forward{take_part(op.batch, positions), op.keep, op.details};
}

shard_body part_of(const forward_backward_op& op, const std::vector<std::size_t>& positions) {
  return shard_forward_backward{take_part(op.batch, positions), op.loss, op.config};
}

result<split_op> split_backward(const backward_op& op, const batch_plan& plan) {
  std::size_t num_datums = 0;
  for (const auto& positions : plan)
    num_datums += positions.size();
  if (num_datums != op.logprob_gradients.size()) {
    return fail(errc::invalid_argument,
                "backward has gradients for " + std::to_string(op.logprob_gradients.size()) +
                    " datums, forward " + std::to_string(op.forward_seq_id) + " had " +
                    std::to_string(num_datums),
                "", "give one gradient list per datum, in the order of the forward");
  }
  split_op out{{}, plan};
  for (const auto& positions : plan) {
    out.bodies.emplace_back(
        shard_backward{op.forward_seq_id, take_part(op.logprob_gradients, positions)});
  }
  return out;
}

void merge_metric(metric_list& into, const std::string& name, double value) {
  const auto same = [&name](const auto& entry) { return entry.first == name; };
  const auto found = std::find_if(into.begin(), into.end(), same);
  if (found == into.end()) {
    into.emplace_back(name, value);
  } else if (std::string_view(name).ends_with(":max")) {
    found->second = std::max(found->second, value);
  } else {
    found->second += value;
  }
}

double num_ranks_with(const std::vector<shard_work_reply>& ranks, std::string_view metric_name) {
  return static_cast<double>(std::ranges::count_if(ranks, [&](const shard_work_reply& reply) {
    return std::ranges::any_of(reply.metrics,
                               [&](const auto& entry) { return entry.first == metric_name; });
  }));
}

}  // namespace

result<split_op> split(const op_body& body, std::uint32_t world_size, std::uint64_t next_step,
                       const batch_plan& forward_plan) {
  const auto everywhere = [world_size](const shard_body& work) {
    return split_op{std::vector<shard_body>(world_size, work), batch_plan(world_size)};
  };
  return std::visit(
      [&](const auto& op) -> result<split_op> {
        using op_type = std::decay_t<decltype(op)>;
        if constexpr (has_batch<op_type>) {
          split_op out{{}, plan_batch(op.batch, world_size)};
          for (const auto& positions : out.plan)
            out.bodies.push_back(part_of(op, positions));
          return out;
        } else if constexpr (std::is_same_v<op_type, backward_op>) {
          return split_backward(op, forward_plan);
        } else if constexpr (std::is_same_v<op_type, optim_step_op>) {
          return everywhere(shard_optim_step{op.adam, next_step});
        } else if constexpr (std::is_same_v<op_type, save_state_op>) {
          return everywhere(shard_save_state{});
        } else {
          return fail(errc::internal, "this op needs the lineage before it can be split");
        }
      },
      body);
}

result<merged_reply> merge(const std::vector<shard_work_reply>& ranks, const batch_plan& plan,
                           std::uint64_t seq_id) {
  merged_reply out;
  std::size_t num_datums = 0;
  for (const auto& positions : plan)
    num_datums += positions.size();
  out.logprobs.resize(num_datums);
  for (std::size_t rank = 0; rank < ranks.size(); ++rank) {
    const shard_work_reply& reply = ranks[rank];
    const auto fits = [&](const auto& by_datum) {
      return by_datum.empty() || by_datum.size() == plan[rank].size();
    };
    if (reply.seq_id != seq_id || !fits(reply.logprobs) || !fits(reply.details)) {
      return fail(errc::internal, "rank " + std::to_string(rank) + " answered for op " +
                                      std::to_string(reply.seq_id) + " instead of " +
                                      std::to_string(seq_id));
    }
    for (std::size_t i = 0; i < reply.logprobs.size(); ++i) {
      out.logprobs[plan[rank][i]] = reply.logprobs[i];
    }
    if (!reply.details.empty()) out.details.resize(num_datums);
    for (std::size_t i = 0; i < reply.details.size(); ++i)
      out.details[plan[rank][i]] = reply.details[i];
    for (const auto& [name, value] : reply.metrics)
      merge_metric(out.metrics, name, value);
    out.weights += reply.weights;
    out.published_before += reply.published_before;
    out.published += reply.published;
    out.files.insert(out.files.end(), reply.files.begin(), reply.files.end());
    if (rank == 0) out.probe_logprobs = reply.probe_logprobs;
  }
  for (auto& [name, value] : out.metrics) {
    if (std::string_view(name).ends_with(":mean")) value /= num_ranks_with(ranks, name);
  }
  return out;
}

result<void> check_answer(const op_body& body, const model_config& model) {
  const auto* op = std::get_if<forward_op>(&body);
  if (op == nullptr || op->details.embedding == embedding_kind::none) return {};
  const bool is_whole = op->details.embedding == embedding_kind::per_token;
  std::size_t numbers = 0;
  for (const datum& each : op->batch) {
    const std::size_t rows = each.tokens.size();
    numbers += each.target_tokens.size() + rows * 2 * op->details.topk_logprobs +
               (op->details.entropy ? rows : 0) + (is_whole ? rows : 1) * model.hidden_size;
  }
  if (numbers <= limits::answer_numbers_max) return {};
  return fail(errc::invalid_argument,
              "the answer to this forward would have " + std::to_string(numbers) +
                  " numbers, an op may have " + std::to_string(limits::answer_numbers_max),
              "hidden states of a batch are many numbers",
              "send fewer datums at a time, or ask for pooled embeddings");
}

double metric(const metric_list& metrics, std::string_view name) {
  for (const auto& [key, value] : metrics) {
    if (key == name) return value;
  }
  return 0;
}

bool changes_state(const op_body& body) {
  if (const auto* op = std::get_if<forward_op>(&body)) {
    return op->keep == retention::keep_for_backward;
  }
  return !std::holds_alternative<save_state_op>(body) &&
         !std::holds_alternative<save_weights_op>(body);
}

bool has_payload(const op_body& body) {
  if (const auto* op = std::get_if<forward_op>(&body)) return !op->batch.empty();
  if (const auto* op = std::get_if<forward_backward_op>(&body)) return !op->batch.empty();
  if (const auto* op = std::get_if<backward_op>(&body)) return !op->logprob_gradients.empty();
  return true;
}

bool same_outcome(const op_output& journalled, const op_output& replayed) {
  if (const auto* step = std::get_if<optim_step_result>(&journalled)) {
    const auto* again = std::get_if<optim_step_result>(&replayed);
    return again != nullptr && step->step == again->step && step->weights == again->weights;
  }
  if (const auto* pass = std::get_if<forward_result>(&journalled)) {
    const auto* again = std::get_if<forward_result>(&replayed);
    return again != nullptr && pass->logprobs == again->logprobs && pass->details == again->details;
  }
  return journalled.index() == replayed.index();
}

}  // namespace troupe::logic
