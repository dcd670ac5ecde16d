#include "messages/journal.hpp"
#include "tests/unit/messages/detail_samples.hpp"
#include "tests/unit/messages/samples.hpp"

namespace troupe::test {

using op_outcome = std::variant<op_reply, error>;

static op_outcome make_outcome(value_source& from) {
  if (from.seed() % 2 == 0) return make_reply(from);
  return make_error(from);
}

static logged_op make_logged(value_source& from) {
  logged_op op;
  op.op = make_op(from);
  op.body_digest.value = from.hash();
  op.finished = true;
  op.step = from.word();
  op.weights = from.digest();
  op.outcome = make_outcome(from);
  return op;
}

static run_record make_run(value_source& from) {
  run_record run{run_id{from.name()}, make_create_run(from),      from.word(),
                 from.word(),         checkpoint_id{from.hash()}, checkpoint_id{from.hash()}};
  run.suspect_seq_id = from.word();
  run.suspect_losses = from.small();
  run.rollback = run_rollback{from.word(), from.word(), true, from.prose()};
  return run;
}

template <>
append_op_request sample<append_op_request>(std::uint64_t seed) {
  value_source from(seed);
  return {make_op(from), blob_id{from.hash()}};
}

template <>
finish_op_request sample<finish_op_request>(std::uint64_t seed) {
  value_source from(seed);
  return {run_id{from.name()}, from.small(), from.word(), from.digest(), make_outcome(from)};
}

template <>
logged_op sample<logged_op>(std::uint64_t seed) {
  value_source from(seed);
  return make_logged(from);
}

template <>
read_log_request sample<read_log_request>(std::uint64_t seed) {
  value_source from(seed);
  return {run_id{from.name()}, from.word(), from.small()};
}

template <>
read_log_reply sample<read_log_reply>(std::uint64_t seed) {
  value_source from(seed);
  return {{make_logged(from), make_logged(from)}, true};
}

template <>
trim_log_request sample<trim_log_request>(std::uint64_t seed) {
  value_source from(seed);
  return {run_id{from.name()}, from.word()};
}

template <>
run_record sample<run_record>(std::uint64_t seed) {
  value_source from(seed);
  return make_run(from);
}

template <>
put_run_request sample<put_run_request>(std::uint64_t seed) {
  value_source from(seed);
  return {make_run(from)};
}

template <>
list_runs_request sample<list_runs_request>(std::uint64_t) {
  return {};
}

template <>
run_list sample<run_list>(std::uint64_t seed) {
  value_source from(seed);
  return {{make_run(from), make_run(from)}};
}

static deployment_record make_deployment_record(value_source& from) {
  deployment_record record;
  record.request.name = from.name();
  record.request.model.directory = "/" + from.name();
  record.version = from.word();
  record.checkpoint.value = from.hash();
  return record;
}

template <>
deployment_record sample<deployment_record>(std::uint64_t seed) {
  value_source from(seed);
  return make_deployment_record(from);
}

template <>
put_deployment_request sample<put_deployment_request>(std::uint64_t seed) {
  value_source from(seed);
  return {make_deployment_record(from)};
}

template <>
forget_deployment_request sample<forget_deployment_request>(std::uint64_t seed) {
  return {deployment_id{value_source(seed).name()}};
}

template <>
list_deployments_request sample<list_deployments_request>(std::uint64_t) {
  return {};
}

template <>
deployment_list sample<deployment_list>(std::uint64_t seed) {
  value_source from(seed);
  return {{make_deployment_record(from), make_deployment_record(from)}};
}

}  // namespace troupe::test
