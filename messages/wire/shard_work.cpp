#include "messages/wire/detail_checkpoint.hpp"
#include "messages/wire/detail_codec.hpp"
#include "messages/wire/detail_shard.hpp"

namespace troupe::wire::detail {

namespace {

using work_union = schema::ShardWork::Body;

struct work_builder {
  work_union::Builder out;
  checks& check;

  void operator()(const shard_forward& in) { build_forward(in, out.initForward(), check); }
  void operator()(const shard_forward_backward& in) {
    build_loss(in, out.initForwardBackward(), check);
  }
  void operator()(const shard_backward& in) { build_gradients(in, out.initBackward(), check); }
  void operator()(const shard_optim_step& in) {
    auto work = out.initOptimStep();
    build(in.adam, work.initAdam());
    work.setStep(in.step);
  }
  void operator()(const shard_save_state&) { out.setSaveState(); }
  void operator()(const shard_load_state& in) {
    auto work = out.initLoadState();
    build(in.checkpoint, work.initCheckpoint(), check);
    work.setOptimizer(wire_enum<schema::OptimizerState>(in.optimizer));
  }
  void operator()(const shard_save_weights& in) {
    out.initSaveWeights().setKind(wire_enum<schema::CheckpointKind>(in.kind));
  }
  void operator()(const shard_published& in) {
    out.initPublished().setCheckpoint(text(in.checkpoint.value));
  }
  void operator()(const shard_capture_state&) { out.setCaptureState(); }
  void operator()(const shard_write_captured&) { out.setWriteCaptured(); }
};

shard_forward read_work(schema::ShardForward::Reader in, checks& check) {
  shard_forward out;
  read_forward(in, out, check);
  return out;
}

shard_forward_backward read_work(schema::ShardForwardBackward::Reader in, checks& check) {
  shard_forward_backward out;
  read_loss(in, out, check);
  return out;
}

shard_backward read_work(schema::ShardBackward::Reader in, checks& check) {
  shard_backward out;
  read_gradients(in, out, check);
  return out;
}

shard_load_state read_work(schema::ShardLoadState::Reader in, checks& check) {
  shard_load_state out;
  out.checkpoint = read(in.getCheckpoint(), check);
  out.optimizer =
      read_enum(in.getOptimizer(), optimizer_state::restore, "load_state.optimizer", check);
  return out;
}

shard_body read_body(work_union::Reader in, checks& check) {
  switch (in.which()) {
    case work_union::FORWARD:
      return read_work(in.getForward(), check);
    case work_union::FORWARD_BACKWARD:
      return read_work(in.getForwardBackward(), check);
    case work_union::BACKWARD:
      return read_work(in.getBackward(), check);
    case work_union::OPTIM_STEP: {
      const auto work = in.getOptimStep();
      return shard_optim_step{read(work.getAdam(), check), work.getStep()};
    }
    case work_union::SAVE_STATE:
      return shard_save_state{};
    case work_union::LOAD_STATE:
      return read_work(in.getLoadState(), check);
    case work_union::SAVE_WEIGHTS:
      return shard_save_weights{read_enum(in.getSaveWeights().getKind(),
                                          checkpoint_kind::sampler_adapter, "kind", check)};
    case work_union::PUBLISHED:
      return shard_published{checkpoint_id{
          read_hash(in.getPublished().getCheckpoint(), presence::required, "published", check)}};
    case work_union::CAPTURE_STATE:
      return shard_capture_state{};
    case work_union::WRITE_CAPTURED:
      return shard_write_captured{};
    case work_union::UNSET:
      break;
  }
  refuse_variant("work.body", check);
  return {};
}

}  // namespace

static void build(const shard_work& in, schema::ShardWork::Builder out, checks& check) {
  build(in.identity, out.initIdentity());
  out.setSeqId(in.seq_id);
  std::visit(work_builder{out.getBody(), check}, in.body);
  out.setNumber(in.number);
}

static shard_work read(schema::ShardWork::Reader in, checks& check) {
  shard_work out;
  out.identity = read(in.getIdentity(), check);
  out.seq_id = in.getSeqId();
  out.body = read_body(in.getBody(), check);
  out.number = in.getNumber();
  return out;
}

static void build(const shard_work_reply& in, schema::ShardWorkReply::Builder out, checks& check) {
  build(in.identity, out.initIdentity());
  out.setSeqId(in.seq_id);
  write_float_lists(in.logprobs, "logprobs", check,
                    [&](unsigned n) { return out.initLogprobs(n); });
  write_list(in.metrics, limits::metrics_max, "metrics", check,
             [&](unsigned n) { return out.initMetrics(n); });
  build(in.weights, out.initWeights());
  build(in.published_before, out.initPublishedBefore());
  build(in.published, out.initPublished());
  write_list(in.files, limits::checkpoint_files_max, "files", check,
             [&](unsigned n) { return out.initFiles(n); });
  write_numbers(in.probe_logprobs, limits::probe_tokens_max, "probe_logprobs", check,
                [&](unsigned n) { return out.initProbeLogprobs(n); });
  write_list(in.details, limits::batch_datums_max, "details", check,
             [&](unsigned n) { return out.initDetails(n); });
}

static shard_work_reply read(schema::ShardWorkReply::Reader in, checks& check) {
  shard_work_reply out;
  out.identity = read(in.getIdentity(), check);
  out.seq_id = in.getSeqId();
  out.logprobs = read_float_lists(in.getLogprobs(), "logprobs", check);
  out.metrics = read_list<named_number>(in.getMetrics(), limits::metrics_max, "metrics", check);
  out.weights = read(in.getWeights());
  out.published_before = read(in.getPublishedBefore());
  out.published = read(in.getPublished());
  out.files =
      read_list<checkpoint_file>(in.getFiles(), limits::checkpoint_files_max, "files", check);
  out.probe_logprobs =
      read_floats(in.getProbeLogprobs(), limits::probe_tokens_max, "probe_logprobs", check);
  out.details =
      read_list<datum_details>(in.getDetails(), limits::batch_datums_max, "details", check);
  return out;
}

template <>
struct schema_of<shard_work> : is_schema<schema::ShardWork> {};
template <>
struct schema_of<shard_work_reply> : is_schema<schema::ShardWorkReply> {};
template <>
inline constexpr std::string_view how_to_split<shard_work> =
    "split the batch over several ops: gradients of forward_backward calls add up until optim_step";

}  // namespace troupe::wire::detail

namespace troupe::wire {

template struct codec<shard_work>;
template struct codec<shard_work_reply>;

}  // namespace troupe::wire
