@0xe1c66fccb3aecb38;
# The numbers of an architecture and where first weights come from.

using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("troupe::schema");

enum ModelFamily {
  qwen3 @0;
  llama @1;
  qwen2 @2;
  qwen3Moe @3;
}

enum RopeKind {
  plain @0;
  llama3 @1;
}

struct RopeScaling {
  kind @0 :RopeKind;
  factor @1 :Float64;             # finite, like the next two
  lowFreqFactor @2 :Float64;
  highFreqFactor @3 :Float64;
  originalPositions @4 :UInt32;   # <= model_positions_max
}

struct ExpertConfig {
  count @0 :UInt32;     # this and the next: <= model_experts_max
  perToken @1 :UInt32;
  width @2 :UInt32;     # <= model_width_max
  weightsSumToOne @3 :Bool;
}

struct ModelConfig {
  family @0 :ModelFamily;
  vocabSize @1 :UInt32;         # <= model_vocab_max
  hiddenSize @2 :UInt32;        # this and the next: <= model_width_max
  intermediateSize @3 :UInt32;
  numLayers @4 :UInt32;         # <= model_layers_max
  numHeads @5 :UInt32;          # this and the next: <= model_heads_max
  numKvHeads @6 :UInt32;
  headDim @7 :UInt32;           # <= model_head_dim_max
  maxPositions @8 :UInt32;      # <= model_positions_max
  ropeTheta @9 :Float64;        # finite
  rmsNormEps @10 :Float64;      # finite
  tiedHead @11 :Bool;
  rope @12 :RopeScaling;        # absent: plain
  experts @13 :ExpertConfig;    # absent: none
}

enum LoraTarget {
  qProj @0;
  kProj @1;
  vProj @2;
  oProj @3;
  gateProj @4;
  upProj @5;
  downProj @6;
  lmHead @7;
}

struct LoraConfig {
  rank @0 :UInt32;    # 1 .. lora_rank_max
  alpha @1 :Float64;  # finite, > 0
  seed @2 :UInt64;
  trainAttn @3 :Bool;
  trainMlp @4 :Bool;
  trainUnembed @5 :Bool;
  targets @6 :List(LoraTarget);  # absent: all that the flags train; else ascending, each once
}

struct ModelSource {
  directory @0 :Text;  # absolute path, <= path_bytes_max
}
