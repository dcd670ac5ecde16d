#include "messages/wire/detail_checkpoint.hpp"
#include "messages/wire/detail_codec.hpp"
#include "messages/wire/detail_common.hpp"
#include "messages/wire/detail_fields.hpp"

namespace troupe::wire::detail {

void build(const checkpoint_file& in, schema::CheckpointFile::Builder out, checks&) {
  out.setBlob(text(in.blob.value));
  out.setBytes(in.bytes);
  out.setRank(in.rank);
}

checkpoint_file read(schema::CheckpointFile::Reader in, checks& check) {
  checkpoint_file out;
  out.blob.value = read_hash(in.getBlob(), presence::required, "file.blob", check);
  out.bytes = in.getBytes();
  out.rank = in.getRank();
  check.require(out.rank < limits::world_size_max, "file.rank",
                "be less than " + std::to_string(limits::world_size_max));
  return out;
}

void build(const checkpoint_manifest& in, schema::CheckpointManifest::Builder out, checks& check) {
  out.setRun(text(in.run.value));
  out.setKind(wire_enum<schema::CheckpointKind>(in.kind));
  out.setName(text(in.name));
  out.setStep(in.step);
  out.setSeqId(in.seq_id);
  out.setParent(text(in.parent.value));
  out.setBase(text(in.base.value));
  out.setDepth(in.depth);
  build(in.parent_state, out.initParentState());
  build(in.state, out.initState());
  out.setOptimizerSteps(in.optimizer_steps);
  build(in.model, out.initModel());
  out.setModelDirectory(text(in.model_directory));
  write_list(in.files, limits::checkpoint_files_max, "manifest.files", check,
             [&](unsigned n) { return out.initFiles(n); });
  out.setCreatedUnixMs(in.created_unix_ms);
  if (in.lora) build(*in.lora, out.initLora());
  write_numbers(in.probe_logprobs, limits::probe_tokens_max, "manifest.probe_logprobs", check,
                [&](unsigned n) { return out.initProbeLogprobs(n); });
  if (!in.folds.empty()) out.setFolds(text(in.folds.value));
}

checkpoint_manifest read(schema::CheckpointManifest::Reader in, checks& check) {
  checkpoint_manifest out;
  out.run.value = read_name(in.getRun(), presence::required, "manifest.run", check);
  out.kind = read_enum(in.getKind(), checkpoint_kind::sampler_adapter, "manifest.kind", check);
  out.name = read_name(in.getName(), presence::optional, "manifest.name", check);
  out.step = in.getStep();
  out.seq_id = in.getSeqId();
  out.parent.value = read_hash(in.getParent(), presence::optional, "manifest.parent", check);
  out.base.value = read_hash(in.getBase(), presence::optional, "manifest.base", check);
  out.depth = in.getDepth();
  check.require(out.depth <= limits::delta_depth_max, "manifest.depth",
                "be at most " + std::to_string(limits::delta_depth_max));
  out.parent_state = read(in.getParentState());
  out.state = read(in.getState());
  out.optimizer_steps = in.getOptimizerSteps();
  out.model = read(in.getModel(), check);
  out.model_directory =
      read_text(in.getModelDirectory(), limits::path_bytes_max, "manifest.model_directory", check);
  out.files = read_list<checkpoint_file>(in.getFiles(), limits::checkpoint_files_max,
                                         "manifest.files", check);
  out.created_unix_ms = in.getCreatedUnixMs();
  if (in.hasLora()) out.lora = read(in.getLora(), check);
  out.probe_logprobs = read_floats(in.getProbeLogprobs(), limits::probe_tokens_max,
                                   "manifest.probe_logprobs", check);
  out.folds.value = read_hash(in.getFolds(), presence::optional, "manifest.folds", check);
  return out;
}

void build(const checkpoint_record& in, schema::CheckpointRecord::Builder out, checks& check) {
  out.setId(text(in.id.value));
  build(in.manifest, out.initManifest(), check);
}

checkpoint_record read(schema::CheckpointRecord::Reader in, checks& check) {
  checkpoint_record out;
  out.id.value = read_hash(in.getId(), presence::required, "checkpoint id", check);
  out.manifest = read(in.getManifest(), check);
  return out;
}

static void build(const commit_checkpoint_request& in, schema::CommitCheckpointRequest::Builder out,
                  checks& check) {
  build(in.manifest, out.initManifest(), check);
}

static commit_checkpoint_request read(schema::CommitCheckpointRequest::Reader in, checks& check) {
  return {read(in.getManifest(), check)};
}

static void build(const get_checkpoint_request& in, schema::GetCheckpointRequest::Builder out,
                  checks&) {
  out.setCheckpoint(text(in.checkpoint.value));
}

static get_checkpoint_request read(schema::GetCheckpointRequest::Reader in, checks& check) {
  constexpr std::size_t digits_min = 6;
  return {checkpoint_id{
      read_hash(in.getCheckpoint(), presence::required, "checkpoint", check, digits_min)}};
}

static void build(const list_checkpoints_request& in, schema::ListCheckpointsRequest::Builder out,
                  checks&) {
  out.setRun(text(in.run.value));
}

static list_checkpoints_request read(schema::ListCheckpointsRequest::Reader in, checks& check) {
  return {run_id{read_name(in.getRun(), presence::optional, "run", check)}};
}

static void build(const checkpoint_list& in, schema::CheckpointList::Builder out, checks& check) {
  write_list(in.records, limits::checkpoint_list_max, "records", check,
             [&](unsigned n) { return out.initRecords(n); });
}

static checkpoint_list read(schema::CheckpointList::Reader in, checks& check) {
  return {
      read_list<checkpoint_record>(in.getRecords(), limits::checkpoint_list_max, "records", check)};
}

static void build(const checkpoint_chain_request& in, schema::CheckpointChainRequest::Builder out,
                  checks&) {
  out.setCheckpoint(text(in.checkpoint.value));
  out.setForm(wire_enum<schema::ChainForm>(in.form));
}

static checkpoint_chain_request read(schema::CheckpointChainRequest::Reader in, checks& check) {
  checkpoint_chain_request out;
  out.checkpoint.value = read_hash(in.getCheckpoint(), presence::required, "checkpoint", check);
  out.form = read_enum(in.getForm(), chain_form::complete, "form", check);
  return out;
}

static void build(const remove_checkpoint_request& in, schema::RemoveCheckpointRequest::Builder out,
                  checks&) {
  out.setCheckpoint(text(in.checkpoint.value));
}

static remove_checkpoint_request read(schema::RemoveCheckpointRequest::Reader in, checks& check) {
  return {checkpoint_id{read_hash(in.getCheckpoint(), presence::required, "checkpoint", check)}};
}

static void build(const collect_garbage_request& in, schema::CollectGarbageRequest::Builder out,
                  checks&) {
  out.setDryRun(in.dry_run);
  out.setSamplerAgeS(in.sampler_age_s);
}

static collect_garbage_request read(schema::CollectGarbageRequest::Reader in, checks&) {
  return {in.getDryRun(), in.getSamplerAgeS()};
}

static void build(const garbage_item& in, schema::GarbageItem::Builder out, checks&) {
  out.setCheckpoint(text(in.checkpoint.value));
  out.setRun(text(in.run.value));
  out.setKind(wire_enum<schema::CheckpointKind>(in.kind));
  out.setStep(in.step);
  out.setBytes(in.bytes);
}

static garbage_item read(schema::GarbageItem::Reader in, checks& check) {
  garbage_item out;
  out.checkpoint.value = read_hash(in.getCheckpoint(), presence::required, "checkpoint", check);
  out.run.value = read_name(in.getRun(), presence::required, "run", check);
  out.kind = read_enum(in.getKind(), checkpoint_kind::sampler_adapter, "kind", check);
  out.step = in.getStep();
  out.bytes = in.getBytes();
  return out;
}

static void build(const garbage_report& in, schema::GarbageReport::Builder out, checks& check) {
  write_list(in.checkpoints, limits::checkpoint_list_max, "checkpoints", check,
             [&](unsigned n) { return out.initCheckpoints(n); });
  out.setRemovedFiles(in.removed_files);
  out.setRemovedBytes(in.removed_bytes);
  out.setDyingFiles(in.dying_files);
  out.setDyingBytes(in.dying_bytes);
  out.setKeptCheckpoints(in.kept_checkpoints);
}

static garbage_report read(schema::GarbageReport::Reader in, checks& check) {
  garbage_report out;
  out.checkpoints = read_list<garbage_item>(in.getCheckpoints(), limits::checkpoint_list_max,
                                            "checkpoints", check);
  out.removed_files = in.getRemovedFiles();
  out.removed_bytes = in.getRemovedBytes();
  out.dying_files = in.getDyingFiles();
  out.dying_bytes = in.getDyingBytes();
  out.kept_checkpoints = in.getKeptCheckpoints();
  return out;
}

template <>
struct schema_of<remove_checkpoint_request> : is_schema<schema::RemoveCheckpointRequest> {};
template <>
struct schema_of<collect_garbage_request> : is_schema<schema::CollectGarbageRequest> {};
template <>
struct schema_of<garbage_report> : is_schema<schema::GarbageReport> {};

static void build(const verify_checkpoint_request& in, schema::VerifyCheckpointRequest::Builder out,
                  checks&) {
  out.setCheckpoint(text(in.checkpoint.value));
}

static verify_checkpoint_request read(schema::VerifyCheckpointRequest::Reader in, checks& check) {
  return {checkpoint_id{read_hash(in.getCheckpoint(), presence::required, "checkpoint", check)}};
}

static void build(const lease_checkpoints_request& in, schema::LeaseCheckpointsRequest::Builder out,
                  checks& check) {
  if (!check.at_most(in.checkpoints.size(), limits::checkpoint_list_max, "checkpoints")) return;
  auto list = out.initCheckpoints(static_cast<unsigned>(in.checkpoints.size()));
  for (unsigned i = 0; i < list.size(); ++i)
    list.set(i, text(in.checkpoints[i].value));
}

static lease_checkpoints_request read(schema::LeaseCheckpointsRequest::Reader in, checks& check) {
  lease_checkpoints_request out;
  const auto list = in.getCheckpoints();
  if (!check.at_most(list.size(), limits::checkpoint_list_max, "checkpoints")) return out;
  out.checkpoints.reserve(list.size());
  for (const auto each : list)
    out.checkpoints.push_back({read_hash(each, presence::required, "checkpoints", check)});
  return out;
}

static void build(const doubt_chain_request& in, schema::DoubtChainRequest::Builder out, checks&) {
  out.setCheckpoint(text(in.checkpoint.value));
  out.setReason(text(prose(in.reason)));
}

static doubt_chain_request read(schema::DoubtChainRequest::Reader in, checks& check) {
  doubt_chain_request out;
  out.checkpoint.value = read_hash(in.getCheckpoint(), presence::required, "checkpoint", check);
  out.reason = read_prose(in.getReason(), "reason", check);
  return out;
}

static void build(const plan_publish_request& in, schema::PlanPublishRequest::Builder out,
                  checks&) {
  out.setPublished(text(in.published.value));
}

static plan_publish_request read(schema::PlanPublishRequest::Reader in, checks& check) {
  return {checkpoint_id{read_hash(in.getPublished(), presence::required, "published", check)}};
}

static void build(const publish_plan& in, schema::PublishPlan::Builder out, checks&) {
  out.setAdvice(wire_enum<schema::PublishAdvice>(in.advice));
}

static publish_plan read(schema::PublishPlan::Reader in, checks& check) {
  return {read_enum(in.getAdvice(), publish_advice::base_for_doubt, "advice", check)};
}

template <>
struct schema_of<lease_checkpoints_request> : is_schema<schema::LeaseCheckpointsRequest> {};
template <>
struct schema_of<doubt_chain_request> : is_schema<schema::DoubtChainRequest> {};
template <>
struct schema_of<plan_publish_request> : is_schema<schema::PlanPublishRequest> {};
template <>
struct schema_of<publish_plan> : is_schema<schema::PublishPlan> {};
template <>
struct schema_of<checkpoint_manifest> : is_schema<schema::CheckpointManifest> {};
template <>
struct schema_of<checkpoint_record> : is_schema<schema::CheckpointRecord> {};
template <>
struct schema_of<commit_checkpoint_request> : is_schema<schema::CommitCheckpointRequest> {};
template <>
struct schema_of<get_checkpoint_request> : is_schema<schema::GetCheckpointRequest> {};
template <>
struct schema_of<list_checkpoints_request> : is_schema<schema::ListCheckpointsRequest> {};
template <>
struct schema_of<checkpoint_list> : is_schema<schema::CheckpointList> {};
template <>
struct schema_of<checkpoint_chain_request> : is_schema<schema::CheckpointChainRequest> {};
template <>
struct schema_of<verify_checkpoint_request> : is_schema<schema::VerifyCheckpointRequest> {};

}  // namespace troupe::wire::detail

namespace troupe::wire {

template struct codec<remove_checkpoint_request>;
template struct codec<collect_garbage_request>;
template struct codec<garbage_report>;
template struct codec<lease_checkpoints_request>;
template struct codec<doubt_chain_request>;
template struct codec<plan_publish_request>;
template struct codec<publish_plan>;
template struct codec<checkpoint_manifest>;
template struct codec<checkpoint_record>;
template struct codec<commit_checkpoint_request>;
template struct codec<get_checkpoint_request>;
template struct codec<list_checkpoints_request>;
template struct codec<checkpoint_list>;
template struct codec<checkpoint_chain_request>;
template struct codec<verify_checkpoint_request>;

}  // namespace troupe::wire
