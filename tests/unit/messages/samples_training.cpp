#include "tests/unit/messages/detail_samples.hpp"
#include "tests/unit/messages/samples.hpp"

namespace troupe::test {

error make_error(value_source& from) {
  return {from.pick(errc::internal), from.prose(), from.prose(), from.prose()};
}

template <>
error sample<error>(std::uint64_t seed) {
  value_source from(seed);
  return make_error(from);
}

std::vector<datum> make_batch(value_source& from) {
  std::vector<datum> batch(1 + from.below(3));
  for (datum& item : batch) {
    const std::size_t length = 1 + from.below(9);
    item.tokens = from.tokens(length);
    item.target_tokens = from.tokens(length);
    if (from.flag()) item.weights = from.reals(length);
    item.logprobs = from.reals(length);
    item.advantages = from.reals(length);
    item.sequence_ratio_mask = from.reals(length);
    item.clip_low_thresholds = from.reals(length);
    if (from.flag()) item.clip_high_thresholds = from.reals(length);
  }
  return batch;
}

adam_params make_adam(value_source& from) {
  return {from.fraction(),
          from.fraction() / 2,
          from.fraction() / 2,
          from.fraction(),
          from.fraction(),
          from.fraction(),
          gradient_normalization::num_sequences};
}

forward_details make_details(value_source& from) {
  return {static_cast<std::uint32_t>(1 + from.below(128)), true, embedding_kind::per_token};
}

std::vector<datum_details> make_told(value_source& from) {
  const likeliest_tokens topk{2, from.tokens(4), from.reals(4)};
  return {{topk, from.reals(2), from.reals(6)}, {}};
}

static op_body make_body(value_source& from) {
  switch (from.seed() % 7) {
    case 0:
      return forward_op{make_batch(from), retention::keep_for_backward, make_details(from)};
    case 1:
      return forward_backward_op{make_batch(from), loss_fn::gspo, from.numbers(2)};
    case 2:
      return backward_op{from.small(), from.real_lists(3)};
    case 3:
      return optim_step_op{make_adam(from)};
    case 4:
      return save_state_op{from.name()};
    case 5:
      return load_state_op{checkpoint_id{from.hash()}, optimizer_state::restore};
    default:
      return save_weights_op{from.name(), publish_kind::delta};
  }
}

op_request make_op(value_source& from) {
  return {run_id{from.name()}, from.word(), from.small(), make_body(from), from.bytes(9)};
}

template <>
op_request sample<op_request>(std::uint64_t seed) {
  value_source from(seed);
  return make_op(from);
}

static op_output make_output(value_source& from) {
  switch (from.seed() % 5) {
    case 0:
      return forward_result{from.real_lists(3), from.numbers(2), make_told(from)};
    case 1:
      return backward_result{from.numbers(3)};
    case 2:
      return optim_step_result{from.word(), from.digest(), from.numbers(2)};
    case 3:
      return checkpoint_result{checkpoint_id{from.hash()}, from.word(), from.word(), true};
    default:
      return load_state_result{from.word(), from.digest()};
  }
}

op_reply make_reply(value_source& from) {
  return {from.word(), make_output(from)};
}

template <>
op_reply sample<op_reply>(std::uint64_t seed) {
  value_source from(seed);
  return make_reply(from);
}

create_run_request make_create_run(value_source& from) {
  create_run_request request{
      from.name(), model_source{from.path()}, from.small(), from.word(), from.word(), from.lora(),
      from.name()};
  request.shard_size = request.world_size;
  return request;
}

template <>
create_run_request sample<create_run_request>(std::uint64_t seed) {
  value_source from(seed);
  return make_create_run(from);
}

template <>
attach_run_request sample<attach_run_request>(std::uint64_t seed) {
  return {run_id{value_source(seed).name()}};
}

run_info make_run_info(value_source& from) {
  run_info info;
  info.run.value = from.name();
  info.phase = from.pick(run_phase::failed);
  info.model = from.model();
  info.model_directory = from.path();
  info.world_size = from.small();
  info.incarnation = from.word();
  info.client_epoch = from.word();
  info.next_seq_id = from.word();
  info.committed_seq_id = from.word();
  info.step = from.word();
  info.weights = from.digest();
  info.last_checkpoint.value = from.hash();
  info.cursor = from.bytes(7);
  info.detail = from.prose();
  return info;
}

template <>
run_info sample<run_info>(std::uint64_t seed) {
  value_source from(seed);
  run_info info = make_run_info(from);
  if (seed == 1) {
    info.model.family = model_family::qwen3_moe;
    info.model.experts = {8, 2, 96, true};
  }
  return info;
}

template <>
run_status_request sample<run_status_request>(std::uint64_t seed) {
  return {run_id{value_source(seed).name()}};
}

template <>
park_run_request sample<park_run_request>(std::uint64_t seed) {
  return {run_id{value_source(seed).name()}};
}

template <>
acknowledge_rollback_request sample<acknowledge_rollback_request>(std::uint64_t seed) {
  return {run_id{value_source(seed).name()}};
}

static run_event make_event(value_source& from) {
  run_event event;
  event.number = from.word();
  event.unix_time_ms = from.word();
  event.kind = from.pick(run_event_kind::leaving);
  event.seq_id = from.word();
  event.ops_replayed = from.word();
  event.seconds = from.fraction();
  event.bit_exact = from.flag();
  event.detail = from.prose();
  event.to_seq_id = from.word();
  event.to_step = from.word();
  event.cursor = from.bytes(5);
  return event;
}

template <>
run_event sample<run_event>(std::uint64_t seed) {
  value_source from(seed);
  return make_event(from);
}

template <>
run_events_request sample<run_events_request>(std::uint64_t seed) {
  value_source from(seed);
  return {run_id{from.name()}, from.word()};
}

template <>
run_events_reply sample<run_events_reply>(std::uint64_t seed) {
  value_source from(seed);
  return {{make_event(from), make_event(from), make_event(from)}};
}

template <>
keep_event_request sample<keep_event_request>(std::uint64_t seed) {
  value_source from(seed);
  return {run_id{from.name()}, make_event(from)};
}

}  // namespace troupe::test
