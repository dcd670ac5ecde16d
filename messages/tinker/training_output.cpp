#include "messages/tinker/training_output.hpp"

#include <algorithm>
#include <cmath>

#include "messages/tinker/detail_tensors.hpp"

namespace troupe::tinker {

namespace {

/// One record holds datums that follow each other and whose targets have as many columns.
struct datum_range {
  std::size_t begin = 0;
  std::size_t end = 0;
};

/// One array per datum, `values_of(i)` as bytes; 0 columns: of one dimension.
template <class ValuesOf>
void add_field(tinker_public::ArrayRecord& record, const char* name, tinker_public::DType type,
               std::size_t columns, datum_range datums, const ValuesOf& values_of) {
  std::vector<std::int64_t> offsets{0};
  std::string values;
  for (std::size_t i = datums.begin; i < datums.end; ++i) {
    values += values_of(i);
    offsets.push_back(static_cast<std::int64_t>(values.size()));
  }
  auto& field = (*record.mutable_fields())[name];
  field.set_dtype(type);
  field.set_data(std::move(values));
  field.set_offsets(detail::bytes_of(offsets));
  if (columns > 0) field.add_trailing_shape(static_cast<std::int64_t>(columns));
}

void add_details(tinker_public::ArrayRecord& record, const std::vector<datum_details>& details,
                 datum_range datums) {
  if (details.empty()) return;
  const datum_details& first = details[datums.begin];
  if (const std::size_t columns = first.topk.per_position; columns > 0) {
    add_field(record, "top_k_logprobs", tinker_public::DTYPE_FLOAT32, columns, datums,
              [&](std::size_t i) { return detail::bytes_of(details[i].topk.logprobs); });
    add_field(record, "top_k_indices", tinker_public::DTYPE_INT64, columns, datums,
              [&](std::size_t i) {
                const auto& tokens = details[i].topk.tokens;
                return detail::bytes_of(std::vector<std::int64_t>(tokens.begin(), tokens.end()));
              });
  }
  if (!first.entropies.empty())
    add_field(record, "entropy", tinker_public::DTYPE_FLOAT32, 0, datums,
              [&](std::size_t i) { return detail::bytes_of(details[i].entropies); });
}

void add_record(tinker_public::ForwardBackwardOutput& out, std::size_t columns,
                const forward_result& output, datum_range datums) {
  auto* record = out.add_loss_fn_outputs();
  record->set_type_tag("ArrayRecord");
  record->set_num_datums(static_cast<std::int64_t>(datums.end - datums.begin));
  add_field(*record, "logprobs", tinker_public::DTYPE_FLOAT32, columns, datums,
            [&](std::size_t i) { return detail::bytes_of(output.logprobs[i]); });
  add_details(*record, output.details, datums);
}

}  // namespace

std::string encode_training_output(const forward_result& output,
                                   const std::vector<std::size_t>& columns) {
  tinker_public::ForwardBackwardOutput out;
  out.set_loss_fn_output_type("ArrayRecord");
  const auto& rows = output.logprobs;
  const auto columns_of = [&](std::size_t i) { return i < columns.size() ? columns[i] : 0; };
  for (std::size_t begin = 0; begin < rows.size();) {
    std::size_t end = begin + 1;
    while (end < rows.size() && columns_of(end) == columns_of(begin))
      ++end;
    add_record(out, columns_of(begin), output, {begin, end});
    begin = end;
  }
  for (const auto& [name, value] : output.metrics) {
    if (std::isfinite(value) && std::count(name.begin(), name.end(), ':') == 1) {
      (*out.mutable_metrics())[name] = value;
    }
  }
  return out.SerializeAsString();
}

}  // namespace troupe::tinker
