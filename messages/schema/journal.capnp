@0x905465c233469680;
# The op log of a run and what a restarted control node needs.

using Cxx = import "/capnp/c++.capnp";
using Common = import "/messages/schema/common.capnp";
using Sampling = import "/messages/schema/sampling.capnp";
using Training = import "/messages/schema/training.capnp";
$Cxx.namespace("troupe::schema");

struct Outcome {
  union {
    unset @0 :Void;
    reply @1 :Training.OpReply;
    failure @2 :Common.Error;
  }
}

struct AppendOpRequest {
  op @0 :Training.OpRequest;
  bodyDigest @1 :Text;  # 64 hexadecimal digits
}

struct FinishOpRequest {
  run @0 :Text;  # a valid name
  seqId @1 :UInt64;
  step @2 :UInt64;
  weights @3 :Common.StateDigest;
  outcome @4 :Outcome;  # never unset
}

struct LoggedOp {
  op @0 :Training.OpRequest;
  bodyDigest @1 :Text;  # 64 hexadecimal digits
  finished @2 :Bool;
  step @3 :UInt64;
  weights @4 :Common.StateDigest;
  outcome @5 :Outcome;  # unset until finished
}

struct ReadLogRequest {
  run @0 :Text;  # a valid name
  afterSeqId @1 :UInt64;
  maxOps @2 :UInt32;  # 1 .. log_page_ops_max
}

struct ReadLogReply {
  ops @0 :List(LoggedOp);  # <= log_page_ops_max
  complete @1 :Bool;
}

struct TrimLogRequest {
  run @0 :Text;  # a valid name
  throughSeqId @1 :UInt64;
}

struct RunRollback {
  toSeqId @0 :UInt64;
  throughSeqId @1 :UInt64;
  acknowledged @2 :Bool;
  reason @3 :Text;  # <= error_text_bytes_max, cut there by the sender
}

struct RunRecord {
  run @0 :Text;  # a valid name
  request @1 :Training.CreateRunRequest;
  incarnation @2 :UInt64;
  clientEpoch @3 :UInt64;
  snapshot @4 :Text;   # 64 hexadecimal digits or empty
  published @5 :Text;  # 64 hexadecimal digits or empty
  suspectSeqId @6 :UInt64;
  suspectLosses @7 :UInt32;
  rollback @8 :RunRollback;  # absent: every op counts
}

struct PutRunRequest {
  record @0 :RunRecord;
}

struct ListRunsRequest {}

struct RunList {
  runs @0 :List(RunRecord);  # <= runs_max
}

struct DeploymentRecord {
  request @0 :Sampling.CreateDeploymentRequest;
  version @1 :UInt64;
  checkpoint @2 :Text;  # 64 hexadecimal digits or empty
}

struct PutDeploymentRequest {
  record @0 :DeploymentRecord;
}

struct ForgetDeploymentRequest {
  deployment @0 :Text;  # a valid name
}

struct ListDeploymentsRequest {}

struct DeploymentList {
  deployments @0 :List(DeploymentRecord);  # <= deployments_max
}
