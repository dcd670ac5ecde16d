#include "messages/wire/detail_codec.hpp"
#include "messages/wire/detail_training.hpp"

namespace troupe::wire::detail {

namespace {

using output_union = schema::OpReply::Output;

template <class Result, class Builder>
void build_metrics(const Result& in, Builder out, checks& check) {
  write_list(in.metrics, limits::metrics_max, "metrics", check,
             [&](unsigned n) { return out.initMetrics(n); });
}

template <class Reader>
metric_list read_metrics(Reader in, checks& check) {
  return read_list<named_number>(in.getMetrics(), limits::metrics_max, "metrics", check);
}

struct output_builder {
  output_union::Builder out;
  checks& check;

  void operator()(const forward_result& in) {
    auto result = out.initForward();
    write_float_lists(in.logprobs, "logprobs", check,
                      [&](unsigned n) { return result.initLogprobs(n); });
    build_metrics(in, result, check);
    write_list(in.details, limits::batch_datums_max, "details", check,
               [&](unsigned n) { return result.initDetails(n); });
  }
  void operator()(const backward_result& in) { build_metrics(in, out.initBackward(), check); }
  void operator()(const optim_step_result& in) {
    auto result = out.initOptimStep();
    result.setStep(in.step);
    build(in.weights, result.initWeights());
    build_metrics(in, result, check);
  }
  void operator()(const checkpoint_result& in) {
    auto result = out.initCheckpoint();
    result.setCheckpoint(text(in.checkpoint.value));
    result.setStep(in.step);
    result.setBytes(in.bytes);
    result.setIsDelta(in.is_delta);
  }
  void operator()(const load_state_result& in) {
    auto result = out.initLoadState();
    result.setStep(in.step);
    build(in.weights, result.initWeights());
  }
};

checkpoint_result read_result(schema::CheckpointResult::Reader in, checks& check) {
  checkpoint_result out;
  out.checkpoint.value =
      read_hash(in.getCheckpoint(), presence::required, "result.checkpoint", check);
  out.step = in.getStep();
  out.bytes = in.getBytes();
  out.is_delta = in.getIsDelta();
  return out;
}

op_output read_output(output_union::Reader in, checks& check) {
  switch (in.which()) {
    case output_union::FORWARD: {
      const auto result = in.getForward();
      return forward_result{read_float_lists(result.getLogprobs(), "logprobs", check),
                            read_metrics(result, check),
                            read_list<datum_details>(result.getDetails(), limits::batch_datums_max,
                                                     "details", check)};
    }
    case output_union::BACKWARD:
      return backward_result{read_metrics(in.getBackward(), check)};
    case output_union::OPTIM_STEP: {
      const auto result = in.getOptimStep();
      return optim_step_result{result.getStep(), read(result.getWeights()),
                               read_metrics(result, check)};
    }
    case output_union::CHECKPOINT:
      return read_result(in.getCheckpoint(), check);
    case output_union::LOAD_STATE: {
      const auto result = in.getLoadState();
      return load_state_result{result.getStep(), read(result.getWeights())};
    }
    case output_union::UNSET:
      break;
  }
  refuse_variant("reply.output", check);
  return {};
}

}  // namespace

void build(const op_reply& in, schema::OpReply::Builder out, checks& check) {
  out.setSeqId(in.seq_id);
  std::visit(output_builder{out.getOutput(), check}, in.output);
}

op_reply read(schema::OpReply::Reader in, checks& check) {
  op_reply out;
  out.seq_id = in.getSeqId();
  out.output = read_output(in.getOutput(), check);
  return out;
}

template <>
struct schema_of<op_reply> : is_schema<schema::OpReply> {};

}  // namespace troupe::wire::detail

namespace troupe::wire {

template struct codec<op_reply>;

}  // namespace troupe::wire
