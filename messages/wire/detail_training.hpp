#pragma once

// Parts of training messages that ranks, the journal and the cluster's status hold as well.
//
// Threading, Errors: as detail_fields.hpp.

#include "config/limits.hpp"
#include "messages/schema/training.capnp.h"
#include "messages/training.hpp"
#include "messages/wire/detail_checks.hpp"
#include "messages/wire/detail_common.hpp"
#include "messages/wire/detail_fields.hpp"

namespace troupe::wire::detail {

/// Whether an op must have its data, or may be one whose data was trimmed from the log.
enum class op_data : std::uint8_t { required, may_be_trimmed };

void build(const datum& in, schema::Datum::Builder out, checks& check);
void build(const adam_params& in, schema::AdamParams::Builder out);
void build(const forward_details& in, schema::ForwardDetails::Builder out);
void build(const datum_details& in, schema::DatumDetails::Builder out, checks& check);
void build(const op_request& in, schema::OpRequest::Builder out, checks& check);
void build(const op_reply& in, schema::OpReply::Builder out, checks& check);
void build(const create_run_request& in, schema::CreateRunRequest::Builder out, checks& check);
void build(const run_info& in, schema::RunInfo::Builder out, checks& check);

[[nodiscard]] datum read(schema::Datum::Reader in, checks& check);
[[nodiscard]] adam_params read(schema::AdamParams::Reader in, checks& check);
[[nodiscard]] forward_details read(schema::ForwardDetails::Reader in, checks& check);
[[nodiscard]] datum_details read(schema::DatumDetails::Reader in, checks& check);
[[nodiscard]] op_request read(schema::OpRequest::Reader in, checks& check,
                              op_data needed = op_data::required);
[[nodiscard]] op_reply read(schema::OpReply::Reader in, checks& check);
[[nodiscard]] create_run_request read(schema::CreateRunRequest::Reader in, checks& check);
[[nodiscard]] run_info read(schema::RunInfo::Reader in, checks& check);

/// 0, or a divisor of `world_size`.
void require_shard_size(std::uint32_t shard_size, std::uint32_t world_size, checks& check);

/// A batch, and the inputs of its loss: the same fields in a client's op and in a rank's work.
template <class Op, class Builder>
void build_batch(const Op& in, Builder out, checks& check) {
  write_list(in.batch, limits::batch_datums_max, "batch", check,
             [&](unsigned n) { return out.initBatch(n); });
}

template <class Op, class Builder>
void build_forward(const Op& in, Builder out, checks& check) {
  build_batch(in, out, check);
  out.setKeep(wire_enum<schema::Retention>(in.keep));
  if (in.details.any()) build(in.details, out.initDetails());
}

template <class Op, class Reader>
void read_forward(Reader in, Op& out, checks& check) {
  out.batch = read_list<datum>(in.getBatch(), limits::batch_datums_max, "batch", check);
  out.keep = read_enum(in.getKeep(), retention::keep_for_backward, "forward.keep", check);
  if (in.hasDetails()) out.details = read(in.getDetails(), check);
}

template <class Op, class Builder>
void build_loss(const Op& in, Builder out, checks& check) {
  build_batch(in, out, check);
  out.setLoss(wire_enum<schema::LossFn>(in.loss));
  write_list(in.config, limits::loss_config_entries_max, "loss_fn_config", check,
             [&](unsigned n) { return out.initConfig(n); });
}

template <class Op, class Reader>
void read_loss(Reader in, Op& out, checks& check) {
  out.batch = read_list<datum>(in.getBatch(), limits::batch_datums_max, "batch", check);
  out.loss = read_enum(in.getLoss(), loss_fn::gspo, "loss_fn", check);
  out.config = read_list<named_number>(in.getConfig(), limits::loss_config_entries_max,
                                       "loss_fn_config", check);
  for (const auto& [key, value] : out.config)
    check.require(std::isfinite(value), "loss_fn_config." + key, "be finite");
}

template <class Op, class Builder>
void build_gradients(const Op& in, Builder out, checks& check) {
  out.setForwardSeqId(in.forward_seq_id);
  write_float_lists(in.logprob_gradients, "logprob_gradients", check,
                    [&](unsigned n) { return out.initLogprobGradients(n); });
}

template <class Op, class Reader>
void read_gradients(Reader in, Op& out, checks& check) {
  out.forward_seq_id = in.getForwardSeqId();
  check.require(out.forward_seq_id >= 1, "forward_seq_id", "be at least 1");
  out.logprob_gradients = read_float_lists(in.getLogprobGradients(), "logprob_gradients", check);
}

}  // namespace troupe::wire::detail
