#include "apps/gateway/names.hpp"

namespace troupe::gateway {
namespace {

constexpr std::string_view train_mark = ":train:";
constexpr std::size_t random_digits = 24;

}  // namespace

std::string new_session_id(const std::string& key_id, const std::string& random) {
  return key_id + "-" + random.substr(0, random_digits);
}

std::string model_id_of(const std::string& session, std::uint64_t number) {
  return session + std::string(train_mark) + std::to_string(number);
}

std::string sampler_id_of(const std::string& session, std::uint64_t number) {
  return session + ":sample:" + std::to_string(number);
}

std::string channel_of(const std::string& sampler_id, std::uint64_t clone) {
  return sampler_id + "/" + std::to_string(clone);
}

std::string op_key(const std::string& model_id, std::uint64_t seq_id) {
  return "op/" + model_id + "/" + std::to_string(seq_id);
}

bool owns(const std::string& key_id, std::string_view id) {
  return !key_id.empty() && is_valid_name(session_of(id)) && id.starts_with(key_id) &&
         id.substr(key_id.size()).starts_with("-");
}

std::string key_of(std::string_view id) {
  return std::string(id.substr(0, id.find('-')));
}

std::string session_of(std::string_view id) {
  return std::string(id.substr(0, id.find(':')));
}

std::optional<run_id> run_of(std::string_view model_id) {
  const std::string session = session_of(model_id);
  const std::string_view rest = model_id.substr(session.size());
  if (!rest.starts_with(train_mark)) return std::nullopt;
  run_id out{session + ".train." + std::string(rest.substr(train_mark.size()))};
  if (!is_valid_name(out.value)) return std::nullopt;
  return out;
}

}  // namespace troupe::gateway
