#include "apps/gateway/export_shop.hpp"

#include <algorithm>
#include <filesystem>

#include <openssl/crypto.h>
#include <openssl/hmac.h>

#include "apps/gateway/age_file.hpp"
#include "apps/gateway/key_file.hpp"
#include "apps/gateway/tar_file.hpp"
#include "apps/gateway/unix_time.hpp"
#include "apps/support/checkpoint_export.hpp"
#include "apps/support/tls_authority.hpp"
#include "config/deadlines.hpp"
#include "storage/open_store.hpp"

namespace troupe::gateway {
namespace {

namespace fs = std::filesystem;

constexpr const char* archive_name = "archive.tar";
constexpr const char* marker_name = "checkpoint_complete";
constexpr std::size_t name_digits = 16;

result<export_shop::file_names> names_in(const std::string& folder) {
  export_shop::file_names out;
  std::error_code problem;
  for (const auto& file : fs::directory_iterator(folder, problem)) {
    const std::string name = file.path().filename().string();
    if (name != archive_name && file.is_regular_file(problem)) out.push_back(name);
  }
  if (problem) return fail(errc::storage, "cannot read " + folder, problem.message());
  std::sort(out.begin(), out.end());
  return out;
}

/// Each file in the place of its plain one.
result<void> encrypt_files(const std::string& folder, const export_shop::file_names& names,
                           const std::vector<std::string>& recipients) {
  std::vector<age_key> keys;
  for (const std::string& text : recipients) {
    const auto key = parse_age_recipient(text);
    if (!key) return fail(key.error());
    keys.push_back(*key);
  }
  for (const std::string& name : names) {
    const std::string plain = folder + "/" + name;
    if (auto ok = write_age_file(plain, plain + ".age", keys); !ok) return ok;
    std::error_code problem;
    fs::remove(plain, problem);
    if (problem) return fail(errc::storage, "cannot remove " + plain, problem.message());
  }
  return {};
}

result<export_shop::file_names> make_files(const std::string& storage_root,
                                           const checkpoint_list& chain, const export_order& order,
                                           const std::string& folder) {
  std::error_code problem;
  const std::string part = folder + ".part";
  fs::remove_all(part, problem);
  fs::create_directories(fs::path(folder).parent_path(), problem);
  auto blobs = storage::open_posix_blob_store(storage_root);
  if (!blobs) return fail(blobs.error());
  if (auto ok = apps::export_checkpoint(**blobs, chain.records, part); !ok) {
    return fail(ok.error());
  }
  auto names = names_in(part);
  if (names && !order.recipients.empty()) {
    if (auto ok = encrypt_files(part, *names, order.recipients); !ok) return fail(ok.error());
    names = names_in(part);
  }
  if (!names) return names;
  if (auto ok = write_tar(part + "/" + archive_name, part, *names, marker_name); !ok) {
    return fail(ok.error());
  }
  fs::rename(part, folder, problem);
  if (problem) return fail(errc::storage, "cannot write " + folder, problem.message());
  return names;
}

std::string hexadecimal(const unsigned char* bytes, std::size_t count) {
  constexpr std::string_view digits = "0123456789abcdef";
  std::string out;
  for (std::size_t i = 0; i < count; ++i) {
    out += digits[bytes[i] >> 4U];
    out += digits[bytes[i] & 15U];
  }
  return out;
}

}  // namespace

std::string export_order::name() const {
  if (recipients.empty()) return checkpoint.value;
  std::string all;
  for (const std::string& recipient : recipients)
    all += recipient + "\n";
  return checkpoint.value + "-" + sha256_text(all).substr(0, name_digits);
}

export_shop::export_shop(cluster_link& link, std::string folder)
    : link_(link), folder_(std::move(folder)), secret_(apps::random_token().value_or("")) {
  // URLs of an earlier gateway are signed by another secret.
  std::error_code problem;
  fs::remove_all(folder_, problem);
}

void export_shop::packed(const std::string& order_name, const result<file_names>& files) {
  const auto node = waiting_.extract(order_name);
  for (const auto& then : node.mapped())
    then(files);
}

void export_shop::pack(const export_order& order, std::function<void(result<file_names>)> then) {
  const std::string folder = folder_ + "/" + order.name();
  std::error_code problem;
  if (fs::exists(folder, problem)) {
    fs::last_write_time(folder, fs::file_time_type::clock::now(), problem);
    return then(names_in(folder));
  }
  auto& waiting = waiting_[order.name()];
  waiting.push_back(std::move(then));
  if (waiting.size() > 1) return;
  link_.ask_store<checkpoint_list>(
      deadlines::store, checkpoint_chain_request{order.checkpoint},
      [this, order, folder](result<checkpoint_list> chain) {
        if (!chain) return packed(order.name(), fail(chain.error()));
        boost::asio::post(packer_, [this, order, folder, chain = std::move(*chain),
                                    root = link_.link()->storage_root()] {
          auto files = make_files(root, chain, order, folder);
          boost::asio::post(link_.loop(), [this, name = order.name(), files = std::move(files)] {
            packed(name, files);
          });
        });
      });
}

std::string export_shop::signature(const std::string& text) const {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned count = 0;
  HMAC(EVP_sha256(), secret_.data(), static_cast<int>(secret_.size()),
       reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest, &count);
  return hexadecimal(digest, count);
}

std::string export_shop::signed_path(const export_order& order, const std::string& file,
                                     std::uint64_t expires_unix_s) const {
  const std::string path = order.name() + "/" + file;
  const std::string until = std::to_string(expires_unix_s);
  return "/api/v1/exports/" + path + "?expires=" + until +
         "&signature=" + signature(path + "?" + until);
}

result<std::string> export_shop::open(const std::string& order_name, const std::string& file,
                                      std::uint64_t expires_unix_s,
                                      const std::string& given) const {
  const std::string path = order_name + "/" + file;
  const std::string wanted = signature(path + "?" + std::to_string(expires_unix_s));
  const bool fits = !secret_.empty() && wanted.size() == given.size() &&
                    CRYPTO_memcmp(wanted.data(), given.data(), wanted.size()) == 0;
  if (!fits || expires_unix_s < now_unix_ms() / 1000) {
    return fail(errc::fenced, "this URL is not valid any more",
                "it has expired, or the gateway was restarted", "ask for a new one");
  }
  return folder_ + "/" + path;
}

void export_shop::sweep() {
  std::error_code problem;
  const auto now = fs::file_time_type::clock::now();
  for (const auto& entry : fs::directory_iterator(folder_, problem)) {
    const bool is_old = now - entry.last_write_time(problem) > 2 * deadlines::export_url;
    if (!problem && is_old) fs::remove_all(entry.path(), problem);
  }
}

}  // namespace troupe::gateway
