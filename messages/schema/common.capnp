@0x993ee07344dfdb97;
# What every topic shares. The rules of all schemas of this folder:
#   - fields and enumerators are only appended; a retired one is renamed obsoleteN and stays;
#   - every union has `unset` first, so that an all-zero message means nothing;
#   - every list and every text has a maximum: "<= name" is the constant of config/limits.hpp;
#   - units stand in names; enumerators have the numbers of the structs in messages/*.hpp.

using Cxx = import "/capnp/c++.capnp";
$Cxx.namespace("troupe::schema");

enum ErrorCode {
  none @0;
  invalidArgument @1;
  notFound @2;
  alreadyExists @3;
  badModel @4;
  unsupported @5;
  notFinite @6;
  seqReused @7;
  seqGap @8;
  fenced @9;
  busy @10;
  noCapacity @11;
  frameTooLarge @12;
  timeout @13;
  peerLost @14;
  wrongBase @15;
  corrupt @16;
  storage @17;
  storageFull @18;
  inUse @19;
  engineNotBuilt @20;
  engine @21;
  protocol @22;
  aborted @23;
  cancelled @24;
  internal @25;
  rolledBack @26;
}

struct Error {
  code @0 :ErrorCode;
  what @1 :Text;    # <= error_text_bytes_max, cut there by the sender
  cause @2 :Text;   # the same
  action @3 :Text;  # the same
}

struct StateDigest {
  low @0 :UInt64;
  high @1 :UInt64;
}

struct NamedNumber {
  name @0 :Text;  # <= name_bytes_max
  value @1 :Float64;
}
