#include "apps/support/seeded_model.hpp"

#include <cmath>
#include <numbers>

#include "gpu/models/parameter_layout.hpp"
#include "messages/state_digest.hpp"
#include "storage/hf_directory.hpp"

namespace troupe::apps {
namespace {

constexpr double deviation = 0.02;

class seeded_reader final : public storage::tensor_reader {
 public:
  seeded_reader(const std::vector<parameter_spec>& layout, std::uint64_t seed)
      : layout_(layout), seed_(seed) {}

  result<void> read(std::uint32_t parameter, std::uint64_t begin, std::span<float> out) override {
    const bool is_norm = layout_[parameter].shape.size() == 1;
    for (float& value : out)
      value = is_norm ? 1.0F : seeded_normal(seed_, parameter, begin++);
    return {};
  }

 private:
  const std::vector<parameter_spec>& layout_;
  std::uint64_t seed_;
};

/// Uniform in (0, 1).
double uniform(std::uint64_t bits) {
  return (static_cast<double>(bits >> 11U) + 0.5) * 0x1.0p-53;
}

}  // namespace

model_config byte_level_qwen3(std::uint32_t hidden_size, std::uint32_t num_layers) {
  model_config out;
  out.vocab_size = 256;
  out.hidden_size = hidden_size;
  out.intermediate_size = 3 * hidden_size;
  out.num_layers = num_layers;
  out.num_heads = 4;
  out.num_kv_heads = 2;
  out.head_dim = hidden_size / 4;
  out.max_positions = 2048;
  out.rope_theta = 10000;
  out.tied_head = true;
  return out;
}

float seeded_normal(std::uint64_t seed, std::uint32_t parameter, std::uint64_t element) {
  const std::uint64_t key =
      detail::mix64(seed + 0x9e3779b97f4a7c15ULL) + (std::uint64_t{parameter} << 40U) + element;
  const std::uint64_t first = detail::mix64(key * 0x9e3779b97f4a7c15ULL);
  const std::uint64_t second = detail::mix64(first + 0x632be59bd9b4e019ULL);
  const double radius = std::sqrt(-2.0 * std::log(uniform(first)));
  return static_cast<float>(deviation * radius *
                            std::cos(2.0 * std::numbers::pi * uniform(second)));
}

result<void> write_seeded_model(const std::string& directory, const model_config& model,
                                std::uint64_t seed) {
  if (auto ok = gpu::validate(model); !ok) return ok;
  const auto layout = gpu::parameter_layout(model);
  seeded_reader reader(layout, seed);
  storage::hf_export target;
  target.directory = directory;
  target.config = model;
  target.type = dtype::f32;
  return storage::write_hf_directory(target, layout, reader);
}

}  // namespace troupe::apps
