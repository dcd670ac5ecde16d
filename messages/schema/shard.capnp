@0xa716f45e99ebb29f;
# What a training run tells the ranks that hold its model.

using Cxx = import "/capnp/c++.capnp";
using Common = import "/messages/schema/common.capnp";
using Model = import "/messages/schema/model.capnp";
using Checkpoint = import "/messages/schema/checkpoint.capnp";
using Training = import "/messages/schema/training.capnp";
$Cxx.namespace("troupe::schema");

struct ShardIdentity {
  run @0 :Text;  # a valid name
  incarnation @1 :UInt64;
  rank @2 :UInt32;       # < worldSize
  worldSize @3 :UInt32;  # 1 .. world_size_max
}

struct OpenShardRequest {
  identity @0 :ShardIdentity;
  model @1 :Model.ModelSource;
  seed @2 :UInt64;
  commToken @3 :Data;  # <= comm_token_bytes_max
  lora @4 :Model.LoraConfig;  # absent: every parameter is trained
  shardSize @5 :UInt32;  # 0, or a divisor of the identity's worldSize
}

struct OpenShardReply {
  commAddress @0 :Text;  # <= address_bytes_max
}

struct StartShardRequest {
  identity @0 :ShardIdentity;
  commAddresses @1 :List(Text);                  # one per rank, <= address_bytes_max, or none
  resume @2 :List(Checkpoint.CheckpointRecord);  # <= 1
  published @3 :Text;                            # 64 hexadecimal digits or empty
  publishedChain @4 :List(Checkpoint.CheckpointRecord);  # <= checkpoint_chain_max
}

struct StartShardReply {
  model @0 :Model.ModelConfig;
  weights @1 :Common.StateDigest;
}

struct ShardForward {
  batch @0 :List(Training.Datum);  # <= batch_datums_max
  keep @1 :Training.Retention;
  details @2 :Training.ForwardDetails;  # absent: none
}

struct ShardForwardBackward {
  batch @0 :List(Training.Datum);  # <= batch_datums_max
  loss @1 :Training.LossFn;
  config @2 :List(Common.NamedNumber);  # <= loss_config_entries_max, finite
}

struct ShardBackward {
  forwardSeqId @0 :UInt64;                   # >= 1
  logprobGradients @1 :List(List(Float32));  # <= batch_datums_max of <= datum_tokens_max, finite
}

struct ShardOptimStep {
  adam @0 :Training.AdamParams;
  step @1 :UInt64;
}

struct ShardLoadState {
  checkpoint @0 :Checkpoint.CheckpointRecord;
  optimizer @1 :Training.OptimizerState;
}

struct ShardSaveWeights {
  kind @0 :Checkpoint.CheckpointKind;
}

struct ShardPublished {
  checkpoint @0 :Text;  # 64 hexadecimal digits
}

struct ShardWork {
  identity @0 :ShardIdentity;
  seqId @1 :UInt64;
  body :union {
    unset @2 :Void;
    forward @3 :ShardForward;
    forwardBackward @4 :ShardForwardBackward;
    backward @5 :ShardBackward;
    optimStep @6 :ShardOptimStep;
    saveState @7 :Void;
    loadState @8 :ShardLoadState;
    saveWeights @9 :ShardSaveWeights;
    published @10 :ShardPublished;
    captureState @11 :Void;
    writeCaptured @12 :Void;
  }
  number @13 :UInt64;  # within its incarnation, from 1; given once
}

struct ShardWorkReply {
  identity @0 :ShardIdentity;
  seqId @1 :UInt64;
  logprobs @2 :List(List(Float32));      # <= batch_datums_max of <= datum_tokens_max, finite
  metrics @3 :List(Common.NamedNumber);  # <= metrics_max
  weights @4 :Common.StateDigest;
  publishedBefore @5 :Common.StateDigest;
  published @6 :Common.StateDigest;
  files @7 :List(Checkpoint.CheckpointFile);  # <= checkpoint_files_max
  probeLogprobs @8 :List(Float32);            # < probe_tokens_max, finite
  details @9 :List(Training.DatumDetails);    # one per datum, or none
}

struct CloseShardRequest {
  identity @0 :ShardIdentity;
}

struct OpenSamplerRequest {
  deployment @0 :Text;  # a valid name
  model @1 :Model.ModelSource;
}
