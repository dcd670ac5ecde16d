@0x887aaf38c9a4b17e;
# How a live sampler takes a new weight version.

using Cxx = import "/capnp/c++.capnp";
using Common = import "/messages/schema/common.capnp";
using Checkpoint = import "/messages/schema/checkpoint.capnp";
$Cxx.namespace("troupe::schema");

enum InFlightPolicy {
  keepCache @0;
  recomputeCache @1;
  finishOld @2;
}

struct SyncRequest {
  deployment @0 :Text;  # a valid name
  checkpoint @1 :Text;  # 64 hexadecimal digits
  inFlight @2 :InFlightPolicy;
}

struct SyncReply {
  version @0 :UInt64;
  checkpoint @1 :Text;  # 64 hexadecimal digits
  wasDelta @2 :Bool;
  bytes @3 :UInt64;
  stageMs @4 :Float64;
  pauseMs @5 :Float64;
  totalMs @6 :Float64;
  replicas @7 :UInt32 = 1;
  logprobGapMean @8 :Float64;
  logprobGapMax @9 :Float64;
}

struct StageWeightsRequest {
  version @0 :UInt64;
  chain @1 :List(Checkpoint.CheckpointRecord);  # <= checkpoint_chain_max
}

struct StageWeightsReply {
  version @0 :UInt64;
  state @1 :Common.StateDigest;
  bytes @2 :UInt64;
  stageMs @3 :Float64;
}

struct CommitWeightsRequest {
  version @0 :UInt64;
  state @1 :Common.StateDigest;
  inFlight @2 :InFlightPolicy;
}

struct CommitWeightsReply {
  version @0 :UInt64;
  pauseMs @1 :Float64;
}

struct ReplicaStatus {
  node @0 :Text;  # a valid name or empty
  version @1 :UInt64;
  checkpoint @2 :Text;  # 64 hexadecimal digits or empty
  state @3 :Common.StateDigest;
  activeSequences @4 :UInt64;
  waitingSequences @5 :UInt64;
  sampledTokens @6 :UInt64;
  heldSequences @7 :UInt64;
  cachePages @8 :UInt64;
  promptPages @9 :UInt64;
  adapters @10 :UInt64;
  adapterBytes @11 :UInt64;
}

struct ReplicaStatusRequest {
  deployment @0 :Text;  # a valid name
}

struct LedgerEntry {
  deployment @0 :Text;  # a valid name
  node @1 :Text;        # a valid name or empty
  version @2 :UInt64;
  checkpoint @3 :Text;  # 64 hexadecimal digits or empty
  outcome @4 :Text;     # <= error_text_bytes_max, cut there by the sender
  unixTimeMs @5 :UInt64;
  replica @6 :UInt32;
  bytes @7 :UInt64;
  stageMs @8 :Float64;
  pauseMs @9 :Float64;
}

struct ListLedgerRequest {
  deployment @0 :Text;  # a valid name
}

struct LedgerList {
  entries @0 :List(LedgerEntry);  # <= ledger_page_max
}
