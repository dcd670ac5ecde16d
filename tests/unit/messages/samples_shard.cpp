#include "messages/shard.hpp"
#include "tests/unit/messages/detail_samples.hpp"
#include "tests/unit/messages/samples.hpp"

namespace troupe::test {

static shard_identity make_identity(value_source& from) {
  const std::uint32_t world_size = from.small();
  return {run_id{from.name()}, from.word(), static_cast<std::uint32_t>(from.below(world_size)),
          world_size};
}

template <>
open_shard_request sample<open_shard_request>(std::uint64_t seed) {
  value_source from(seed);
  return {
      make_identity(from), model_source{from.path()}, from.word(), from.bytes(32), from.lora(), 1};
}

template <>
open_shard_reply sample<open_shard_reply>(std::uint64_t seed) {
  return {value_source(seed).name() + ":4711"};
}

template <>
start_shard_request sample<start_shard_request>(std::uint64_t seed) {
  value_source from(seed);
  start_shard_request request;
  request.identity = make_identity(from);
  for (std::uint32_t rank = 0; rank < request.identity.world_size; ++rank)
    request.comm_addresses.push_back(from.name() + ":4711");
  request.resume = {make_record(from)};
  request.published.value = from.hash();
  request.published_chain = {make_record(from), make_record(from)};
  return request;
}

template <>
start_shard_reply sample<start_shard_reply>(std::uint64_t seed) {
  value_source from(seed);
  return {from.model(), from.digest()};
}

static shard_body make_body(value_source& from) {
  switch (from.seed() % 10) {
    case 0:
      return shard_forward{make_batch(from), retention::keep_for_backward, make_details(from)};
    case 1:
      return shard_forward_backward{make_batch(from), loss_fn::importance_sampling,
                                    from.numbers(2)};
    case 2:
      return shard_backward{from.small(), from.real_lists(3)};
    case 3:
      return shard_optim_step{make_adam(from), from.word()};
    case 4:
      return shard_save_state{};
    case 5:
      return shard_load_state{make_record(from), optimizer_state::restore};
    case 6:
      return shard_save_weights{checkpoint_kind::sampler_delta};
    case 7:
      return shard_published{checkpoint_id{from.hash()}};
    case 8:
      return shard_capture_state{};
    default:
      return shard_write_captured{};
  }
}

template <>
shard_work sample<shard_work>(std::uint64_t seed) {
  value_source from(seed);
  return {make_identity(from), from.word(), make_body(from), from.word()};
}

template <>
shard_work_reply sample<shard_work_reply>(std::uint64_t seed) {
  value_source from(seed);
  return {make_identity(from), from.word(),   from.real_lists(3), from.numbers(2), from.digest(),
          from.digest(),       from.digest(), {make_file(from)},  from.reals(3),   make_told(from)};
}

template <>
close_shard_request sample<close_shard_request>(std::uint64_t seed) {
  value_source from(seed);
  return {make_identity(from)};
}

template <>
open_sampler_request sample<open_sampler_request>(std::uint64_t seed) {
  value_source from(seed);
  return {deployment_id{from.name()}, model_source{from.path()}};
}

}  // namespace troupe::test
