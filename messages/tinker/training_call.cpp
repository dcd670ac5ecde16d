#include "messages/tinker/training_call.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "config/limits.hpp"
#include "messages/tinker/detail_tensors.hpp"

namespace troupe::tinker {
namespace {

std::string in_datum(int index, std::string_view field) {
  return "datum " + std::to_string(index) + ": " + std::string(field);
}

constexpr std::array<std::pair<std::string_view, loss_fn>, 7> losses{{
    {"cross_entropy", loss_fn::cross_entropy},
    {"importance_sampling", loss_fn::importance_sampling},
    {"ppo", loss_fn::ppo},
    {"cispo", loss_fn::cispo},
    {"dro", loss_fn::dro},
    {"dapo", loss_fn::dapo},
    {"gspo", loss_fn::gspo},
}};

result<loss_fn> loss_of(const std::string& name) {
  std::string known;
  for (const auto& [key, loss] : losses) {
    if (key == name) return loss;
    known += (known.empty() ? "" : ", ") + std::string(key);
  }
  return fail(errc::unsupported, "there is no loss_fn '" + name.substr(0, 64) + "'",
              "the loop may come from another server",
              "use one of " + known + ", or forward_backward_custom");
}

result<void> take_input(datum& out, const std::string& key, const tinker_public::Tensor& tensor,
                        int index) {
  const std::string field = in_datum(index, key.substr(0, 64));
  if (key == "target_tokens") {
    auto row = detail::token_row(tensor, field);
    if (!row) return fail(row.error());
    out.target_tokens = std::move(*row);
    return {};
  }
  std::vector<float>* target = nullptr;
  if (key == "weights") target = &out.weights;
  if (key == "logprobs") target = &out.logprobs;
  if (key == "advantages") target = &out.advantages;
  if (key == "sequence_ratio_mask") target = &out.sequence_ratio_mask;
  if (key == "clip_low_threshold") target = &out.clip_low_thresholds;
  if (key == "clip_high_threshold") target = &out.clip_high_thresholds;
  if (target == nullptr) {
    return fail(errc::unsupported, field + " is no input of a loss here",
                "inputs are target_tokens, weights, logprobs, advantages, sequence_ratio_mask, "
                "clip_low_threshold, clip_high_threshold",
                "leave other keys out of loss_fn_inputs");
  }
  auto row = detail::float_row(tensor, field);
  if (!row) return fail(row.error());
  *target = std::move(*row);
  return {};
}

/// Targets per position as the client's tensor has them; 0: it has one dimension.
std::size_t columns_of(const tinker_public::Datum& in) {
  const auto target = in.loss_fn_inputs().find("target_tokens");
  if (target == in.loss_fn_inputs().end() || target->second.shape_size() != 2) return 0;
  return static_cast<std::size_t>(std::max<std::int64_t>(0, target->second.shape(1)));
}

result<void> check_lengths(const datum& row, std::size_t columns, loss_fn loss, int index) {
  const std::size_t num_tokens = row.tokens.size();
  const std::size_t length = row.target_tokens.size();
  const auto misses = [length](const auto& values) { return values.size() != length; };
  const char* field = nullptr;
  if (num_tokens == 0) field = "model_input";
  const std::size_t width = std::max<std::size_t>(1, columns);
  if (num_tokens > 0 && length / width != num_tokens) field = "target_tokens";
  if (loss == loss_fn::cross_entropy && misses(row.weights)) field = "weights";
  if (loss != loss_fn::cross_entropy && misses(row.logprobs)) field = "logprobs";
  if (loss != loss_fn::cross_entropy && misses(row.advantages)) field = "advantages";
  const auto misses_own = [&](const auto& values) { return !values.empty() && misses(values); };
  if (misses_own(row.sequence_ratio_mask)) field = "sequence_ratio_mask";
  if (misses_own(row.clip_low_thresholds)) field = "clip_low_threshold";
  if (misses_own(row.clip_high_thresholds)) field = "clip_high_threshold";
  if (field == nullptr) return {};
  return fail(errc::invalid_argument,
              in_datum(index, field) + " does not have one value for each of the " +
                  std::to_string(std::max(num_tokens, length)) + " targets of model_input's " +
                  std::to_string(num_tokens) + " tokens",
              "position i of model_input predicts target_tokens[i], or row i of several targets",
              "give all inputs of a datum the same length");
}

result<datum> datum_of(const tinker_public::Datum& in, loss_fn loss, int index) {
  datum out;
  for (const auto& chunk : in.model_input()) {
    if (!chunk.has_encoded_text()) {
      return fail(errc::unsupported, in_datum(index, "model_input") + " holds more than text",
                  "images and audio need another model family", "send encoded_text chunks");
    }
    auto ok = detail::append_tokens(chunk.encoded_text().tokens(), out.tokens);
    if (!ok) return fail(ok.error());
  }
  for (const auto& [key, tensor] : in.loss_fn_inputs()) {
    if (auto ok = take_input(out, key, tensor, index); !ok) return fail(ok.error());
  }
  if (loss == loss_fn::cross_entropy && !in.loss_fn_inputs().contains("weights")) {
    out.weights.assign(out.target_tokens.size(), 1.0F);
  }
  if (auto ok = check_lengths(out, columns_of(in), loss, index); !ok) return fail(ok.error());
  return out;
}

result<loss_fn_config> config_of(const tinker_public::ForwardBackwardRequest& in) {
  loss_fn_config out;
  if (in.loss_fn_config_size() > static_cast<int>(limits::loss_config_entries_max) ||
      in.loss_fn_config_v2_size() > static_cast<int>(limits::loss_config_entries_max)) {
    return fail(errc::invalid_argument, "loss_fn_config has too many entries");
  }
  for (const auto& [key, value] : in.loss_fn_config_v2()) {
    if (value.value_case() != tinker_public::LossConfigValue::kNumber) {
      return fail(errc::unsupported, "loss_fn_config." + key.substr(0, 64) + " is no number",
                  "losses here have numeric options only", "leave it out");
    }
    out.emplace_back(key, value.number());
  }
  if (in.loss_fn_config_v2().empty()) {
    for (const auto& [key, value] : in.loss_fn_config())
      out.emplace_back(key, value);
  }
  std::sort(out.begin(), out.end());
  return out;
}

/// Takes out what a forward is asked to tell beside logprobs: Fireworks' key "top_k", and
/// "entropy".
result<forward_details> take_details(loss_fn_config& config) {
  forward_details out;
  for (const auto& [key, value] : config) {
    if (key == "entropy") out.entropy = value != 0;
    if (key != "top_k") continue;
    if (!(value >= 0 && value <= limits::topk_logprobs_max) || value != std::floor(value)) {
      return fail(errc::invalid_argument, "loss_fn_config.top_k is no number of tokens", "",
                  "use 0 to " + std::to_string(limits::topk_logprobs_max));
    }
    out.topk_logprobs = static_cast<std::uint32_t>(value);
  }
  std::erase_if(
      config, [](const auto& entry) { return entry.first == "entropy" || entry.first == "top_k"; });
  return out;
}

result<op_body> body_of(const tinker_public::ForwardBackwardRequest& in, training_call& call) {
  const auto loss = loss_of(in.loss_fn());
  if (!loss) return fail(loss.error());
  auto config = config_of(in);
  if (!config) return fail(config.error());
  result<forward_details> details;
  if (in.forward_only()) details = take_details(*config);
  if (!details) return fail(details.error());
  call.loss = *loss;
  call.loss_config = *config;
  const auto num_datums = static_cast<std::size_t>(in.data_size());
  if (num_datums == 0 || num_datums > limits::batch_datums_max) {
    return fail(errc::invalid_argument, "the batch has " + std::to_string(num_datums) + " datums",
                "a batch has 1 to " + std::to_string(limits::batch_datums_max) + " datums",
                "split it: gradients add up until optim_step");
  }
  std::vector<datum> batch;
  batch.reserve(num_datums);
  for (int i = 0; i < in.data_size(); ++i) {
    auto row = datum_of(in.data(i), *loss, i);
    if (!row) return fail(row.error());
    batch.push_back(std::move(*row));
  }
  if (in.forward_only()) return forward_op{std::move(batch), retention::discard, *details};
  return forward_backward_op{std::move(batch), *loss, std::move(*config)};
}

}  // namespace

result<training_call> decode_training_call(std::string_view bytes) {
  tinker_public::ForwardBackwardRequest in;
  if (bytes.size() > limits::http_body_bytes_max ||
      !in.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return fail(errc::protocol, "the body is no ForwardBackwardRequest",
                "it was cut short, or the client is too old to send protobuf",
                "use the tinker SDK 0.25 or newer");
  }
  if (in.seq_id() < 1) {
    return fail(errc::invalid_argument, "seq_id " + std::to_string(in.seq_id()) + " is no turn",
                "turns start at 1", "use the tinker SDK");
  }
  training_call out;
  out.model_id = in.model_id();
  out.seq_id = static_cast<std::uint64_t>(in.seq_id());
  out.body = body_of(in, out);
  for (int i = 0; out.body && i < in.data_size(); ++i)
    out.columns.push_back(columns_of(in.data(i)));
  return out;
}

}  // namespace troupe::tinker
