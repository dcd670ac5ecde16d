#include "apps/gateway/session_table.hpp"

#include <algorithm>
#include <filesystem>

#include "apps/gateway/names.hpp"
#include "apps/gateway/unix_time.hpp"
#include "apps/support/text_file.hpp"
#include "apps/support/tls_authority.hpp"
#include "config/deadlines.hpp"
#include "config/limits.hpp"
#include "config/log.hpp"
#include "messages/tinker/json_fields.hpp"

namespace troupe::gateway {

session_table::session_table(std::string folder) : folder_(std::move(folder)) {
  load();
}

std::string session_table::path_of(const std::string& id) const {
  return folder_ + "/" + id + ".json";
}

void session_table::load() {
  std::error_code problem;
  std::filesystem::create_directories(folder_, problem);
  for (const auto& file : std::filesystem::directory_iterator(folder_, problem)) {
    if (file.path().extension() != ".json") continue;
    const auto text = apps::read_text_file(file.path().string(), limits::config_file_bytes_max);
    const auto object = text ? tinker::parse_object(*text) : fail(text.error());
    if (!object) continue;
    tinker::json_fields in(*object);
    session read;
    read.key_id = in.text("key_id");
    read.has_ended = in.truth("has_ended").value_or(false);
    read.created_unix_ms = in.optional_integer("created_unix_ms").value_or(0);
    read.last_seen = std::chrono::steady_clock::now();
    if (const auto* client = in.find("client"); client && client->is_object()) {
      read.client = client->get_object();
    }
    if (const auto* ending = in.find("ending"); ending && ending->is_object()) {
      read.ending = ending->get_object();
    }
    const std::string id = file.path().stem().string();
    if (!in.failure() && owns(read.key_id, id)) sessions_[id] = std::move(read);
  }
}

result<void> session_table::write(const std::string& id) const {
  const session& entry = sessions_.at(id);
  const boost::json::object out{{"key_id", entry.key_id},
                                {"has_ended", entry.has_ended},
                                {"created_unix_ms", entry.created_unix_ms},
                                {"client", entry.client},
                                {"ending", entry.ending}};
  return apps::replace_text_file(path_of(id), boost::json::serialize(out) + "\n");
}

void session_table::forget_old() {
  if (sessions_.size() < 2 * limits::gateway_sessions_max) return;
  auto oldest = sessions_.end();
  for (auto it = sessions_.begin(); it != sessions_.end(); ++it) {
    const bool is_older =
        oldest == sessions_.end() || it->second.created_unix_ms < oldest->second.created_unix_ms;
    if (it->second.has_ended && is_older) oldest = it;
  }
  if (oldest == sessions_.end()) return;
  std::error_code problem;
  std::filesystem::remove(path_of(oldest->first), problem);
  sessions_.erase(oldest);
}

result<std::string> session_table::open(const std::string& key_id, boost::json::object client) {
  if (num_live() >= limits::gateway_sessions_max) {
    return fail(errc::busy, "the gateway serves as many sessions as it can",
                "many clients are attached", "end some, or try again later");
  }
  const auto random = apps::random_token();
  if (!random) return fail(random.error());
  std::string id = new_session_id(key_id, *random);
  sessions_[id] = {
      key_id, std::chrono::steady_clock::now(), false, now_unix_ms(), std::move(client), {}};
  if (const auto ok = write(id); !ok) return fail(ok.error());
  forget_old();
  return id;
}

result<void> session_table::set_project(const std::string& id, const std::string& project) {
  sessions_.at(id).client["project_id"] = project;
  return write(id);
}

result<session*> session_table::find(const std::string& key_id, const std::string& id) {
  const auto found = sessions_.find(session_of(id));
  const bool is_known = found != sessions_.end() && owns(key_id, id);
  if (!is_known || found->second.has_ended) {
    return fail(errc::not_found, "'" + id.substr(0, 200) + "' belongs to no session of this key",
                is_known ? "the session has ended" : "it is mistyped, or of another key",
                "make a new ServiceClient");
  }
  found->second.last_seen = std::chrono::steady_clock::now();
  return &found->second;
}

const session* session_table::known(const std::string& key_id, const std::string& id) const {
  const auto found = sessions_.find(id);
  return found == sessions_.end() || !owns(key_id, id) ? nullptr : &found->second;
}

bool session_table::end(const std::string& id, boost::json::object ending) {
  const auto found = sessions_.find(id);
  if (found == sessions_.end() || found->second.has_ended) return false;
  found->second.has_ended = true;
  found->second.ending = std::move(ending);
  if (const auto ok = write(id); !ok) {
    config::log(config::log_level::failure, to_string(ok.error()));
  }
  return true;
}

std::vector<std::string> session_table::silent() const {
  std::vector<std::string> out;
  const auto now = std::chrono::steady_clock::now();
  for (const auto& [id, entry] : sessions_) {
    const bool is_silent = now - entry.last_seen > deadlines::session_silence;
    if (is_silent && !entry.has_ended) out.push_back(id);
  }
  return out;
}

std::vector<std::string> session_table::of_key(const std::string& key_id) const {
  std::vector<std::string> out;
  for (const auto& [id, entry] : sessions_) {
    if (entry.key_id == key_id) out.push_back(id);
  }
  std::sort(out.begin(), out.end(), [this](const auto& one, const auto& other) {
    return sessions_.at(one).created_unix_ms > sessions_.at(other).created_unix_ms;
  });
  return out;
}

double session_table::longest_silence_seconds() const {
  std::chrono::duration<double> out{0};
  const auto now = std::chrono::steady_clock::now();
  for (const auto& [id, entry] : sessions_) {
    if (!entry.has_ended) out = std::max<std::chrono::duration<double>>(out, now - entry.last_seen);
  }
  return out.count();
}

std::size_t session_table::num_live() const {
  return static_cast<std::size_t>(std::count_if(sessions_.begin(), sessions_.end(),
                                                [](const auto& s) { return !s.second.has_ended; }));
}

}  // namespace troupe::gateway
