@0x8c8f0c9d929f1c5e;
# Records of durable state. The canonical encoding of CheckpointManifest is what a checkpoint's id
# is the SHA-256 of: changing the meaning of a field changes every id.

using Cxx = import "/capnp/c++.capnp";
using Common = import "/messages/schema/common.capnp";
using Model = import "/messages/schema/model.capnp";
$Cxx.namespace("troupe::schema");

enum CheckpointKind {
  training @0;
  snapshot @1;
  samplerBase @2;
  samplerDelta @3;
  samplerAdapter @4;
}

struct CheckpointFile {
  blob @0 :Text;  # 64 hexadecimal digits
  bytes @1 :UInt64;
  rank @2 :UInt32;  # < world_size_max
}

struct CheckpointManifest {
  run @0 :Text;  # a valid name
  kind @1 :CheckpointKind;
  name @2 :Text;  # a valid name or empty
  step @3 :UInt64;
  seqId @4 :UInt64;
  parent @5 :Text;   # 64 hexadecimal digits or empty
  base @6 :Text;     # 64 hexadecimal digits or empty
  depth @7 :UInt32;  # <= delta_depth_max
  parentState @8 :Common.StateDigest;
  state @9 :Common.StateDigest;
  optimizerSteps @10 :UInt64;
  model @11 :Model.ModelConfig;
  modelDirectory @12 :Text;         # <= path_bytes_max
  files @13 :List(CheckpointFile);  # <= checkpoint_files_max
  createdUnixMs @14 :UInt64;
  lora @15 :Model.LoraConfig;  # holds adapters only
  probeLogprobs @16 :List(Float32);  # < probe_tokens_max, finite
  folds @17 :Text;  # 64 hexadecimal digits or empty
}

struct CheckpointRecord {
  id @0 :Text;  # 64 hexadecimal digits
  manifest @1 :CheckpointManifest;
}

struct CommitCheckpointRequest {
  manifest @0 :CheckpointManifest;
}

struct GetCheckpointRequest {
  checkpoint @0 :Text;  # 6 to 64 hexadecimal digits
}

struct ListCheckpointsRequest {
  run @0 :Text;  # a valid name or empty
}

struct CheckpointList {
  records @0 :List(CheckpointRecord);  # <= checkpoint_list_max
}

enum ChainForm {
  shortest @0;
  complete @1;
}

struct CheckpointChainRequest {
  checkpoint @0 :Text;  # 64 hexadecimal digits
  form @1 :ChainForm;
}

struct RemoveCheckpointRequest {
  checkpoint @0 :Text;  # 64 hexadecimal digits
}

struct CollectGarbageRequest {
  dryRun @0 :Bool;
  samplerAgeS @1 :UInt64;
}

struct GarbageItem {
  checkpoint @0 :Text;  # 64 hexadecimal digits
  run @1 :Text;         # a valid name
  kind @2 :CheckpointKind;
  step @3 :UInt64;
  bytes @4 :UInt64;
}

struct GarbageReport {
  checkpoints @0 :List(GarbageItem);  # <= checkpoint_list_max
  removedFiles @1 :UInt64;
  removedBytes @2 :UInt64;
  dyingFiles @3 :UInt64;
  dyingBytes @4 :UInt64;
  keptCheckpoints @5 :UInt64;
}

struct VerifyCheckpointRequest {
  checkpoint @0 :Text;  # 64 hexadecimal digits
}

struct LeaseCheckpointsRequest {
  checkpoints @0 :List(Text);  # <= checkpoint_list_max; 64 hexadecimal digits each
}

struct DoubtChainRequest {
  checkpoint @0 :Text;  # 64 hexadecimal digits
  reason @1 :Text;      # <= error_text_bytes_max, cut there by the sender
}

struct PlanPublishRequest {
  published @0 :Text;  # 64 hexadecimal digits
}

enum PublishAdvice {
  delta @0;
  baseForDepth @1;
  baseForBytes @2;
  baseForDoubt @3;
}

struct PublishPlan {
  advice @0 :PublishAdvice;
}
