@0xc1d7f582aca16e28;
# How nodes find each other, and the whole cluster at one moment.

using Cxx = import "/capnp/c++.capnp";
using Training = import "/messages/schema/training.capnp";
using Sampling = import "/messages/schema/sampling.capnp";
$Cxx.namespace("troupe::schema");

enum NodeRole {
  control @0;
  trainer @1;
  sampler @2;
  client @3;
}

struct AttachRequest {
  protocol @0 :UInt32;
  cluster @1 :Text;    # <= name_bytes_max
  joinToken @2 :Text;  # <= join_token_bytes_max
  node @3 :Text;       # a valid name; a client may leave it empty
  role @4 :NodeRole;
  processId @5 :UInt64;
  slots @6 :UInt32 = 1;  # 1 to node_slots_max
}

struct AttachReply {
  cluster @0 :Text;      # <= name_bytes_max
  control @1 :Text;      # a valid name
  storageRoot @2 :Text;  # <= path_bytes_max
  leaseMs @3 :UInt32;
}

struct RenewLeaseRequest {
  node @0 :Text;  # a valid name
}

struct NodeLeavingRequest {
  node @0 :Text;  # a valid name
}

struct NodeStatus {
  node @0 :Text;  # a valid name
  role @1 :NodeRole;
  processId @2 :UInt64;
  hosting @3 :Text;  # <= error_text_bytes_max, cut there by the sender
  lastSeenMs @4 :UInt64;
  slots @5 :UInt32 = 1;  # 1 to node_slots_max
  freeSlots @6 :UInt32;  # <= slots
}

struct ClusterStatusRequest {}

struct ClusterStatus {
  cluster @0 :Text;                           # <= name_bytes_max
  storageRoot @1 :Text;                       # <= path_bytes_max
  nodes @2 :List(NodeStatus);                 # <= nodes_max
  runs @3 :List(Training.RunInfo);            # <= runs_max
  deployments @4 :List(Sampling.DeploymentInfo);  # <= deployments_max
}

struct ShutdownRequest {
  reason @0 :Text;  # <= error_text_bytes_max, cut there by the sender
}

struct Done {}
