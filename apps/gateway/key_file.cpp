#include "apps/gateway/key_file.hpp"

#include <algorithm>
#include <span>

#include "apps/gateway/unix_time.hpp"
#include "apps/support/json.hpp"
#include "apps/support/text_file.hpp"
#include "apps/support/tls_authority.hpp"
#include "config/limits.hpp"
#include "messages/ids.hpp"
#include "storage/sha256.hpp"

namespace troupe::gateway {
namespace {

constexpr std::size_t id_digits = 8;

tl::unexpected<error> damaged(const std::string& path) {
  return fail(errc::invalid_argument, path + " is damaged", "it was edited or cut short",
              "remove it and make new keys with `troupe key create`");
}

result<key_entry> entry_of(const boost::json::value& value, const std::string& path) {
  const auto* object = value.if_object();
  if (object == nullptr) return damaged(path);
  const auto id = apps::text_of(*object, "id");
  const auto name = apps::text_of(*object, "name");
  const auto digest = apps::text_of(*object, "sha256");
  const auto created = apps::integer_of(*object, "created_unix_ms");
  const auto state = apps::text_of(*object, "state");
  if (!id || !name || !digest || !created || !state || !storage::is_sha256_hex(*digest)) {
    return damaged(path);
  }
  return key_entry{*id, *name, *digest, static_cast<std::uint64_t>(*created),
                   *state == "active" ? key_state::active : key_state::revoked};
}

result<void> write_keys(const std::string& data_folder, const std::vector<key_entry>& keys) {
  boost::json::array list;
  for (const key_entry& key : keys) {
    list.push_back(
        boost::json::object{{"id", key.id},
                            {"name", key.name},
                            {"sha256", key.sha256},
                            {"created_unix_ms", key.created_unix_ms},
                            {"state", key.state == key_state::active ? "active" : "revoked"}});
  }
  const boost::json::object whole{{"keys", std::move(list)}};
  return apps::replace_text_file(keys_path(data_folder), boost::json::serialize(whole) + "\n");
}

}  // namespace

std::string keys_path(const std::string& data_folder) {
  return data_folder + "/keys.json";
}

std::string sha256_text(std::string_view text) {
  return storage::sha256_hex(std::as_bytes(std::span(text)));
}

result<std::vector<key_entry>> read_keys(const std::string& data_folder) {
  const std::string path = keys_path(data_folder);
  const auto text = apps::read_text_file(path, limits::config_file_bytes_max);
  std::vector<key_entry> out;
  if (!text && text.error().code == errc::not_found) return out;
  if (!text) return fail(text.error());
  const auto parsed = apps::parse_json(*text);
  const auto* object = parsed ? parsed->if_object() : nullptr;
  const auto* list = object == nullptr ? nullptr : object->if_contains("keys");
  if (list == nullptr || !list->is_array()) return damaged(path);
  for (const auto& value : list->get_array()) {
    auto entry = entry_of(value, path);
    if (!entry) return fail(entry.error());
    out.push_back(std::move(*entry));
  }
  return out;
}

result<new_key> create_key(const std::string& data_folder, const std::string& name) {
  if (!is_valid_name(name)) {
    return fail(errc::invalid_argument, "'" + name + "' cannot name a key", "",
                "use 1 to 128 characters of [A-Za-z0-9._-]");
  }
  auto keys = read_keys(data_folder);
  if (!keys) return fail(keys.error());
  if (keys->size() >= limits::gateway_keys_max) {
    return fail(errc::busy, "the cluster has as many keys as it can", "",
                "remove revoked ones from " + keys_path(data_folder));
  }
  const auto id = apps::random_token();
  const auto secret = apps::random_token();
  if (!id) return fail(id.error());
  if (!secret) return fail(secret.error());
  new_key out;
  out.secret = "tml-" + *secret;
  out.entry = {id->substr(0, id_digits), name, sha256_text(out.secret), now_unix_ms(),
               key_state::active};
  keys->push_back(out.entry);
  if (auto ok = write_keys(data_folder, *keys); !ok) return fail(ok.error());
  return out;
}

result<key_entry> revoke_key(const std::string& data_folder, const std::string& id_or_name) {
  auto keys = read_keys(data_folder);
  if (!keys) return fail(keys.error());
  std::vector<key_entry*> found;
  for (key_entry& key : *keys) {
    const bool is_meant = key.id == id_or_name || key.name == id_or_name;
    if (is_meant && key.state == key_state::active) found.push_back(&key);
  }
  if (found.size() != 1) {
    return fail(errc::not_found,
                std::to_string(found.size()) + " active keys are called '" + id_or_name + "'",
                "the name is wrong, or several keys have it",
                "give the id that `troupe key list` shows");
  }
  found.front()->state = key_state::revoked;
  const key_entry out = *found.front();
  if (auto ok = write_keys(data_folder, *keys); !ok) return fail(ok.error());
  return out;
}

}  // namespace troupe::gateway
