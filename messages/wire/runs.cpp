#include "messages/wire/detail_codec.hpp"
#include "messages/wire/detail_training.hpp"

namespace troupe::wire::detail {

void require_shard_size(std::uint32_t shard_size, std::uint32_t world_size, checks& check) {
  check.require(shard_size == 0 || (shard_size <= world_size && world_size % shard_size == 0),
                "shard_size", "divide world_size, or be 0");
}

void build(const create_run_request& in, schema::CreateRunRequest::Builder out, checks&) {
  out.setName(text(in.name));
  build(in.model, out.initModel());
  out.setWorldSize(in.world_size);
  out.setSeed(in.seed);
  out.setSnapshotEverySteps(in.snapshot_every_steps);
  if (in.lora) build(*in.lora, out.initLora());
  out.setTenant(text(in.tenant));
  out.setShardSize(in.shard_size);
}

create_run_request read(schema::CreateRunRequest::Reader in, checks& check) {
  create_run_request out;
  out.name = read_name(in.getName(), presence::optional, "run name", check);
  out.model = read(in.getModel(), check);
  out.world_size = in.getWorldSize();
  check.require(out.world_size >= 1 && out.world_size <= limits::world_size_max, "world_size",
                "be 1 to " + std::to_string(limits::world_size_max));
  out.seed = in.getSeed();
  out.snapshot_every_steps = in.getSnapshotEverySteps();
  if (in.hasLora()) out.lora = read(in.getLora(), check);
  out.tenant = read_name(in.getTenant(), presence::optional, "tenant", check);
  out.shard_size = in.getShardSize();
  require_shard_size(out.shard_size, out.world_size, check);
  return out;
}

void build(const run_info& in, schema::RunInfo::Builder out, checks&) {
  out.setRun(text(in.run.value));
  out.setPhase(wire_enum<schema::RunPhase>(in.phase));
  build(in.model, out.initModel());
  out.setModelDirectory(text(in.model_directory));
  out.setWorldSize(in.world_size);
  out.setIncarnation(in.incarnation);
  out.setClientEpoch(in.client_epoch);
  out.setNextSeqId(in.next_seq_id);
  out.setCommittedSeqId(in.committed_seq_id);
  out.setStep(in.step);
  build(in.weights, out.initWeights());
  out.setLastCheckpoint(text(in.last_checkpoint.value));
  out.setCursor(data(in.cursor));
  out.setDetail(text(prose(in.detail)));
}

run_info read(schema::RunInfo::Reader in, checks& check) {
  run_info out;
  out.run.value = read_name(in.getRun(), presence::required, "run", check);
  out.phase = read_enum(in.getPhase(), run_phase::rolled_back, "run.phase", check);
  out.model = read(in.getModel(), check);
  out.model_directory =
      read_text(in.getModelDirectory(), limits::path_bytes_max, "run.model_directory", check);
  out.world_size = in.getWorldSize();
  check.require(out.world_size <= limits::world_size_max, "run.world_size",
                "be at most " + std::to_string(limits::world_size_max));
  out.incarnation = in.getIncarnation();
  out.client_epoch = in.getClientEpoch();
  out.next_seq_id = in.getNextSeqId();
  out.committed_seq_id = in.getCommittedSeqId();
  out.step = in.getStep();
  out.weights = read(in.getWeights());
  out.last_checkpoint.value =
      read_hash(in.getLastCheckpoint(), presence::optional, "run.last_checkpoint", check);
  out.cursor = read_data(in.getCursor(), limits::cursor_bytes_max, "run.cursor", check);
  out.detail = read_prose(in.getDetail(), "run.detail", check);
  return out;
}

static void build(const attach_run_request& in, schema::AttachRunRequest::Builder out, checks&) {
  out.setRun(text(in.run.value));
}

static attach_run_request read(schema::AttachRunRequest::Reader in, checks& check) {
  return {run_id{read_name(in.getRun(), presence::required, "run", check)}};
}

static void build(const run_status_request& in, schema::RunStatusRequest::Builder out, checks&) {
  out.setRun(text(in.run.value));
}

static run_status_request read(schema::RunStatusRequest::Reader in, checks& check) {
  return {run_id{read_name(in.getRun(), presence::required, "run", check)}};
}

static void build(const park_run_request& in, schema::ParkRunRequest::Builder out, checks&) {
  out.setRun(text(in.run.value));
}

static park_run_request read(schema::ParkRunRequest::Reader in, checks& check) {
  return {run_id{read_name(in.getRun(), presence::required, "run", check)}};
}

static void build(const acknowledge_rollback_request& in,
                  schema::AcknowledgeRollbackRequest::Builder out, checks&) {
  out.setRun(text(in.run.value));
}

static acknowledge_rollback_request read(schema::AcknowledgeRollbackRequest::Reader in,
                                         checks& check) {
  return {run_id{read_name(in.getRun(), presence::required, "run", check)}};
}

static void build(const run_event& in, schema::RunEvent::Builder out, checks&) {
  out.setNumber(in.number);
  out.setUnixTimeMs(in.unix_time_ms);
  out.setKind(wire_enum<schema::RunEventKind>(in.kind));
  out.setSeqId(in.seq_id);
  out.setOpsReplayed(in.ops_replayed);
  out.setSeconds(in.seconds);
  out.setBitExact(in.bit_exact);
  out.setDetail(text(prose(in.detail)));
  out.setToSeqId(in.to_seq_id);
  out.setToStep(in.to_step);
  if (!in.cursor.empty()) out.setCursor(data(in.cursor));
}

static run_event read(schema::RunEvent::Reader in, checks& check) {
  run_event out;
  out.number = in.getNumber();
  out.unix_time_ms = in.getUnixTimeMs();
  out.kind = read_enum(in.getKind(), run_event_kind::leaving, "event.kind", check);
  out.seq_id = in.getSeqId();
  out.ops_replayed = in.getOpsReplayed();
  out.seconds = in.getSeconds();
  out.bit_exact = in.getBitExact();
  out.detail = read_prose(in.getDetail(), "event.detail", check);
  out.to_seq_id = in.getToSeqId();
  out.to_step = in.getToStep();
  out.cursor = read_data(in.getCursor(), limits::cursor_bytes_max, "event.cursor", check);
  return out;
}

static void build(const run_events_request& in, schema::RunEventsRequest::Builder out, checks&) {
  out.setRun(text(in.run.value));
  out.setAfterNumber(in.after_number);
}

static run_events_request read(schema::RunEventsRequest::Reader in, checks& check) {
  return {run_id{read_name(in.getRun(), presence::required, "run", check)}, in.getAfterNumber()};
}

static void build(const run_events_reply& in, schema::RunEventsReply::Builder out, checks& check) {
  write_list(in.events, limits::run_events_max, "events", check,
             [&](unsigned n) { return out.initEvents(n); });
}

static run_events_reply read(schema::RunEventsReply::Reader in, checks& check) {
  return {read_list<run_event>(in.getEvents(), limits::run_events_max, "events", check)};
}

static void build(const keep_event_request& in, schema::KeepEventRequest::Builder out,
                  checks& check) {
  out.setRun(text(in.run.value));
  build(in.event, out.initEvent(), check);
}

static keep_event_request read(schema::KeepEventRequest::Reader in, checks& check) {
  return {run_id{read_name(in.getRun(), presence::required, "run", check)},
          read(in.getEvent(), check)};
}

template <>
struct schema_of<create_run_request> : is_schema<schema::CreateRunRequest> {};
template <>
struct schema_of<attach_run_request> : is_schema<schema::AttachRunRequest> {};
template <>
struct schema_of<run_info> : is_schema<schema::RunInfo> {};
template <>
struct schema_of<run_status_request> : is_schema<schema::RunStatusRequest> {};
template <>
struct schema_of<park_run_request> : is_schema<schema::ParkRunRequest> {};
template <>
struct schema_of<acknowledge_rollback_request> : is_schema<schema::AcknowledgeRollbackRequest> {};
template <>
struct schema_of<run_event> : is_schema<schema::RunEvent> {};
template <>
struct schema_of<run_events_request> : is_schema<schema::RunEventsRequest> {};
template <>
struct schema_of<run_events_reply> : is_schema<schema::RunEventsReply> {};
template <>
struct schema_of<keep_event_request> : is_schema<schema::KeepEventRequest> {};

}  // namespace troupe::wire::detail

namespace troupe::wire {

template struct codec<create_run_request>;
template struct codec<attach_run_request>;
template struct codec<run_info>;
template struct codec<run_status_request>;
template struct codec<park_run_request>;
template struct codec<acknowledge_rollback_request>;
template struct codec<run_event>;
template struct codec<run_events_request>;
template struct codec<run_events_reply>;
template struct codec<keep_event_request>;

}  // namespace troupe::wire
