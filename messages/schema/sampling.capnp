@0xd571723899d397e0;
# Samples, and the deployments that make them.

using Cxx = import "/capnp/c++.capnp";
using Checkpoint = import "/messages/schema/checkpoint.capnp";
using Model = import "/messages/schema/model.capnp";
$Cxx.namespace("troupe::schema");

struct SamplingParams {
  maxTokens @0 :UInt32;         # 1 .. sample_tokens_max
  temperature @1 :Float64;      # finite, >= 0
  topK @2 :Int32;               # -1 or >= 1
  topP @3 :Float64;             # in (0, 1]
  seed @4 :UInt64;
  stopTokens @5 :List(Int32);   # <= stop_tokens_max, each >= 0
  minP @6 :Float64;             # in [0, 1]
  topkLogprobs @7 :UInt32;      # <= topk_logprobs_max
  withOtherLogprobs @8 :Bool;
}

struct SampleRequest {
  deployment @0 :Text;        # a valid name
  prompt @1 :List(Int32);     # 1 <= n <= datum_tokens_max, each >= 0
  params @2 :SamplingParams;
  numSamples @3 :UInt32;      # 1 .. samples_per_request_max
  minVersion @4 :UInt64;
  promptLogprobs @5 :Bool;
  topkPromptLogprobs @6 :UInt32;  # <= topk_logprobs_max; all cells together <= topk_cells_max
  maxVersion @7 :UInt64 = 0xffffffffffffffff;  # >= minVersion
  ticket @8 :UInt64;
  adapter @9 :Text;  # 64 hexadecimal digits or empty
  adapterRecord @10 :Checkpoint.CheckpointRecord;  # of that adapter
  promptTargets @11 :List(Int32);  # (n - 1) K, each >= 0; counts as cells
}

enum StopReason {
  stop @0;
  length @1;
}

struct LikeliestTokens {
  perPosition @0 :UInt32;      # <= topk_logprobs_max
  tokens @1 :List(Int32);      # <= topk_cells_max, a multiple of perPosition, each >= 0
  logprobs @2 :List(Float32);  # as many, finite
}

struct VersionSpan {
  firstToken @0 :UInt32;  # below the number of tokens, growing
  version @1 :UInt64;
}

struct SampledSequence {
  tokens @0 :List(Int32);      # <= sample_tokens_max, each >= 0
  logprobs @1 :List(Float32);  # as many, finite
  reason @2 :StopReason;
  firstVersion @3 :UInt64;
  lastVersion @4 :UInt64;
  versions @5 :List(VersionSpan);  # <= version_spans_max
  topk @6 :LikeliestTokens;
  rawLogprobs @7 :List(Float32);       # as many as tokens, or none; finite
  samplingLogprobs @8 :List(Float32);  # as many as tokens, or none; finite
}

struct SampleReply {
  sequences @0 :List(SampledSequence);  # <= samples_per_request_max
  promptLogprobs @1 :List(Float32);     # <= datum_tokens_max, finite
  promptTopk @2 :LikeliestTokens;
  cachedPromptTokens @3 :UInt32;
  promptTargetLogprobs @4 :List(Float32);  # <= topk_cells_max, finite
}

struct StreamSampleRequest {
  request @0 :SampleRequest;  # with a ticket
}

struct ReadSampleRequest {
  deployment @0 :Text;  # a valid name
  ticket @1 :UInt64;    # >= 1
  chunk @2 :UInt64;
}

struct SampleChunk {
  chunk @0 :UInt64;
  part @1 :SampleReply;
  ended @2 :List(UInt32);  # <= samples_per_request_max, each a place in part.sequences
  isLast @3 :Bool;
}

struct CancelSampleRequest {
  deployment @0 :Text;  # a valid name
  ticket @1 :UInt64;    # >= 1
}

struct CreateDeploymentRequest {
  name @0 :Text;  # a valid name or empty
  model @1 :Model.ModelSource;
  replicas @2 :UInt32 = 1;  # 1 .. replicas_max
}

struct ScaleDeploymentRequest {
  deployment @0 :Text;  # a valid name
  replicas @1 :UInt32;  # 1 .. replicas_max
}

enum ReplicaPhase {
  opening @0;
  catchingUp @1;
  serving @2;
  draining @3;
}

struct ReplicaInfo {
  replica @0 :UInt32;
  node @1 :Text;  # a valid name or empty
  phase @2 :ReplicaPhase;
  version @3 :UInt64;
  activeRequests @4 :UInt64;
  answeredRequests @5 :UInt64;
  restarts @6 :UInt32;
}

struct DeploymentInfo {
  deployment @0 :Text;  # a valid name
  version @1 :UInt64;
  checkpoint @2 :Text;  # 64 hexadecimal digits or empty
  replicas @3 :UInt32;
  activeSequences @4 :UInt64;
  model @5 :Model.ModelConfig;
  wantedReplicas @6 :UInt32 = 1;
  places @7 :List(ReplicaInfo);  # <= 2 * replicas_max: those that drain are still there
  waitingRequests @8 :UInt64;
  logprobGapMean @9 :Float64;  # finite, >= 0
  logprobGapMax @10 :Float64;  # finite, >= 0
}

struct DeploymentStatusRequest {
  deployment @0 :Text;  # a valid name
}

struct RemoveDeploymentRequest {
  deployment @0 :Text;  # a valid name
}
