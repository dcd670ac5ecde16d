#include "tests/conformance/engine_memory.hpp"

#include <algorithm>
#include <cmath>
#include <random>
#include <stdexcept>
#include <utility>

#include "gpu/bf16.hpp"
#include "gpu/models/adapters.hpp"
#include "gpu/models/parameter_layout.hpp"
#include "gpu/torch/trainer.hpp"

namespace troupe::test {

model_memory::model_memory(const model_config& model) {
  append(gpu::parameter_layout(model));
}

model_memory::model_memory(const model_config& model, const lora_config& lora)
    : model_memory(model) {
  append(gpu::adapter_layout(model, lora));
}

void model_memory::append(const std::vector<parameter_spec>& layout) {
  for (const parameter_spec& spec : layout) {
    for (auto& part : parts_)
      part.emplace_back(spec.num_elements(), 0.0F);
    rounded_.emplace_back(spec.num_elements(), std::uint16_t{0});
  }
}

result<void> model_memory::read(gpu::state_part part, const gpu::parameter_slice& slice,
                                std::span<float> out) {
  const auto& from = parameters(part).at(slice.parameter);
  std::ranges::copy(std::span(from).subspan(slice.begin, out.size()), out.begin());
  return {};
}

result<void> model_memory::write(gpu::state_part part, const gpu::parameter_slice& slice,
                                 std::span<const float> values) {
  auto& to = parameters(part).at(slice.parameter);
  std::ranges::copy(values, std::span(to).subspan(slice.begin, values.size()).begin());
  return {};
}

result<void> model_memory::write(const gpu::parameter_slice& slice,
                                 std::span<const std::uint16_t> bits) {
  auto& to = rounded_.at(slice.parameter);
  std::ranges::copy(bits, std::span(to).subspan(slice.begin, bits.size()).begin());
  return {};
}

result<void> model_memory::read(const gpu::parameter_slice& slice, std::span<std::uint16_t> out) {
  const auto& from = rounded_.at(slice.parameter);
  std::ranges::copy(std::span(from).subspan(slice.begin, out.size()), out.begin());
  return {};
}

std::vector<float> model_memory::flat(gpu::state_part part, std::size_t first) const {
  std::vector<float> all;
  const auto& parameters = parts_[static_cast<std::size_t>(part)];
  for (std::size_t p = first; p < parameters.size(); ++p)
    all.insert(all.end(), parameters[p].begin(), parameters[p].end());
  return all;
}

std::vector<float> model_memory::published(std::size_t parameter) const {
  std::vector<float> values;
  for (const std::uint16_t bits : rounded_.at(parameter))
    values.push_back(gpu::from_bf16(bits));
  return values;
}

void fill_randomly(model_memory& memory, const model_config& model, std::uint32_t seed) {
  std::mt19937 random(seed);
  const auto layout = gpu::parameter_layout(model);
  for (std::size_t p = 0; p < layout.size(); ++p) {
    const bool is_norm = layout[p].shape.size() == 1;
    const float spread =
        is_norm ? 0.2F : 1.5F / std::sqrt(static_cast<float>(layout[p].shape.back()));
    std::normal_distribution<float> normal(is_norm ? 1.0F : 0.0F, p == 0 ? 0.5F : spread);
    auto& values = memory.parameters(gpu::state_part::weights)[p];
    for (float& value : values)
      value = normal(random);
    std::vector<std::uint16_t> bits;
    for (const float value : values)
      bits.push_back(gpu::to_bf16(value));
    (void)memory.write({static_cast<std::uint32_t>(p), 0, bits.size()}, bits);
  }
}

model_config small_sampler_model(std::uint32_t max_positions) {
  model_config m;
  m.vocab_size = 71;
  m.hidden_size = 40;
  m.intermediate_size = 50;
  m.num_layers = 2;
  m.num_heads = 4;
  m.num_kv_heads = 2;
  m.head_dim = 12;
  m.max_positions = max_positions;
  return m;
}

std::vector<datum> random_batch(const model_config& model, const std::vector<std::size_t>& lengths,
                                std::uint32_t seed) {
  std::mt19937 random(seed);
  std::uniform_int_distribution<token_id> token(0, static_cast<token_id>(model.vocab_size) - 1);
  std::normal_distribution<float> weight(0.5F, 1.0F);
  std::vector<datum> batch;
  for (const std::size_t length : lengths) {
    datum data;
    for (std::size_t i = 0; i < length; ++i) {
      data.tokens.push_back(token(random));
      data.target_tokens.push_back(token(random));
      data.weights.push_back(random() % 4 == 0 ? 0.0F : weight(random));
    }
    batch.push_back(std::move(data));
  }
  return batch;
}

std::vector<datum> whole_batch(const model_config& model, const std::vector<std::size_t>& lengths,
                               std::uint32_t seed) {
  std::mt19937 random(seed);
  std::uniform_int_distribution<token_id> token(0, static_cast<token_id>(model.vocab_size) - 1);
  std::vector<datum> batch;
  for (const std::size_t length : lengths) {
    std::vector<token_id> text(length + 1);
    std::ranges::generate(text, [&] { return token(random); });
    datum data;
    data.tokens.assign(text.begin(), text.end() - 1);
    data.target_tokens.assign(text.begin() + 1, text.end());
    data.weights.assign(length, 1.0F);
    batch.push_back(std::move(data));
  }
  return batch;
}

std::unique_ptr<gpu::trainer_engine> make_adapter_trainer(
    const model_config& model, const lora_config& lora, model_memory& memory, gpu::rank_set ranks,
    optimizer_state optimizer, std::uint64_t steps, const gpu::engine_resources& kept) {
  auto trainer = gpu::make_torch_trainer(model, gpu::adapter_setup{lora}, std::move(ranks), kept);
  if (!trainer) throw std::runtime_error(to_string(trainer.error()));
  if (auto ok = (*trainer)->load_frozen(memory); !ok)
    throw std::runtime_error(to_string(ok.error()));
  if (auto ok = (*trainer)->load(memory, optimizer, steps); !ok)
    throw std::runtime_error(to_string(ok.error()));
  return std::move(*trainer);
}

std::unique_ptr<gpu::trainer_engine> make_loaded_trainer(
    const model_config& model, gpu::parameter_source& source, gpu::rank_set ranks,
    optimizer_state optimizer, std::uint64_t steps, const gpu::engine_resources& kept) {
  auto trainer = gpu::make_torch_trainer(model, std::nullopt, std::move(ranks), kept);
  if (!trainer) throw std::runtime_error(to_string(trainer.error()));
  if (auto ok = (*trainer)->load(source, optimizer, steps); !ok)
    throw std::runtime_error(to_string(ok.error()));
  return std::move(*trainer);
}

std::vector<float> take_gradient(const model_config& model, gpu::trainer_engine& trainer) {
  adam_params adam;
  adam.learning_rate = 0;
  adam.beta1 = 0;
  if (auto step = trainer.optim_step(adam); !step)
    throw std::runtime_error(to_string(step.error()));
  model_memory memory(model);
  (void)trainer.save(memory);
  return memory.flat(gpu::state_part::exp_avg);
}

}  // namespace troupe::test
