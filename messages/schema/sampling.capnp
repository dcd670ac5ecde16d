@0xd571723899d397e0;
# Samples, and the deployments that make them.

using Cxx = import "/capnp/c++.capnp";
using Model = import "/messages/schema/model.capnp";
$Cxx.namespace("troupe::schema");

struct SamplingParams {
  maxTokens @0 :UInt32;         # 1 .. sample_tokens_max
  temperature @1 :Float64;      # finite, >= 0
  topK @2 :Int32;               # -1 or >= 1
  topP @3 :Float64;             # in (0, 1]
  seed @4 :UInt64;
  stopTokens @5 :List(Int32);   # <= stop_tokens_max, each >= 0
}

struct SampleRequest {
  deployment @0 :Text;        # a valid name
  prompt @1 :List(Int32);     # 1 <= n <= datum_tokens_max, each >= 0
  params @2 :SamplingParams;
  numSamples @3 :UInt32;      # 1 .. samples_per_request_max
  minVersion @4 :UInt64;
}

enum StopReason {
  stop @0;
  length @1;
}

struct SampledSequence {
  tokens @0 :List(Int32);      # <= sample_tokens_max, each >= 0
  logprobs @1 :List(Float32);  # as many, finite
  reason @2 :StopReason;
  firstVersion @3 :UInt64;
  lastVersion @4 :UInt64;
}

struct SampleReply {
  sequences @0 :List(SampledSequence);  # <= samples_per_request_max
}

struct CreateDeploymentRequest {
  name @0 :Text;  # a valid name or empty
  model @1 :Model.ModelSource;
}

struct DeploymentInfo {
  deployment @0 :Text;  # a valid name
  version @1 :UInt64;
  checkpoint @2 :Text;  # 64 hexadecimal digits or empty
  replicas @3 :UInt32;
  activeSequences @4 :UInt64;
  model @5 :Model.ModelConfig;
}

struct DeploymentStatusRequest {
  deployment @0 :Text;  # a valid name
}

struct RemoveDeploymentRequest {
  deployment @0 :Text;  # a valid name
}
