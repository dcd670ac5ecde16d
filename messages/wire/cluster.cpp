#include "messages/cluster.hpp"

#include "messages/schema/cluster.capnp.h"
#include "messages/status.hpp"
#include "messages/wire/detail_codec.hpp"
#include "messages/wire/detail_fields.hpp"
#include "messages/wire/detail_sampling.hpp"
#include "messages/wire/detail_training.hpp"

namespace troupe::wire::detail {

static std::uint32_t read_slots(std::uint32_t value, checks& check) {
  check.require(value >= 1 && value <= limits::node_slots_max, "slots",
                "be 1 to " + std::to_string(limits::node_slots_max));
  return value;
}

static void build(const attach_request& in, schema::AttachRequest::Builder out, checks&) {
  out.setProtocol(in.protocol);
  out.setCluster(text(in.cluster));
  out.setJoinToken(text(in.join_token));
  out.setNode(text(in.node.value));
  out.setRole(wire_enum<schema::NodeRole>(in.role));
  out.setProcessId(in.process_id);
  out.setSlots(in.slots);
}

static attach_request read(schema::AttachRequest::Reader in, checks& check) {
  attach_request out;
  out.protocol = in.getProtocol();
  out.cluster = read_text(in.getCluster(), limits::name_bytes_max, "cluster", check);
  out.join_token = read_text(in.getJoinToken(), limits::join_token_bytes_max, "join_token", check);
  out.role = read_enum(in.getRole(), node_role::client, "role", check);
  const auto named = out.role == node_role::client ? presence::optional : presence::required;
  out.node.value = read_name(in.getNode(), named, "node", check);
  out.process_id = in.getProcessId();
  out.slots = read_slots(in.getSlots(), check);
  return out;
}

static void build(const attach_reply& in, schema::AttachReply::Builder out, checks&) {
  out.setCluster(text(in.cluster));
  out.setControl(text(in.control.value));
  out.setStorageRoot(text(in.storage_root));
  out.setLeaseMs(in.lease_ms);
}

static attach_reply read(schema::AttachReply::Reader in, checks& check) {
  attach_reply out;
  out.cluster = read_text(in.getCluster(), limits::name_bytes_max, "cluster", check);
  out.control.value = read_name(in.getControl(), presence::required, "control", check);
  out.storage_root = read_text(in.getStorageRoot(), limits::path_bytes_max, "storage_root", check);
  out.lease_ms = in.getLeaseMs();
  return out;
}

static void build(const renew_lease_request& in, schema::RenewLeaseRequest::Builder out, checks&) {
  out.setNode(text(in.node.value));
}

static renew_lease_request read(schema::RenewLeaseRequest::Reader in, checks& check) {
  return {node_id{read_name(in.getNode(), presence::required, "node", check)}};
}

static void build(const node_leaving_request& in, schema::NodeLeavingRequest::Builder out,
                  checks&) {
  out.setNode(text(in.node.value));
}

static node_leaving_request read(schema::NodeLeavingRequest::Reader in, checks& check) {
  return {node_id{read_name(in.getNode(), presence::required, "node", check)}};
}

static void build(const node_status& in, schema::NodeStatus::Builder out, checks&) {
  out.setNode(text(in.node.value));
  out.setRole(wire_enum<schema::NodeRole>(in.role));
  out.setProcessId(in.process_id);
  out.setHosting(text(prose(in.hosting)));
  out.setLastSeenMs(in.last_seen_ms);
  out.setSlots(in.slots);
  out.setFreeSlots(in.free_slots);
}

static node_status read(schema::NodeStatus::Reader in, checks& check) {
  node_status out;
  out.node.value = read_name(in.getNode(), presence::required, "node", check);
  out.role = read_enum(in.getRole(), node_role::client, "role", check);
  out.process_id = in.getProcessId();
  out.hosting = read_prose(in.getHosting(), "hosting", check);
  out.last_seen_ms = in.getLastSeenMs();
  out.slots = read_slots(in.getSlots(), check);
  out.free_slots = in.getFreeSlots();
  check.require(out.free_slots <= out.slots, "free_slots", "be at most slots");
  return out;
}

static void build(const cluster_status_request&, schema::ClusterStatusRequest::Builder, checks&) {}

static cluster_status_request read(schema::ClusterStatusRequest::Reader, checks&) {
  return {};
}

static void build(const cluster_status& in, schema::ClusterStatus::Builder out, checks& check) {
  out.setCluster(text(in.cluster));
  out.setStorageRoot(text(in.storage_root));
  write_list(in.nodes, limits::nodes_max, "nodes", check,
             [&](unsigned n) { return out.initNodes(n); });
  write_list(in.runs, limits::runs_max, "runs", check, [&](unsigned n) { return out.initRuns(n); });
  write_list(in.deployments, limits::deployments_max, "deployments", check,
             [&](unsigned n) { return out.initDeployments(n); });
}

static cluster_status read(schema::ClusterStatus::Reader in, checks& check) {
  cluster_status out;
  out.cluster = read_text(in.getCluster(), limits::name_bytes_max, "cluster", check);
  out.storage_root = read_text(in.getStorageRoot(), limits::path_bytes_max, "storage_root", check);
  out.nodes = read_list<node_status>(in.getNodes(), limits::nodes_max, "nodes", check);
  out.runs = read_list<run_info>(in.getRuns(), limits::runs_max, "runs", check);
  out.deployments = read_list<deployment_info>(in.getDeployments(), limits::deployments_max,
                                               "deployments", check);
  return out;
}

static void build(const shutdown_request& in, schema::ShutdownRequest::Builder out, checks&) {
  out.setReason(text(prose(in.reason)));
}

static shutdown_request read(schema::ShutdownRequest::Reader in, checks& check) {
  return {read_prose(in.getReason(), "reason", check)};
}

static void build(const done&, schema::Done::Builder, checks&) {}

static done read(schema::Done::Reader, checks&) {
  return {};
}

template <>
struct schema_of<attach_request> : is_schema<schema::AttachRequest> {};
template <>
struct schema_of<attach_reply> : is_schema<schema::AttachReply> {};
template <>
struct schema_of<renew_lease_request> : is_schema<schema::RenewLeaseRequest> {};
template <>
struct schema_of<node_leaving_request> : is_schema<schema::NodeLeavingRequest> {};
template <>
struct schema_of<node_status> : is_schema<schema::NodeStatus> {};
template <>
struct schema_of<cluster_status_request> : is_schema<schema::ClusterStatusRequest> {};
template <>
struct schema_of<cluster_status> : is_schema<schema::ClusterStatus> {};
template <>
struct schema_of<shutdown_request> : is_schema<schema::ShutdownRequest> {};
template <>
struct schema_of<done> : is_schema<schema::Done> {};

}  // namespace troupe::wire::detail

namespace troupe::wire {

template struct codec<attach_request>;
template struct codec<attach_reply>;
template struct codec<renew_lease_request>;
template struct codec<node_leaving_request>;
template struct codec<node_status>;
template struct codec<cluster_status_request>;
template struct codec<cluster_status>;
template struct codec<shutdown_request>;
template struct codec<done>;

}  // namespace troupe::wire
