#include "apps/gateway/quota_ledger.hpp"

#include <algorithm>

namespace troupe::gateway {

result<void> quota_ledger::admit_request(const std::string& key_id, time_point now) {
  const auto rate = static_cast<double>(quota_.requests_per_second);
  if (rate == 0) return {};
  auto [place, is_new] = accounts_.try_emplace(key_id);
  account& own = place->second;
  const std::chrono::duration<double> passed = now - own.filled;
  own.tokens = is_new ? rate : std::min(rate, own.tokens + passed.count() * rate);
  own.filled = now;
  if (own.tokens < 1) {
    return fail(errc::busy,
                "this key sends more than " + std::to_string(quota_.requests_per_second) +
                    " requests per second",
                "several clients share it, or one floods", "send the request again later");
  }
  own.tokens -= 1;
  return {};
}

result<void> quota_ledger::hold(const std::string& key_id, const std::string& request_id,
                                std::size_t bytes) {
  std::size_t& held = accounts_[key_id].held_bytes;
  // One request alone always fits: its size has a limit of its own.
  if (quota_.held_bytes != 0 && held != 0 && held + bytes > quota_.held_bytes) {
    return fail(errc::busy,
                "requests of this key that wait for results hold " + std::to_string(held) +
                    " bytes of " + std::to_string(quota_.held_bytes),
                "the client submits faster than its models work", "send the request again later");
  }
  held += bytes;
  holdings_[request_id] = {key_id, bytes};
  return {};
}

void quota_ledger::released(const std::string& request_id) {
  const auto known = holdings_.find(request_id);
  if (known == holdings_.end()) return;
  accounts_[known->second.key_id].held_bytes -= known->second.bytes;
  holdings_.erase(known);
}

result<void> quota_ledger::admit_model(std::size_t num_models) const {
  if (quota_.models == 0 || num_models < quota_.models) return {};
  return fail(errc::no_capacity,
              "this key has " + std::to_string(num_models) + " models in training, and may have " +
                  std::to_string(quota_.models),
              "sessions that did not finish keep theirs until they were silent for a while",
              "finish a session, or raise models_per_key in [gateway] of the cluster file");
}

}  // namespace troupe::gateway
