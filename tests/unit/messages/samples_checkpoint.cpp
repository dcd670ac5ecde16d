#include "messages/weight_sync.hpp"
#include "tests/unit/messages/detail_samples.hpp"
#include "tests/unit/messages/samples.hpp"

namespace troupe::test {

checkpoint_file make_file(value_source& from) {
  return {blob_id{from.hash()}, from.word(), from.small()};
}

static checkpoint_manifest make_manifest(value_source& from) {
  checkpoint_manifest manifest;
  manifest.run.value = from.name();
  manifest.kind = from.pick(checkpoint_kind::sampler_delta);
  manifest.name = from.name();
  manifest.step = from.word();
  manifest.seq_id = from.word();
  manifest.parent.value = from.hash();
  manifest.base.value = from.hash();
  manifest.depth = static_cast<std::uint32_t>(1 + from.below(30));
  manifest.parent_state = from.digest();
  manifest.state = from.digest();
  manifest.optimizer_steps = from.word();
  manifest.model = from.model();
  manifest.model_directory = from.path();
  manifest.files = {make_file(from), make_file(from)};
  manifest.created_unix_ms = from.word();
  manifest.lora = from.lora();
  manifest.probe_logprobs = from.reals(3);
  manifest.folds.value = from.hash();
  return manifest;
}

checkpoint_record make_record(value_source& from) {
  return {checkpoint_id{from.hash()}, make_manifest(from)};
}

template <>
checkpoint_manifest sample<checkpoint_manifest>(std::uint64_t seed) {
  value_source from(seed);
  return make_manifest(from);
}

template <>
checkpoint_record sample<checkpoint_record>(std::uint64_t seed) {
  value_source from(seed);
  return make_record(from);
}

template <>
commit_checkpoint_request sample<commit_checkpoint_request>(std::uint64_t seed) {
  value_source from(seed);
  return {make_manifest(from)};
}

template <>
get_checkpoint_request sample<get_checkpoint_request>(std::uint64_t seed) {
  value_source from(seed);
  return {checkpoint_id{from.hash().substr(0, 6 + from.below(59))}};
}

template <>
list_checkpoints_request sample<list_checkpoints_request>(std::uint64_t seed) {
  return {run_id{value_source(seed).name()}};
}

template <>
checkpoint_list sample<checkpoint_list>(std::uint64_t seed) {
  value_source from(seed);
  return {{make_record(from), make_record(from)}};
}

template <>
verify_checkpoint_request sample<verify_checkpoint_request>(std::uint64_t seed) {
  return {checkpoint_id{value_source(seed).hash()}};
}

template <>
checkpoint_chain_request sample<checkpoint_chain_request>(std::uint64_t seed) {
  value_source from(seed);
  return {checkpoint_id{from.hash()}, from.pick(chain_form::complete)};
}

template <>
lease_checkpoints_request sample<lease_checkpoints_request>(std::uint64_t seed) {
  value_source from(seed);
  return {{checkpoint_id{from.hash()}, checkpoint_id{from.hash()}}};
}

template <>
doubt_chain_request sample<doubt_chain_request>(std::uint64_t seed) {
  value_source from(seed);
  return {checkpoint_id{from.hash()}, from.name()};
}

template <>
plan_publish_request sample<plan_publish_request>(std::uint64_t seed) {
  return {checkpoint_id{value_source(seed).hash()}};
}

template <>
publish_plan sample<publish_plan>(std::uint64_t seed) {
  value_source from(seed);
  return {from.pick(publish_advice::base_for_doubt)};
}

template <>
remove_checkpoint_request sample<remove_checkpoint_request>(std::uint64_t seed) {
  return {checkpoint_id{value_source(seed).hash()}};
}

template <>
collect_garbage_request sample<collect_garbage_request>(std::uint64_t seed) {
  value_source from(seed);
  return {from.flag(), from.word()};
}

template <>
garbage_report sample<garbage_report>(std::uint64_t seed) {
  value_source from(seed);
  const garbage_item item{checkpoint_id{from.hash()}, run_id{from.name()},
                          from.pick(checkpoint_kind::sampler_delta), from.word(), from.word()};
  return {{item}, from.word(), from.word(), from.word(), from.word(), from.word()};
}

template <>
sync_request sample<sync_request>(std::uint64_t seed) {
  value_source from(seed);
  return {deployment_id{from.name()}, checkpoint_id{from.hash()},
          from.pick(in_flight_policy::finish_old)};
}

template <>
sync_reply sample<sync_reply>(std::uint64_t seed) {
  value_source from(seed);
  return {from.word(),          checkpoint_id{from.hash()},
          from.flag(),          from.word(),
          from.fraction() * 10, from.fraction() * 3,
          from.fraction(),      from.small(),
          from.fraction(),      from.fraction()};
}

template <>
stage_weights_request sample<stage_weights_request>(std::uint64_t seed) {
  value_source from(seed);
  return {from.word(), {make_record(from), make_record(from)}};
}

template <>
stage_weights_reply sample<stage_weights_reply>(std::uint64_t seed) {
  value_source from(seed);
  return {from.word(), from.digest(), from.word(), from.fraction()};
}

template <>
commit_weights_request sample<commit_weights_request>(std::uint64_t seed) {
  value_source from(seed);
  return {from.word(), from.digest(), from.pick(in_flight_policy::finish_old)};
}

template <>
commit_weights_reply sample<commit_weights_reply>(std::uint64_t seed) {
  value_source from(seed);
  return {from.word(), from.fraction()};
}

template <>
replica_status sample<replica_status>(std::uint64_t seed) {
  value_source from(seed);
  return {node_id{from.name()}, from.word(), checkpoint_id{from.hash()},
          from.digest(),        from.word(), from.word(),
          from.word(),          from.word(), from.word(),
          from.word(),          from.word(), from.word()};
}

template <>
replica_status_request sample<replica_status_request>(std::uint64_t seed) {
  return {deployment_id{value_source(seed).name()}};
}

template <>
ledger_entry sample<ledger_entry>(std::uint64_t seed) {
  value_source from(seed);
  return {deployment_id{from.name()},
          node_id{from.name()},
          from.word(),
          checkpoint_id{from.hash()},
          from.prose(),
          from.word(),
          from.small(),
          from.word(),
          from.fraction(),
          from.fraction()};
}

template <>
list_ledger_request sample<list_ledger_request>(std::uint64_t seed) {
  return {deployment_id{value_source(seed).name()}};
}

template <>
ledger_list sample<ledger_list>(std::uint64_t seed) {
  return {{sample<ledger_entry>(seed), sample<ledger_entry>(seed + 1)}};
}

}  // namespace troupe::test
