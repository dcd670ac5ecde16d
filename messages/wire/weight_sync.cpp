#include "messages/weight_sync.hpp"

#include "messages/schema/weight_sync.capnp.h"
#include "messages/wire/detail_checkpoint.hpp"
#include "messages/wire/detail_codec.hpp"
#include "messages/wire/detail_common.hpp"
#include "messages/wire/detail_fields.hpp"

namespace troupe::wire::detail {

static void build(const sync_request& in, schema::SyncRequest::Builder out, checks&) {
  out.setDeployment(text(in.deployment.value));
  out.setCheckpoint(text(in.checkpoint.value));
  out.setInFlight(wire_enum<schema::InFlightPolicy>(in.in_flight));
}

static sync_request read(schema::SyncRequest::Reader in, checks& check) {
  sync_request out;
  out.deployment.value = read_name(in.getDeployment(), presence::required, "deployment", check);
  out.checkpoint.value = read_hash(in.getCheckpoint(), presence::required, "checkpoint", check);
  out.in_flight = read_enum(in.getInFlight(), in_flight_policy::finish_old, "in_flight", check);
  return out;
}

static void build(const sync_reply& in, schema::SyncReply::Builder out, checks&) {
  out.setVersion(in.version);
  out.setCheckpoint(text(in.checkpoint.value));
  out.setWasDelta(in.was_delta);
  out.setBytes(in.bytes);
  out.setStageMs(in.stage_ms);
  out.setPauseMs(in.pause_ms);
  out.setTotalMs(in.total_ms);
  out.setReplicas(in.replicas);
  out.setLogprobGapMean(in.logprob_gap_mean);
  out.setLogprobGapMax(in.logprob_gap_max);
}

static sync_reply read(schema::SyncReply::Reader in, checks& check) {
  sync_reply out;
  out.version = in.getVersion();
  out.checkpoint.value = read_hash(in.getCheckpoint(), presence::required, "checkpoint", check);
  out.was_delta = in.getWasDelta();
  out.bytes = in.getBytes();
  out.stage_ms = in.getStageMs();
  out.pause_ms = in.getPauseMs();
  out.total_ms = in.getTotalMs();
  out.replicas = in.getReplicas();
  out.logprob_gap_mean = in.getLogprobGapMean();
  out.logprob_gap_max = in.getLogprobGapMax();
  return out;
}

static void build(const stage_weights_request& in, schema::StageWeightsRequest::Builder out,
                  checks& check) {
  out.setVersion(in.version);
  write_list(in.chain, limits::checkpoint_chain_max, "chain", check,
             [&](unsigned n) { return out.initChain(n); });
}

static stage_weights_request read(schema::StageWeightsRequest::Reader in, checks& check) {
  stage_weights_request out;
  out.version = in.getVersion();
  out.chain =
      read_list<checkpoint_record>(in.getChain(), limits::checkpoint_chain_max, "chain", check);
  return out;
}

static void build(const stage_weights_reply& in, schema::StageWeightsReply::Builder out, checks&) {
  out.setVersion(in.version);
  build(in.state, out.initState());
  out.setBytes(in.bytes);
  out.setStageMs(in.stage_ms);
}

static stage_weights_reply read(schema::StageWeightsReply::Reader in, checks&) {
  return {in.getVersion(), read(in.getState()), in.getBytes(), in.getStageMs()};
}

static void build(const commit_weights_request& in, schema::CommitWeightsRequest::Builder out,
                  checks&) {
  out.setVersion(in.version);
  build(in.state, out.initState());
  out.setInFlight(wire_enum<schema::InFlightPolicy>(in.in_flight));
}

static commit_weights_request read(schema::CommitWeightsRequest::Reader in, checks& check) {
  return {in.getVersion(), read(in.getState()),
          read_enum(in.getInFlight(), in_flight_policy::finish_old, "in_flight", check)};
}

static void build(const commit_weights_reply& in, schema::CommitWeightsReply::Builder out,
                  checks&) {
  out.setVersion(in.version);
  out.setPauseMs(in.pause_ms);
}

static commit_weights_reply read(schema::CommitWeightsReply::Reader in, checks&) {
  return {in.getVersion(), in.getPauseMs()};
}

static void build(const replica_status& in, schema::ReplicaStatus::Builder out, checks&) {
  out.setNode(text(in.node.value));
  out.setVersion(in.version);
  out.setCheckpoint(text(in.checkpoint.value));
  build(in.state, out.initState());
  out.setActiveSequences(in.active_sequences);
  out.setWaitingSequences(in.waiting_sequences);
  out.setSampledTokens(in.sampled_tokens);
  out.setHeldSequences(in.held_sequences);
  out.setCachePages(in.cache_pages);
  out.setPromptPages(in.prompt_pages);
  out.setAdapters(in.adapters);
  out.setAdapterBytes(in.adapter_bytes);
}

static replica_status read(schema::ReplicaStatus::Reader in, checks& check) {
  replica_status out;
  out.node.value = read_name(in.getNode(), presence::optional, "node", check);
  out.version = in.getVersion();
  out.checkpoint.value = read_hash(in.getCheckpoint(), presence::optional, "checkpoint", check);
  out.state = read(in.getState());
  out.active_sequences = in.getActiveSequences();
  out.waiting_sequences = in.getWaitingSequences();
  out.sampled_tokens = in.getSampledTokens();
  out.held_sequences = in.getHeldSequences();
  out.cache_pages = in.getCachePages();
  out.prompt_pages = in.getPromptPages();
  out.adapters = in.getAdapters();
  out.adapter_bytes = in.getAdapterBytes();
  return out;
}

static void build(const replica_status_request& in, schema::ReplicaStatusRequest::Builder out,
                  checks&) {
  out.setDeployment(text(in.deployment.value));
}

static replica_status_request read(schema::ReplicaStatusRequest::Reader in, checks& check) {
  return {deployment_id{read_name(in.getDeployment(), presence::required, "deployment", check)}};
}

static void build(const ledger_entry& in, schema::LedgerEntry::Builder out, checks&) {
  out.setDeployment(text(in.deployment.value));
  out.setNode(text(in.node.value));
  out.setVersion(in.version);
  out.setCheckpoint(text(in.checkpoint.value));
  out.setOutcome(text(prose(in.outcome)));
  out.setUnixTimeMs(in.unix_time_ms);
  out.setReplica(in.replica);
  out.setBytes(in.bytes);
  out.setStageMs(in.stage_ms);
  out.setPauseMs(in.pause_ms);
}

static ledger_entry read(schema::LedgerEntry::Reader in, checks& check) {
  ledger_entry out;
  out.deployment.value = read_name(in.getDeployment(), presence::required, "deployment", check);
  out.node.value = read_name(in.getNode(), presence::optional, "node", check);
  out.version = in.getVersion();
  out.checkpoint.value = read_hash(in.getCheckpoint(), presence::optional, "checkpoint", check);
  out.outcome = read_prose(in.getOutcome(), "outcome", check);
  out.unix_time_ms = in.getUnixTimeMs();
  out.replica = in.getReplica();
  out.bytes = in.getBytes();
  out.stage_ms = in.getStageMs();
  out.pause_ms = in.getPauseMs();
  return out;
}

static void build(const list_ledger_request& in, schema::ListLedgerRequest::Builder out, checks&) {
  out.setDeployment(text(in.deployment.value));
}

static list_ledger_request read(schema::ListLedgerRequest::Reader in, checks& check) {
  return {deployment_id{read_name(in.getDeployment(), presence::required, "deployment", check)}};
}

static void build(const ledger_list& in, schema::LedgerList::Builder out, checks& check) {
  write_list(in.entries, limits::ledger_page_max, "entries", check,
             [&](unsigned n) { return out.initEntries(n); });
}

static ledger_list read(schema::LedgerList::Reader in, checks& check) {
  return {read_list<ledger_entry>(in.getEntries(), limits::ledger_page_max, "entries", check)};
}

template <>
struct schema_of<sync_request> : is_schema<schema::SyncRequest> {};
template <>
struct schema_of<sync_reply> : is_schema<schema::SyncReply> {};
template <>
struct schema_of<stage_weights_request> : is_schema<schema::StageWeightsRequest> {};
template <>
struct schema_of<stage_weights_reply> : is_schema<schema::StageWeightsReply> {};
template <>
struct schema_of<commit_weights_request> : is_schema<schema::CommitWeightsRequest> {};
template <>
struct schema_of<commit_weights_reply> : is_schema<schema::CommitWeightsReply> {};
template <>
struct schema_of<replica_status> : is_schema<schema::ReplicaStatus> {};
template <>
struct schema_of<replica_status_request> : is_schema<schema::ReplicaStatusRequest> {};
template <>
struct schema_of<ledger_entry> : is_schema<schema::LedgerEntry> {};
template <>
struct schema_of<list_ledger_request> : is_schema<schema::ListLedgerRequest> {};
template <>
struct schema_of<ledger_list> : is_schema<schema::LedgerList> {};

}  // namespace troupe::wire::detail

namespace troupe::wire {

template struct codec<sync_request>;
template struct codec<sync_reply>;
template struct codec<stage_weights_request>;
template struct codec<stage_weights_reply>;
template struct codec<commit_weights_request>;
template struct codec<commit_weights_reply>;
template struct codec<replica_status>;
template struct codec<replica_status_request>;
template struct codec<ledger_entry>;
template struct codec<list_ledger_request>;
template struct codec<ledger_list>;

}  // namespace troupe::wire
