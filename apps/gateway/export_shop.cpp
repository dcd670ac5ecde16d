#include "apps/gateway/export_shop.hpp"

#include <algorithm>
#include <filesystem>

#include <openssl/crypto.h>
#include <openssl/hmac.h>

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

result<export_shop::file_names> make_files(const std::string& storage_root,
                                           const checkpoint_list& chain,
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
  const auto names = names_in(part);
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

export_shop::export_shop(cluster_link& link, std::string folder)
    : link_(link), folder_(std::move(folder)), secret_(apps::random_token().value_or("")) {
  // URLs of an earlier gateway are signed by another secret.
  std::error_code problem;
  fs::remove_all(folder_, problem);
}

void export_shop::packed(const checkpoint_id& checkpoint, const result<file_names>& files) {
  const auto node = waiting_.extract(checkpoint);
  for (const auto& then : node.mapped())
    then(files);
}

void export_shop::pack(const checkpoint_id& checkpoint,
                       std::function<void(result<file_names>)> then) {
  const std::string folder = folder_ + "/" + checkpoint.value;
  std::error_code problem;
  if (fs::exists(folder, problem)) {
    fs::last_write_time(folder, fs::file_time_type::clock::now(), problem);
    return then(names_in(folder));
  }
  auto& waiting = waiting_[checkpoint];
  waiting.push_back(std::move(then));
  if (waiting.size() > 1) return;
  link_.ask_store<checkpoint_list>(
      deadlines::store, checkpoint_chain_request{checkpoint},
      [this, checkpoint, folder](result<checkpoint_list> chain) {
        if (!chain) return packed(checkpoint, fail(chain.error()));
        boost::asio::post(packer_, [this, checkpoint, folder, chain = std::move(*chain),
                                    root = link_.link()->storage_root()] {
          auto files = make_files(root, chain, folder);
          boost::asio::post(link_.loop(), [this, checkpoint, files = std::move(files)] {
            packed(checkpoint, files);
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

std::string export_shop::signed_path(const checkpoint_id& checkpoint, const std::string& file,
                                     std::uint64_t expires_unix_s) const {
  const std::string path = checkpoint.value + "/" + file;
  const std::string until = std::to_string(expires_unix_s);
  return "/api/v1/exports/" + path + "?expires=" + until +
         "&signature=" + signature(path + "?" + until);
}

result<std::string> export_shop::open(const std::string& checkpoint, const std::string& file,
                                      std::uint64_t expires_unix_s,
                                      const std::string& given) const {
  const std::string path = checkpoint + "/" + file;
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
