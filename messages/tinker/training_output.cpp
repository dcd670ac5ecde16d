#include "messages/tinker/training_output.hpp"

#include <algorithm>
#include <cmath>

#include "messages/tinker/detail_tensors.hpp"

namespace troupe::tinker {

std::string encode_training_output(const forward_result& output) {
  tinker_public::ForwardBackwardOutput out;
  out.set_loss_fn_output_type("ArrayRecord");
  auto* record = out.add_loss_fn_outputs();
  record->set_type_tag("ArrayRecord");
  record->set_num_datums(static_cast<std::int64_t>(output.logprobs.size()));
  std::vector<std::int64_t> offsets{0};
  std::string values;
  for (const auto& row : output.logprobs) {
    values += detail::bytes_of(row);
    offsets.push_back(static_cast<std::int64_t>(values.size()));
  }
  auto& field = (*record->mutable_fields())["logprobs"];
  field.set_dtype(tinker_public::DTYPE_FLOAT32);
  field.set_data(std::move(values));
  field.set_offsets(detail::bytes_of(offsets));
  for (const auto& [name, value] : output.metrics) {
    if (std::isfinite(value) && std::count(name.begin(), name.end(), ':') == 1) {
      (*out.mutable_metrics())[name] = value;
    }
  }
  return out.SerializeAsString();
}

}  // namespace troupe::tinker
