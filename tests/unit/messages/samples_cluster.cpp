#include "messages/status.hpp"
#include "tests/unit/messages/detail_samples.hpp"
#include "tests/unit/messages/samples.hpp"

namespace troupe::test {

template <>
sample_request sample<sample_request>(std::uint64_t seed) {
  value_source from(seed);
  sample_request request;
  request.deployment.value = from.name();
  request.prompt = from.tokens(1 + from.below(9));
  request.params.max_tokens = from.small();
  request.params.temperature = from.fraction();
  request.params.top_k = static_cast<std::int32_t>(from.small());
  request.params.top_p = from.fraction();
  request.params.seed = from.word();
  request.params.stop_tokens = from.tokens(2);
  request.params.min_p = from.fraction();
  request.params.topk_logprobs = from.small();
  request.params.with_other_logprobs = true;
  request.num_samples = from.small();
  request.min_version = from.word() / 2;
  request.prompt_logprobs = true;
  request.topk_prompt_logprobs = from.small();
  request.max_version = request.min_version + from.small();
  request.ticket = from.small();
  request.adapter_record = make_record(from);
  request.adapter = request.adapter_record->id;
  request.prompt_targets = from.tokens(2 * (request.prompt.size() - 1));
  return request;
}

static likeliest_tokens make_likeliest(value_source& from, std::size_t positions) {
  const std::uint32_t width = 1 + static_cast<std::uint32_t>(from.below(3));
  return {width, from.tokens(positions * width), from.reals(positions * width)};
}

template <>
sample_reply sample<sample_reply>(std::uint64_t seed) {
  value_source from(seed);
  sample_reply reply;
  reply.sequences.resize(2);
  for (sampled_sequence& sequence : reply.sequences) {
    const std::size_t length = from.below(9);
    sequence.tokens = from.tokens(length);
    sequence.logprobs = from.reals(length);
    sequence.reason = from.pick(stop_reason::length);
    sequence.first_version = from.word();
    sequence.last_version = from.word();
    sequence.versions = {{0, from.word()}, {from.small(), from.word()}};
    sequence.topk = make_likeliest(from, length);
    sequence.raw_logprobs = from.reals(length);
    sequence.sampling_logprobs = from.reals(length);
  }
  reply.prompt_logprobs = from.reals(4);
  reply.prompt_topk = make_likeliest(from, 4);
  reply.cached_prompt_tokens = from.small();
  reply.prompt_target_logprobs = from.reals(8);
  return reply;
}

template <>
stream_sample_request sample<stream_sample_request>(std::uint64_t seed) {
  return {sample<sample_request>(seed)};
}

template <>
read_sample_request sample<read_sample_request>(std::uint64_t seed) {
  value_source from(seed);
  return {deployment_id{from.name()}, from.small(), from.word()};
}

template <>
sample_chunk sample<sample_chunk>(std::uint64_t seed) {
  value_source from(seed);
  sample_chunk chunk{from.word(), sample<sample_reply>(seed), {}, true};
  for (std::uint32_t i = 0; i < chunk.part.sequences.size(); ++i)
    chunk.ended.push_back(i);
  return chunk;
}

template <>
cancel_sample_request sample<cancel_sample_request>(std::uint64_t seed) {
  value_source from(seed);
  return {deployment_id{from.name()}, from.small()};
}

template <>
create_deployment_request sample<create_deployment_request>(std::uint64_t seed) {
  value_source from(seed);
  return {from.name(), model_source{from.path()}, from.small()};
}

template <>
scale_deployment_request sample<scale_deployment_request>(std::uint64_t seed) {
  value_source from(seed);
  return {deployment_id{from.name()}, from.small()};
}

static replica_info make_replica(value_source& from) {
  return {from.small(), node_id{from.name()}, from.pick(replica_phase::draining),
          from.word(),  from.word(),          from.word(),
          from.small()};
}

deployment_info make_deployment(value_source& from) {
  return {deployment_id{from.name()},
          from.word(),
          checkpoint_id{from.hash()},
          from.small(),
          from.word(),
          from.model(),
          from.small(),
          {make_replica(from), make_replica(from)},
          from.word(),
          from.fraction(),
          from.fraction()};
}

template <>
deployment_info sample<deployment_info>(std::uint64_t seed) {
  value_source from(seed);
  return make_deployment(from);
}

template <>
deployment_status_request sample<deployment_status_request>(std::uint64_t seed) {
  return {deployment_id{value_source(seed).name()}};
}

template <>
remove_deployment_request sample<remove_deployment_request>(std::uint64_t seed) {
  return {deployment_id{value_source(seed).name()}};
}

template <>
attach_request sample<attach_request>(std::uint64_t seed) {
  value_source from(seed);
  return {from.small(),
          from.prose(),
          from.bytes(32),
          node_id{from.name()},
          from.pick(node_role::client),
          from.word(),
          static_cast<std::uint32_t>(1 + from.below(200))};
}

template <>
attach_reply sample<attach_reply>(std::uint64_t seed) {
  value_source from(seed);
  return {from.name(), node_id{from.name()}, from.path(), from.small()};
}

template <>
renew_lease_request sample<renew_lease_request>(std::uint64_t seed) {
  return {node_id{value_source(seed).name()}};
}

static node_status make_node(value_source& from) {
  node_status out{node_id{from.name()}, from.pick(node_role::client), from.word(), from.prose(),
                  from.word()};
  out.slots = static_cast<std::uint32_t>(1 + from.below(200));
  out.free_slots = static_cast<std::uint32_t>(from.below(out.slots + 1));
  return out;
}

template <>
node_leaving_request sample<node_leaving_request>(std::uint64_t seed) {
  return {node_id{value_source(seed).name()}};
}

template <>
node_status sample<node_status>(std::uint64_t seed) {
  value_source from(seed);
  return make_node(from);
}

template <>
cluster_status_request sample<cluster_status_request>(std::uint64_t) {
  return {};
}

template <>
cluster_status sample<cluster_status>(std::uint64_t seed) {
  value_source from(seed);
  return {from.name(),
          from.path(),
          {make_node(from), make_node(from)},
          {make_run_info(from), make_run_info(from)},
          {make_deployment(from)}};
}

template <>
shutdown_request sample<shutdown_request>(std::uint64_t seed) {
  return {value_source(seed).prose()};
}

template <>
done sample<done>(std::uint64_t) {
  return {};
}

}  // namespace troupe::test
