#include "apps/gateway/session_table.hpp"

#include <algorithm>

#include "apps/gateway/names.hpp"
#include "apps/support/tls_authority.hpp"
#include "config/deadlines.hpp"
#include "config/limits.hpp"

namespace troupe::gateway {

result<std::string> session_table::open(const std::string& key_id) {
  if (num_live() >= limits::gateway_sessions_max) {
    return fail(errc::busy, "the gateway serves as many sessions as it can",
                "many clients are attached", "end some, or try again later");
  }
  const auto random = apps::random_token();
  if (!random) return fail(random.error());
  std::string id = new_session_id(key_id, *random);
  sessions_[id] = {key_id, std::chrono::steady_clock::now(), false};
  return id;
}

result<session*> session_table::find(const std::string& key_id, const std::string& id) {
  const std::string session_id = session_of(id);
  const auto known = sessions_.find(session_id);
  const bool is_dead = known != sessions_.end() && known->second.has_ended;
  if (!owns(key_id, id) || is_dead) {
    return fail(errc::not_found, "'" + id.substr(0, 200) + "' belongs to no session of this key",
                is_dead ? "the session has ended" : "it is mistyped, or of another key",
                "make a new ServiceClient");
  }
  session& out = sessions_[session_id];
  out.key_id = key_id;
  out.last_seen = std::chrono::steady_clock::now();
  return &out;
}

bool session_table::end(const std::string& id) {
  const auto known = sessions_.find(id);
  if (known == sessions_.end()) return false;
  return !std::exchange(known->second.has_ended, true);
}

std::vector<std::string> session_table::end_silent() {
  std::vector<std::string> out;
  const auto now = std::chrono::steady_clock::now();
  for (auto it = sessions_.begin(); it != sessions_.end();) {
    const bool is_silent = now - it->second.last_seen > deadlines::session_silence;
    if (is_silent && !it->second.has_ended) {
      it->second.has_ended = true;
      out.push_back(it->first);
    }
    const bool is_forgotten = now - it->second.last_seen > 2 * deadlines::session_silence;
    it = it->second.has_ended && is_forgotten ? sessions_.erase(it) : std::next(it);
  }
  return out;
}

std::vector<std::string> session_table::of_key(const std::string& key_id) const {
  std::vector<std::string> out;
  for (const auto& [id, entry] : sessions_) {
    if (entry.key_id == key_id) out.push_back(id);
  }
  return out;
}

std::size_t session_table::num_live() const {
  return static_cast<std::size_t>(std::count_if(sessions_.begin(), sessions_.end(),
                                                [](const auto& s) { return !s.second.has_ended; }));
}

}  // namespace troupe::gateway
