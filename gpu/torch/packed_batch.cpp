#include "gpu/torch/packed_batch.hpp"

#include <algorithm>
#include <string>

#include "config/limits.hpp"

namespace troupe::gpu {
namespace {

result<void> check_tokens(const model_config& model, const std::vector<token_id>& tokens,
                          const std::string& name) {
  for (const token_id token : tokens)
    if (token < 0 || static_cast<std::uint32_t>(token) >= model.vocab_size)
      return fail(errc::invalid_argument,
                  name + " contains token " + std::to_string(token) + ", the vocabulary has " +
                      std::to_string(model.vocab_size),
                  "the text was encoded with another model's tokenizer",
                  "encode it with the tokenizer of this model");
  return {};
}

result<void> check_datum(const model_config& model, const datum& data, const std::string& name) {
  const std::size_t length = data.tokens.size();
  const std::size_t targets = data.target_tokens.size();
  if (length == 0 || targets < length || targets % length != 0 ||
      targets / length > limits::targets_per_position_max)
    return fail(errc::invalid_argument,
                name + " has " + std::to_string(length) + " tokens and " + std::to_string(targets) +
                    " target tokens",
                "each token needs the one that follows it as its target, or equally many targets",
                "send one target per token, or the same number up to " +
                    std::to_string(limits::targets_per_position_max));
  if (length > std::min<std::size_t>(model.max_positions, limits::datum_tokens_max))
    return fail(errc::invalid_argument,
                name + " has " + std::to_string(length) + " tokens, the model takes " +
                    std::to_string(model.max_positions),
                "the sequence is longer than the model's positions", "cut it");
  if (auto ok = check_tokens(model, data.tokens, name); !ok) return ok;
  return check_tokens(model, data.target_tokens, name);
}

}  // namespace

result<void> check_batch(const model_config& model, std::span<const datum> batch) {
  if (batch.size() > limits::batch_datums_max)
    return fail(errc::invalid_argument,
                "a batch of " + std::to_string(batch.size()) + " datums is more than " +
                    std::to_string(limits::batch_datums_max),
                "", "send it in parts; gradients add up");
  for (std::size_t i = 0; i < batch.size(); ++i)
    if (auto ok = check_datum(model, batch[i], "datum " + std::to_string(i)); !ok) return ok;
  return {};
}

packed_batch pack_batch(std::span<const datum> batch) {
  packed_batch packed;
  packed.offsets.push_back(0);
  packed.first_target.push_back(0);
  for (const datum& data : batch) {
    packed.tokens.insert(packed.tokens.end(), data.tokens.begin(), data.tokens.end());
    packed.targets.insert(packed.targets.end(), data.target_tokens.begin(),
                          data.target_tokens.end());
    packed.offsets.push_back(packed.tokens.size());
    const std::size_t per_row = data.target_tokens.size() / data.tokens.size();
    for (std::size_t i = 0; i < data.tokens.size(); ++i)
      packed.first_target.push_back(packed.first_target.back() + per_row);
  }
  return packed;
}

std::vector<std::vector<float>> unpack(const packed_batch& batch,
                                       std::span<const float> of_targets) {
  std::vector<std::vector<float>> parts;
  parts.reserve(batch.num_sequences());
  for (std::size_t s = 0; s < batch.num_sequences(); ++s) {
    const auto part =
        of_targets.subspan(batch.first_target[batch.offsets[s]], batch.num_targets(s));
    parts.emplace_back(part.begin(), part.end());
  }
  return parts;
}

}  // namespace troupe::gpu
