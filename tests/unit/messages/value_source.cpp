#include "tests/unit/messages/value_source.hpp"

#include "config/limits.hpp"
#include "messages/state_digest.hpp"

namespace troupe::test {

std::uint64_t value_source::word() {
  state_ += 0x9e3779b97f4a7c15ULL;
  return troupe::detail::mix64(state_);
}

double value_source::fraction() {
  return static_cast<double>(1 + below(1023)) / 1024.0;
}

std::string value_source::name() {
  constexpr std::string_view letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ._-";
  std::string text = "n";
  for (std::uint64_t left = 1 + below(12); left > 0; --left)
    text += letters[below(letters.size())];
  return text;
}

std::string value_source::hash() {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string text;
  for (int i = 0; i < 64; ++i)
    text += digits[below(16)];
  return text;
}

std::string value_source::prose() {
  return "because of " + name() + " \xe2\x82\xac";
}

std::string value_source::path() {
  return "/data/" + name();
}

std::string value_source::bytes(std::size_t count) {
  std::string text;
  for (std::size_t i = 0; i < count; ++i)
    text += static_cast<char>(below(256));
  return text;
}

std::vector<token_id> value_source::tokens(std::size_t count) {
  std::vector<token_id> values(count);
  for (token_id& value : values)
    value = static_cast<token_id>(below(150'000));
  return values;
}

std::vector<float> value_source::reals(std::size_t count) {
  std::vector<float> values(count);
  for (float& value : values)
    value = real();
  return values;
}

std::vector<std::vector<float>> value_source::real_lists(std::size_t count) {
  std::vector<std::vector<float>> lists(count);
  for (auto& list : lists)
    list = reals(1 + below(7));
  return lists;
}

std::vector<std::pair<std::string, double>> value_source::numbers(std::size_t count) {
  std::vector<std::pair<std::string, double>> list(count);
  for (auto& [key, value] : list) {
    key = name() + ":sum";
    value = fraction();
  }
  return list;
}

model_config value_source::model() {
  model_config config;
  config.vocab_size = 1000 + small();
  config.hidden_size = 100 + small();
  config.intermediate_size = 200 + small();
  config.num_layers = small();
  config.num_heads = small();
  config.num_kv_heads = small();
  config.head_dim = small();
  config.max_positions = 4096 + small();
  config.rope_theta = 1e4 * fraction();
  config.rms_norm_eps = 1e-5 * fraction();
  config.tied_head = flag();
  config.family = pick(model_family::qwen2);
  config.rope = {rope_kind::llama3, fraction(), fraction(), fraction(), 1024};
  return config;
}

lora_config value_source::lora() {
  lora_config out{small(), fraction(), word(), flag(), flag(), flag()};
  out.targets = {pick(lora_target::v_proj), pick(lora_target::lm_head)};
  return out;
}

}  // namespace troupe::test
