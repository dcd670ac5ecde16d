#include "messages/wire/detail_codec.hpp"
#include "messages/wire/detail_training.hpp"

namespace troupe::wire::detail {

namespace {

using op_union = schema::OpRequest::Body;

struct body_builder {
  op_union::Builder out;
  checks& check;

  void operator()(const forward_op& in) { build_forward(in, out.initForward(), check); }
  void operator()(const forward_backward_op& in) {
    build_loss(in, out.initForwardBackward(), check);
  }
  void operator()(const backward_op& in) { build_gradients(in, out.initBackward(), check); }
  void operator()(const optim_step_op& in) { build(in.adam, out.initOptimStep().initAdam()); }
  void operator()(const save_state_op& in) { out.initSaveState().setName(text(in.name)); }
  void operator()(const load_state_op& in) {
    auto op = out.initLoadState();
    op.setCheckpoint(text(in.checkpoint.value));
    op.setOptimizer(wire_enum<schema::OptimizerState>(in.optimizer));
  }
  void operator()(const save_weights_op& in) {
    auto op = out.initSaveWeights();
    op.setName(text(in.name));
    op.setKind(wire_enum<schema::PublishKind>(in.kind));
  }
};

void require_data(bool there, op_data needed, std::string_view field, checks& check) {
  check.require(there || needed == op_data::may_be_trimmed, field, "hold at least one element");
}

/// With many targets per token a reply could be as large as its op, and the log keeps both in one
/// frame.
void require_small_reply(const std::vector<datum>& batch, const forward_details& details,
                         checks& check) {
  constexpr std::size_t numbers_max = limits::answer_numbers_max;
  const std::size_t per_token = 2 * std::size_t{details.topk_logprobs} + (details.entropy ? 1 : 0);
  std::size_t targets = 0;
  std::size_t numbers = 0;
  for (const datum& each : batch) {
    targets += each.target_tokens.size();
    numbers += each.tokens.size() * per_token;
  }
  check.require(targets <= numbers_max, "target_tokens",
                "be at most " + std::to_string(numbers_max) + " in one op");
  check.require(targets + numbers <= numbers_max, "details",
                "be at most " + std::to_string(numbers_max) +
                    " numbers in one op, logprobs of targets included");
}

forward_op read_op(schema::ForwardOp::Reader in, op_data needed, checks& check) {
  forward_op out;
  read_forward(in, out, check);
  require_data(!out.batch.empty(), needed, "batch", check);
  require_small_reply(out.batch, out.details, check);
  return out;
}

forward_backward_op read_op(schema::ForwardBackwardOp::Reader in, op_data needed, checks& check) {
  forward_backward_op out;
  read_loss(in, out, check);
  require_data(!out.batch.empty(), needed, "batch", check);
  require_small_reply(out.batch, {}, check);
  return out;
}

backward_op read_op(schema::BackwardOp::Reader in, op_data needed, checks& check) {
  backward_op out;
  read_gradients(in, out, check);
  require_data(!out.logprob_gradients.empty(), needed, "logprob_gradients", check);
  return out;
}

load_state_op read_op(schema::LoadStateOp::Reader in, checks& check) {
  load_state_op out;
  out.checkpoint.value =
      read_hash(in.getCheckpoint(), presence::required, "load_state.checkpoint", check);
  out.optimizer =
      read_enum(in.getOptimizer(), optimizer_state::restore, "load_state.optimizer", check);
  return out;
}

save_weights_op read_op(schema::SaveWeightsOp::Reader in, checks& check) {
  save_weights_op out;
  out.name = read_name(in.getName(), presence::optional, "save_weights.name", check);
  out.kind = read_enum(in.getKind(), publish_kind::delta, "save_weights.kind", check);
  return out;
}

op_body read_body(op_union::Reader in, op_data needed, checks& check) {
  switch (in.which()) {
    case op_union::FORWARD:
      return read_op(in.getForward(), needed, check);
    case op_union::FORWARD_BACKWARD:
      return read_op(in.getForwardBackward(), needed, check);
    case op_union::BACKWARD:
      return read_op(in.getBackward(), needed, check);
    case op_union::OPTIM_STEP:
      return optim_step_op{read(in.getOptimStep().getAdam(), check)};
    case op_union::SAVE_STATE:
      return save_state_op{
          read_name(in.getSaveState().getName(), presence::optional, "save_state.name", check)};
    case op_union::LOAD_STATE:
      return read_op(in.getLoadState(), check);
    case op_union::SAVE_WEIGHTS:
      return read_op(in.getSaveWeights(), check);
    case op_union::UNSET:
      break;
  }
  refuse_variant("op.body", check);
  return {};
}

}  // namespace

void build(const datum& in, schema::Datum::Builder out, checks& check) {
  constexpr std::size_t limit = limits::datum_tokens_max;
  write_numbers(in.tokens, limit, "tokens", check, [&](unsigned n) { return out.initTokens(n); });
  write_numbers(in.target_tokens, limit, "target_tokens", check,
                [&](unsigned n) { return out.initTargetTokens(n); });
  write_numbers(in.weights, limit, "weights", check,
                [&](unsigned n) { return out.initWeights(n); });
  write_numbers(in.logprobs, limit, "logprobs", check,
                [&](unsigned n) { return out.initLogprobs(n); });
  write_numbers(in.advantages, limit, "advantages", check,
                [&](unsigned n) { return out.initAdvantages(n); });
  write_numbers(in.sequence_ratio_mask, limit, "sequence_ratio_mask", check,
                [&](unsigned n) { return out.initSequenceRatioMask(n); });
  write_numbers(in.clip_low_thresholds, limit, "clip_low_thresholds", check,
                [&](unsigned n) { return out.initClipLowThresholds(n); });
  write_numbers(in.clip_high_thresholds, limit, "clip_high_thresholds", check,
                [&](unsigned n) { return out.initClipHighThresholds(n); });
}

datum read(schema::Datum::Reader in, checks& check) {
  constexpr std::size_t limit = limits::datum_tokens_max;
  datum out;
  out.tokens = read_tokens(in.getTokens(), limit, "tokens", check);
  out.target_tokens = read_tokens(in.getTargetTokens(), limit, "target_tokens", check);
  out.weights = read_floats(in.getWeights(), limit, "weights", check);
  out.logprobs = read_floats(in.getLogprobs(), limit, "logprobs", check);
  out.advantages = read_floats(in.getAdvantages(), limit, "advantages", check);
  out.sequence_ratio_mask =
      read_floats(in.getSequenceRatioMask(), limit, "sequence_ratio_mask", check);
  out.clip_low_thresholds =
      read_floats(in.getClipLowThresholds(), limit, "clip_low_thresholds", check);
  out.clip_high_thresholds =
      read_floats(in.getClipHighThresholds(), limit, "clip_high_thresholds", check);
  const std::size_t length = out.tokens.size();
  const std::size_t targets = out.target_tokens.size();
  check.require(length >= 1, "tokens", "hold at least one token");
  check.require(length >= 1 && targets >= length && targets % length == 0 &&
                    targets / length <= limits::targets_per_position_max,
                "target_tokens",
                "hold equally many targets for each token, at most " +
                    std::to_string(limits::targets_per_position_max));
  const auto fits = [&](const std::vector<float>& values, std::string_view field) {
    check.require(values.empty() || values.size() == targets, field,
                  "be as long as target_tokens, or empty");
  };
  fits(out.weights, "weights");
  fits(out.logprobs, "logprobs");
  fits(out.advantages, "advantages");
  fits(out.sequence_ratio_mask, "sequence_ratio_mask");
  fits(out.clip_low_thresholds, "clip_low_thresholds");
  fits(out.clip_high_thresholds, "clip_high_thresholds");
  return out;
}

void build(const adam_params& in, schema::AdamParams::Builder out) {
  out.setLearningRate(in.learning_rate);
  out.setBeta1(in.beta1);
  out.setBeta2(in.beta2);
  out.setEps(in.eps);
  out.setWeightDecay(in.weight_decay);
  out.setGradClipNorm(in.grad_clip_norm);
  out.setNormalization(wire_enum<schema::GradientNormalization>(in.normalization));
}

adam_params read(schema::AdamParams::Reader in, checks& check) {
  const auto beta = [&](double value, std::string_view field) {
    check.require(value >= 0.0 && value < 1.0, field, "be at least 0 and less than 1");
    return value;
  };
  adam_params out;
  out.learning_rate = read_not_negative(in.getLearningRate(), "adam.learning_rate", check);
  out.beta1 = beta(in.getBeta1(), "adam.beta1");
  out.beta2 = beta(in.getBeta2(), "adam.beta2");
  out.eps = read_not_negative(in.getEps(), "adam.eps", check);
  out.weight_decay = read_not_negative(in.getWeightDecay(), "adam.weight_decay", check);
  out.grad_clip_norm = read_not_negative(in.getGradClipNorm(), "adam.grad_clip_norm", check);
  out.normalization = read_enum(in.getNormalization(), gradient_normalization::num_sequences,
                                "adam.normalization", check);
  return out;
}

void build(const op_request& in, schema::OpRequest::Builder out, checks& check) {
  out.setRun(text(in.run.value));
  out.setClientEpoch(in.client_epoch);
  out.setSeqId(in.seq_id);
  out.setCursor(data(in.cursor));
  std::visit(body_builder{out.getBody(), check}, in.body);
}

op_request read(schema::OpRequest::Reader in, checks& check, op_data needed) {
  op_request out;
  out.run.value = read_name(in.getRun(), presence::required, "op.run", check);
  out.client_epoch = in.getClientEpoch();
  out.seq_id = in.getSeqId();
  check.require(out.seq_id >= 1, "op.seq_id", "be at least 1");
  out.cursor = read_data(in.getCursor(), limits::cursor_bytes_max, "op.cursor", check);
  out.body = read_body(in.getBody(), needed, check);
  return out;
}

template <>
struct schema_of<op_request> : is_schema<schema::OpRequest> {};
template <>
inline constexpr std::size_t frame_bytes_limit<op_request> = limits::op_bytes_max;
template <>
inline constexpr std::string_view how_to_split<op_request> =
    "split the batch over several ops: gradients of forward_backward calls add up until optim_step";

}  // namespace troupe::wire::detail

namespace troupe::wire {

template struct codec<op_request>;

}  // namespace troupe::wire
