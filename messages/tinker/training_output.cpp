#include "messages/tinker/training_output.hpp"

#include <algorithm>
#include <cmath>

#include "messages/tinker/detail_tensors.hpp"

namespace troupe::tinker {

namespace {

/// One record holds datums that follow each other and whose targets have as many columns.
void add_record(tinker_public::ForwardBackwardOutput& out, std::size_t columns,
                const std::vector<std::vector<float>>& rows, std::size_t begin, std::size_t end) {
  auto* record = out.add_loss_fn_outputs();
  record->set_type_tag("ArrayRecord");
  record->set_num_datums(static_cast<std::int64_t>(end - begin));
  std::vector<std::int64_t> offsets{0};
  std::string values;
  for (std::size_t i = begin; i < end; ++i) {
    values += detail::bytes_of(rows[i]);
    offsets.push_back(static_cast<std::int64_t>(values.size()));
  }
  auto& field = (*record->mutable_fields())["logprobs"];
  field.set_dtype(tinker_public::DTYPE_FLOAT32);
  field.set_data(std::move(values));
  field.set_offsets(detail::bytes_of(offsets));
  if (columns > 0) field.add_trailing_shape(static_cast<std::int64_t>(columns));
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
    add_record(out, columns_of(begin), rows, begin, end);
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
