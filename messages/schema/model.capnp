@0xe1c66fccb3aecb38;
# The numbers of an architecture and where first weights come from.

using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("troupe::schema");

enum ModelFamily {
  qwen3 @0;
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
}

struct ModelSource {
  directory @0 :Text;  # absolute path, <= path_bytes_max
}
