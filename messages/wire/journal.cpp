#include "messages/journal.hpp"

#include "messages/schema/journal.capnp.h"
#include "messages/wire/detail_codec.hpp"
#include "messages/wire/detail_fields.hpp"
#include "messages/wire/detail_training.hpp"

namespace troupe::wire::detail {

using op_outcome = std::variant<op_reply, error>;

static void build(const op_outcome& in, schema::Outcome::Builder out, checks& check) {
  if (const auto* reply = std::get_if<op_reply>(&in))
    build(*reply, out.initReply(), check);
  else
    build(std::get<error>(in), out.initFailure(), check);
}

static op_outcome read(schema::Outcome::Reader in, checks& check) {
  switch (in.which()) {
    case schema::Outcome::REPLY:
      return read(in.getReply(), check);
    case schema::Outcome::FAILURE:
      return read(in.getFailure(), check);
    case schema::Outcome::UNSET:
      break;
  }
  refuse_variant("outcome", check);
  return {};
}

static void build(const append_op_request& in, schema::AppendOpRequest::Builder out,
                  checks& check) {
  build(in.op, out.initOp(), check);
  out.setBodyDigest(text(in.body_digest.value));
}

static append_op_request read(schema::AppendOpRequest::Reader in, checks& check) {
  append_op_request out;
  out.op = read(in.getOp(), check);
  out.body_digest.value = read_hash(in.getBodyDigest(), presence::required, "body_digest", check);
  return out;
}

static void build(const finish_op_request& in, schema::FinishOpRequest::Builder out,
                  checks& check) {
  out.setRun(text(in.run.value));
  out.setSeqId(in.seq_id);
  out.setStep(in.step);
  build(in.weights, out.initWeights());
  build(in.outcome, out.initOutcome(), check);
}

static finish_op_request read(schema::FinishOpRequest::Reader in, checks& check) {
  finish_op_request out;
  out.run.value = read_name(in.getRun(), presence::required, "run", check);
  out.seq_id = in.getSeqId();
  check.require(out.seq_id >= 1, "seq_id", "be at least 1");
  out.step = in.getStep();
  out.weights = read(in.getWeights());
  out.outcome = read(in.getOutcome(), check);
  return out;
}

static void build(const logged_op& in, schema::LoggedOp::Builder out, checks& check) {
  build(in.op, out.initOp(), check);
  out.setBodyDigest(text(in.body_digest.value));
  out.setFinished(in.finished);
  out.setStep(in.step);
  build(in.weights, out.initWeights());
  if (in.finished) build(in.outcome, out.initOutcome(), check);
}

static logged_op read(schema::LoggedOp::Reader in, checks& check) {
  logged_op out;
  out.op = read(in.getOp(), check, op_data::may_be_trimmed);
  out.body_digest.value = read_hash(in.getBodyDigest(), presence::required, "body_digest", check);
  out.finished = in.getFinished();
  out.step = in.getStep();
  out.weights = read(in.getWeights());
  if (out.finished) out.outcome = read(in.getOutcome(), check);
  return out;
}

static void build(const read_log_request& in, schema::ReadLogRequest::Builder out, checks&) {
  out.setRun(text(in.run.value));
  out.setAfterSeqId(in.after_seq_id);
  out.setMaxOps(in.max_ops);
}

static read_log_request read(schema::ReadLogRequest::Reader in, checks& check) {
  read_log_request out;
  out.run.value = read_name(in.getRun(), presence::required, "run", check);
  out.after_seq_id = in.getAfterSeqId();
  out.max_ops = in.getMaxOps();
  check.require(out.max_ops >= 1 && out.max_ops <= limits::log_page_ops_max, "max_ops",
                "be 1 to " + std::to_string(limits::log_page_ops_max));
  return out;
}

static void build(const read_log_reply& in, schema::ReadLogReply::Builder out, checks& check) {
  write_list(in.ops, limits::log_page_ops_max, "ops", check,
             [&](unsigned n) { return out.initOps(n); });
  out.setComplete(in.complete);
}

static read_log_reply read(schema::ReadLogReply::Reader in, checks& check) {
  read_log_reply out;
  out.ops = read_list<logged_op>(in.getOps(), limits::log_page_ops_max, "ops", check);
  out.complete = in.getComplete();
  return out;
}

static void build(const trim_log_request& in, schema::TrimLogRequest::Builder out, checks&) {
  out.setRun(text(in.run.value));
  out.setThroughSeqId(in.through_seq_id);
}

static trim_log_request read(schema::TrimLogRequest::Reader in, checks& check) {
  return {run_id{read_name(in.getRun(), presence::required, "run", check)}, in.getThroughSeqId()};
}

static void build(const run_rollback& in, schema::RunRollback::Builder out) {
  out.setToSeqId(in.to_seq_id);
  out.setThroughSeqId(in.through_seq_id);
  out.setAcknowledged(in.acknowledged);
  out.setReason(text(prose(in.reason)));
}

static run_rollback read(schema::RunRollback::Reader in, checks& check) {
  return {in.getToSeqId(), in.getThroughSeqId(), in.getAcknowledged(),
          read_prose(in.getReason(), "rollback.reason", check)};
}

static void build(const run_record& in, schema::RunRecord::Builder out, checks& check) {
  out.setRun(text(in.run.value));
  build(in.request, out.initRequest(), check);
  out.setIncarnation(in.incarnation);
  out.setClientEpoch(in.client_epoch);
  out.setSnapshot(text(in.snapshot.value));
  out.setPublished(text(in.published.value));
  out.setSuspectSeqId(in.suspect_seq_id);
  out.setSuspectLosses(in.suspect_losses);
  if (in.rollback) build(*in.rollback, out.initRollback());
}

static run_record read(schema::RunRecord::Reader in, checks& check) {
  run_record out;
  out.run.value = read_name(in.getRun(), presence::required, "run", check);
  out.request = read(in.getRequest(), check);
  out.incarnation = in.getIncarnation();
  out.client_epoch = in.getClientEpoch();
  out.snapshot.value = read_hash(in.getSnapshot(), presence::optional, "snapshot", check);
  out.published.value = read_hash(in.getPublished(), presence::optional, "published", check);
  out.suspect_seq_id = in.getSuspectSeqId();
  out.suspect_losses = in.getSuspectLosses();
  if (in.hasRollback()) out.rollback = read(in.getRollback(), check);
  return out;
}

static void build(const put_run_request& in, schema::PutRunRequest::Builder out, checks& check) {
  build(in.record, out.initRecord(), check);
}

static put_run_request read(schema::PutRunRequest::Reader in, checks& check) {
  return {read(in.getRecord(), check)};
}

static void build(const list_runs_request&, schema::ListRunsRequest::Builder, checks&) {}

static list_runs_request read(schema::ListRunsRequest::Reader, checks&) {
  return {};
}

static void build(const run_list& in, schema::RunList::Builder out, checks& check) {
  write_list(in.runs, limits::runs_max, "runs", check, [&](unsigned n) { return out.initRuns(n); });
}

static run_list read(schema::RunList::Reader in, checks& check) {
  return {read_list<run_record>(in.getRuns(), limits::runs_max, "runs", check)};
}

template <>
struct schema_of<append_op_request> : is_schema<schema::AppendOpRequest> {};
template <>
struct schema_of<finish_op_request> : is_schema<schema::FinishOpRequest> {};
template <>
struct schema_of<logged_op> : is_schema<schema::LoggedOp> {};
template <>
struct schema_of<read_log_request> : is_schema<schema::ReadLogRequest> {};
template <>
struct schema_of<read_log_reply> : is_schema<schema::ReadLogReply> {};
template <>
struct schema_of<trim_log_request> : is_schema<schema::TrimLogRequest> {};
template <>
struct schema_of<run_record> : is_schema<schema::RunRecord> {};
template <>
struct schema_of<put_run_request> : is_schema<schema::PutRunRequest> {};
template <>
struct schema_of<list_runs_request> : is_schema<schema::ListRunsRequest> {};
template <>
struct schema_of<run_list> : is_schema<schema::RunList> {};

}  // namespace troupe::wire::detail

namespace troupe::wire {

template struct codec<append_op_request>;
template struct codec<finish_op_request>;
template struct codec<logged_op>;
template struct codec<read_log_request>;
template struct codec<read_log_reply>;
template struct codec<trim_log_request>;
template struct codec<run_record>;
template struct codec<put_run_request>;
template struct codec<list_runs_request>;
template struct codec<run_list>;

}  // namespace troupe::wire
