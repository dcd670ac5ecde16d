#pragma once

// Makes every message struct a CAF message type whose binary form is its Cap'n Proto frame, so that
// a typed handle works the same for a local and for a remote actor; locally the struct is passed as
// it is and nothing is encoded.
//
// Type ids are positions: append only, never reorder (two nodes would misread each other).
//
// Threading: stateless. Errors: a frame over the limit or one that fails validation is refused by
// the receiving inspector; senders check sizes where a message is made (see fits_frame).

#include <cstdint>
#include <string>
#include <string_view>

#include <caf/byte_span.hpp>
#include <caf/error.hpp>
#include <caf/sec.hpp>
#include <caf/type_id.hpp>

#include "config/limits.hpp"
#include "messages/error.hpp"
#include "messages/journal.hpp"
#include "messages/shard.hpp"
#include "messages/status.hpp"
#include "messages/weight_sync.hpp"
#include "messages/wire/codec.hpp"

// X(struct): the order is the numbering.
// clang-format off
#define TROUPE_WIRE_MESSAGES(X) \
  X(done) X(op_request) X(op_reply) X(create_run_request) X(attach_run_request) X(run_info) \
  X(run_status_request) X(run_events_request) X(run_events_reply) X(sample_request) \
  X(sample_reply) X(create_deployment_request) X(deployment_info) X(deployment_status_request) \
  X(commit_checkpoint_request) X(get_checkpoint_request) X(list_checkpoints_request) \
  X(checkpoint_record) X(checkpoint_list) X(checkpoint_chain_request) X(sync_request) \
  X(sync_reply) X(stage_weights_request) X(stage_weights_reply) X(commit_weights_request) \
  X(commit_weights_reply) X(replica_status_request) X(replica_status) X(ledger_entry) \
  X(attach_request) X(attach_reply) X(renew_lease_request) X(cluster_status_request) \
  X(cluster_status) X(shutdown_request) X(open_shard_request) X(open_shard_reply) \
  X(start_shard_request) X(start_shard_reply) X(shard_work) X(shard_work_reply) \
  X(close_shard_request) X(open_sampler_request) X(append_op_request) X(finish_op_request) \
  X(read_log_request) X(read_log_reply) X(trim_log_request) X(put_run_request) \
  X(list_runs_request) X(run_list) X(park_run_request) X(remove_deployment_request) \
  X(put_deployment_request) X(forget_deployment_request) X(list_deployments_request) \
  X(deployment_list) X(scale_deployment_request) X(list_ledger_request) X(ledger_list) \
  X(remove_checkpoint_request) X(collect_garbage_request) X(garbage_report) \
  X(acknowledge_rollback_request) X(node_leaving_request) X(verify_checkpoint_request) \
  X(lease_checkpoints_request) X(doubt_chain_request) X(plan_publish_request) X(publish_plan) \
  X(stream_sample_request) X(read_sample_request) X(sample_chunk) X(cancel_sample_request) \
  X(keep_event_request)
// clang-format on

namespace troupe {

template <class T>
inline constexpr bool is_wire_message = false;

#define TROUPE_DECLARE_WIRE(type) \
  template <>                     \
  inline constexpr bool is_wire_message<type> = true;
TROUPE_WIRE_MESSAGES(TROUPE_DECLARE_WIRE)
#undef TROUPE_DECLARE_WIRE

template <class T>
concept wire_message = is_wire_message<T>;

namespace actors {

template <class Inspector, class T>
bool save_frame(Inspector& f, const T& x) {
  const auto encoded = wire::encode(x);
  if (!encoded) {
    f.emplace_error(caf::sec::save_callback_failed, to_string(encoded.error()));
    return false;
  }
  std::uint64_t num_words = encoded->words().size();
  const auto bytes = encoded->bytes();
  using unit = caf::const_byte_span::value_type;
  return f.value(num_words) &&
         f.value(caf::const_byte_span{reinterpret_cast<const unit*>(bytes.data()), bytes.size()});
}

template <class Inspector, class T>
bool load_frame(Inspector& f, T& x) {
  std::uint64_t num_words = 0;
  if (!f.value(num_words)) return false;
  if (num_words * 8 > limits::frame_bytes_max) {
    f.emplace_error(caf::sec::load_callback_failed, "frame over the limit");
    return false;
  }
  std::vector<std::uint64_t> words(num_words);
  using unit = caf::byte_span::value_type;
  if (!f.value(caf::byte_span{reinterpret_cast<unit*>(words.data()), num_words * 8})) return false;
  auto decoded = wire::decode<T>(words);
  if (!decoded) {
    f.emplace_error(caf::sec::load_callback_failed, to_string(decoded.error()));
    return false;
  }
  x = std::move(*decoded);
  return true;
}

}  // namespace actors

template <class Inspector, wire_message T>
bool inspect(Inspector& f, T& x) {
  if (f.has_human_readable_format()) return f.object(x).fields();
  if (!f.begin_object(caf::type_id_v<T>, caf::type_name_v<T>) || !f.begin_field("frame")) {
    return false;
  }
  bool ok = false;
  if constexpr (Inspector::is_loading) {
    ok = actors::load_frame(f, x);
  } else {
    ok = actors::save_frame(f, x);
  }
  return ok && f.end_field() && f.end_object();
}

template <class Inspector>
bool inspect(Inspector& f, errc& x) {
  const auto get = [&x] { return static_cast<std::uint16_t>(x); };
  const auto set = [&x](std::uint16_t code) {
    x = static_cast<errc>(code);
    return true;
  };
  return f.apply(get, set);
}

/// A message that crosses nodes must fit a frame: the typed refusal of one that does not.
template <wire_message T>
[[nodiscard]] result<void> fits_frame(const T& message) {
  const auto encoded = wire::encode(message);
  if (!encoded) return fail(encoded.error());
  return {};
}

}  // namespace troupe
