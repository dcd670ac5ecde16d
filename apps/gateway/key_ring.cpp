#include "apps/gateway/key_ring.hpp"

#include <openssl/crypto.h>
#include <sys/stat.h>

#include "config/log.hpp"

namespace troupe::gateway {

key_ring::key_ring(std::string data_folder) : data_folder_(std::move(data_folder)) {
  refresh();
}

void key_ring::refresh() {
  struct stat now {};
  if (::stat(keys_path(data_folder_).c_str(), &now) != 0) return active_.clear();
  // Each change is a new file; the clock alone would miss two changes within its tick.
  const version seen{now.st_ino, now.st_size, now.st_ctim.tv_sec, now.st_ctim.tv_nsec};
  if (seen == seen_) return;
  const auto keys = read_keys(data_folder_);
  if (!keys) {
    // Better nobody than somebody whose key was revoked.
    active_.clear();
    return config::log(config::log_level::failure, to_string(keys.error()));
  }
  seen_ = seen;
  active_.clear();
  for (const key_entry& key : *keys) {
    if (key.state == key_state::active) active_.push_back(key);
  }
}

std::optional<std::string> key_ring::find(std::string_view secret) {
  refresh();
  const std::string digest = sha256_text(secret);
  std::optional<std::string> out;
  for (const key_entry& key : active_) {
    if (CRYPTO_memcmp(key.sha256.data(), digest.data(), digest.size()) == 0) out = key.id;
  }
  return out;
}

bool key_ring::has_active() {
  refresh();
  return !active_.empty();
}

}  // namespace troupe::gateway
