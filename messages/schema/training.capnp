@0xf1fb46c4acc64321;
# Operations of a training run, their results, and runs.

using Cxx = import "/capnp/c++.capnp";
using Common = import "/messages/schema/common.capnp";
using Model = import "/messages/schema/model.capnp";
using Sampling = import "/messages/schema/sampling.capnp";
$Cxx.namespace("troupe::schema");

struct Datum {
  tokens @0 :List(Int32);        # 1 <= N <= datum_tokens_max, each >= 0
  targetTokens @1 :List(Int32);  # N K, K <= targets_per_position_max, each >= 0
  weights @2 :List(Float32);     # N K or none, finite
  logprobs @3 :List(Float32);    # N K or none, finite
  advantages @4 :List(Float32);  # N K or none, finite
  sequenceRatioMask @5 :List(Float32);  # N K or none, finite
  clipLowThresholds @6 :List(Float32);  # N K or none, finite
  clipHighThresholds @7 :List(Float32);  # N K or none, finite
}

enum LossFn {
  crossEntropy @0;
  importanceSampling @1;
  ppo @2;
  cispo @3;
  dro @4;
  dapo @5;
  gspo @6;
}

enum GradientNormalization {
  none @0;
  numLossTokens @1;
  numSequences @2;
}

enum Retention {
  discard @0;
  keepForBackward @1;
}

enum EmbeddingKind {
  none @0;
  last @1;
  mean @2;
  perToken @3;
}

enum OptimizerState {
  reset @0;
  restore @1;
}

enum PublishKind {
  automatic @0;
  base @1;
  delta @2;
}

struct AdamParams {
  learningRate @0 :Float64;  # finite, >= 0
  beta1 @1 :Float64;         # in [0, 1)
  beta2 @2 :Float64;         # in [0, 1)
  eps @3 :Float64;           # finite, >= 0
  weightDecay @4 :Float64;   # finite, >= 0
  gradClipNorm @5 :Float64;  # finite, >= 0
  normalization @6 :GradientNormalization;
}

struct ForwardDetails {
  topkLogprobs @0 :UInt32;  # <= topk_logprobs_max
  entropy @1 :Bool;
  embedding @2 :EmbeddingKind;
}

struct ForwardOp {
  batch @0 :List(Datum);  # 1 <= n <= batch_datums_max
  keep @1 :Retention;
  details @2 :ForwardDetails;  # absent: none; the answer has <= answer_numbers_max of them
}

struct ForwardBackwardOp {
  batch @0 :List(Datum);  # 1 <= n <= batch_datums_max
  loss @1 :LossFn;
  config @2 :List(Common.NamedNumber);  # <= loss_config_entries_max, finite
}

struct BackwardOp {
  forwardSeqId @0 :UInt64;                   # >= 1
  logprobGradients @1 :List(List(Float32));  # 1 <= n <= batch_datums_max of <= datum_tokens_max
}

struct OptimStepOp {
  adam @0 :AdamParams;
}

struct SaveStateOp {
  name @0 :Text;  # a valid name or empty
}

struct LoadStateOp {
  checkpoint @0 :Text;  # 64 hexadecimal digits
  optimizer @1 :OptimizerState;
}

struct SaveWeightsOp {
  name @0 :Text;  # a valid name or empty
  kind @1 :PublishKind;
}

struct OpRequest {
  run @0 :Text;  # a valid name
  clientEpoch @1 :UInt64;
  seqId @2 :UInt64;  # >= 1
  cursor @3 :Data;   # <= cursor_bytes_max
  body :union {
    unset @4 :Void;
    forward @5 :ForwardOp;
    forwardBackward @6 :ForwardBackwardOp;
    backward @7 :BackwardOp;
    optimStep @8 :OptimStepOp;
    saveState @9 :SaveStateOp;
    loadState @10 :LoadStateOp;
    saveWeights @11 :SaveWeightsOp;
  }
}

struct DatumDetails {
  topk @0 :Sampling.LikeliestTokens;  # of N positions, or absent
  entropies @1 :List(Float32);        # N or none, finite
  embedding @2 :List(Float32);        # <= answer_numbers_max, finite
}

struct ForwardResult {
  logprobs @0 :List(List(Float32));      # <= batch_datums_max of <= datum_tokens_max, finite
  metrics @1 :List(Common.NamedNumber);  # <= metrics_max
  details @2 :List(DatumDetails);        # one per datum, or none
}

struct BackwardResult {
  metrics @0 :List(Common.NamedNumber);  # <= metrics_max
}

struct OptimStepResult {
  step @0 :UInt64;
  weights @1 :Common.StateDigest;
  metrics @2 :List(Common.NamedNumber);  # <= metrics_max
}

struct CheckpointResult {
  checkpoint @0 :Text;  # 64 hexadecimal digits
  step @1 :UInt64;
  bytes @2 :UInt64;
  isDelta @3 :Bool;
}

struct LoadStateResult {
  step @0 :UInt64;
  weights @1 :Common.StateDigest;
}

struct OpReply {
  seqId @0 :UInt64;
  output :union {
    unset @1 :Void;
    forward @2 :ForwardResult;
    backward @3 :BackwardResult;
    optimStep @4 :OptimStepResult;
    checkpoint @5 :CheckpointResult;
    loadState @6 :LoadStateResult;
  }
}

struct CreateRunRequest {
  name @0 :Text;  # a valid name or empty
  model @1 :Model.ModelSource;
  worldSize @2 :UInt32;  # 1 .. world_size_max
  seed @3 :UInt64;
  snapshotEverySteps @4 :UInt64;
  lora @5 :Model.LoraConfig;  # absent: every parameter is trained
  tenant @6 :Text;  # a valid name or empty
  shardSize @7 :UInt32;  # 0, or a divisor of worldSize
}

struct AttachRunRequest {
  run @0 :Text;  # a valid name
}

enum RunPhase {
  starting @0;
  ready @1;
  recovering @2;
  failed @3;
  parked @4;
  rolledBack @5;
}

struct RunInfo {
  run @0 :Text;  # a valid name
  phase @1 :RunPhase;
  model @2 :Model.ModelConfig;
  modelDirectory @3 :Text;  # <= path_bytes_max
  worldSize @4 :UInt32;     # <= world_size_max
  incarnation @5 :UInt64;
  clientEpoch @6 :UInt64;
  nextSeqId @7 :UInt64;
  committedSeqId @8 :UInt64;
  step @9 :UInt64;
  weights @10 :Common.StateDigest;
  lastCheckpoint @11 :Text;  # 64 hexadecimal digits or empty
  cursor @12 :Data;          # <= cursor_bytes_max
  detail @13 :Text;          # <= error_text_bytes_max, cut there by the sender
}

struct RunStatusRequest {
  run @0 :Text;  # a valid name
}

struct ParkRunRequest {
  run @0 :Text;  # a valid name
}

struct AcknowledgeRollbackRequest {
  run @0 :Text;  # a valid name
}

enum RunEventKind {
  started @0;
  shardLost @1;
  recovering @2;
  resumed @3;
  snapshot @4;
  failed @5;
  parked @6;
  quarantined @7;
  rolledBack @8;
  acknowledged @9;
  leaving @10;
}

struct RunEvent {
  number @0 :UInt64;
  unixTimeMs @1 :UInt64;
  kind @2 :RunEventKind;
  seqId @3 :UInt64;
  opsReplayed @4 :UInt64;
  seconds @5 :Float64;
  bitExact @6 :Bool;
  detail @7 :Text;  # <= error_text_bytes_max, cut there by the sender
  toSeqId @8 :UInt64;
  toStep @9 :UInt64;
  cursor @10 :Data;  # <= cursor_bytes_max
}

struct RunEventsRequest {
  run @0 :Text;  # a valid name
  afterNumber @1 :UInt64;
}

struct RunEventsReply {
  events @0 :List(RunEvent);  # <= run_events_max
}

struct KeepEventRequest {
  run @0 :Text;  # a valid name
  event @1 :RunEvent;
}
