#include "apps/gateway/age_file.hpp"

#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <string_view>

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/kdf.h>
#include <openssl/rand.h>

namespace troupe::gateway {
namespace {

using bytes = std::vector<unsigned char>;

constexpr std::size_t key_bytes = 32;
constexpr std::size_t file_key_bytes = 16;
constexpr std::size_t nonce_bytes = 12;
constexpr std::size_t payload_salt_bytes = 16;
constexpr std::size_t seal_bytes = 16;
constexpr std::size_t chunk_bytes = 64 * 1024;
constexpr std::string_view version_line = "age-encryption.org/v1";
constexpr std::string_view stanza_label = "age-encryption.org/v1/X25519";

template <auto Release>
struct releaser {
  template <class T>
  void operator()(T* what) const {
    Release(what);
  }
};
using pkey_ptr = std::unique_ptr<EVP_PKEY, releaser<&EVP_PKEY_free>>;
using pkey_context_ptr = std::unique_ptr<EVP_PKEY_CTX, releaser<&EVP_PKEY_CTX_free>>;
using kdf_ptr = std::unique_ptr<EVP_KDF, releaser<&EVP_KDF_free>>;
using kdf_context_ptr = std::unique_ptr<EVP_KDF_CTX, releaser<&EVP_KDF_CTX_free>>;
using cipher_ptr = std::unique_ptr<EVP_CIPHER_CTX, releaser<&EVP_CIPHER_CTX_free>>;

tl::unexpected<error> library_failed() {
  return fail(errc::internal, "OpenSSL cannot encrypt a file",
              "it was built without X25519 or ChaCha20-Poly1305", "install OpenSSL 3 as packaged");
}

/// Standard alphabet, without padding.
std::string base64(const bytes& data) {
  std::string out(4 * ((data.size() + 2) / 3) + 1, '\0');
  const int count = EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out.data()), data.data(),
                                    static_cast<int>(data.size()));
  out.resize(static_cast<std::size_t>(count));
  while (out.ends_with('='))
    out.pop_back();
  return out;
}

result<bytes> random_bytes(std::size_t count) {
  bytes out(count);
  if (RAND_bytes(out.data(), static_cast<int>(count)) != 1) return library_failed();
  return out;
}

/// HKDF with SHA-256 to a key.
result<bytes> derive(const bytes& secret, const bytes& salt, std::string_view label) {
  const kdf_ptr kind(EVP_KDF_fetch(nullptr, "HKDF", nullptr));
  const kdf_context_ptr context(kind ? EVP_KDF_CTX_new(kind.get()) : nullptr);
  if (!context) return library_failed();
  std::string digest = "SHA256";
  bytes own_secret = secret;
  bytes own_salt = salt;
  std::string own_label(label);
  std::vector<OSSL_PARAM> parameters{
      OSSL_PARAM_construct_utf8_string(OSSL_KDF_PARAM_DIGEST, digest.data(), 0),
      OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_KEY, own_secret.data(), own_secret.size()),
      OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_INFO, own_label.data(), own_label.size())};
  // Without a salt is not the same to the library as with an empty one.
  if (!own_salt.empty()) {
    parameters.push_back(
        OSSL_PARAM_construct_octet_string(OSSL_KDF_PARAM_SALT, own_salt.data(), own_salt.size()));
  }
  parameters.push_back(OSSL_PARAM_construct_end());
  bytes out(key_bytes);
  if (EVP_KDF_derive(context.get(), out.data(), out.size(), parameters.data()) <= 0) {
    return library_failed();
  }
  return out;
}

/// ChaCha20-Poly1305: the encrypted bytes and their seal.
result<bytes> seal(const bytes& key, const std::array<unsigned char, nonce_bytes>& nonce,
                   const unsigned char* data, std::size_t count) {
  const cipher_ptr cipher(EVP_CIPHER_CTX_new());
  bytes out(count + seal_bytes);
  int written = 0;
  const bool ok =
      cipher &&
      EVP_EncryptInit_ex(cipher.get(), EVP_chacha20_poly1305(), nullptr, key.data(),
                         nonce.data()) == 1 &&
      EVP_EncryptUpdate(cipher.get(), out.data(), &written, data, static_cast<int>(count)) == 1 &&
      EVP_EncryptFinal_ex(cipher.get(), out.data() + written, &written) == 1 &&
      EVP_CIPHER_CTX_ctrl(cipher.get(), EVP_CTRL_AEAD_GET_TAG, seal_bytes, out.data() + count) == 1;
  if (!ok) return library_failed();
  return out;
}

/// What two keys agree on; none when the public one is of small order.
std::optional<bytes> agree(EVP_PKEY* own, const age_key& other) {
  const pkey_ptr peer(
      EVP_PKEY_new_raw_public_key(EVP_PKEY_X25519, nullptr, other.data(), other.size()));
  const pkey_context_ptr context(EVP_PKEY_CTX_new(own, nullptr));
  bytes out(key_bytes);
  std::size_t count = out.size();
  const bool ok = peer && context && EVP_PKEY_derive_init(context.get()) == 1 &&
                  EVP_PKEY_derive_set_peer(context.get(), peer.get()) == 1 &&
                  EVP_PKEY_derive(context.get(), out.data(), &count) == 1;
  return ok ? std::optional(out) : std::nullopt;
}

/// The file's key for one recipient, under a key that is used once.
result<std::string> stanza(const bytes& file_key, const age_key& recipient) {
  const pkey_ptr once(EVP_PKEY_Q_keygen(nullptr, nullptr, "X25519"));
  bytes share(key_bytes);
  std::size_t count = share.size();
  if (!once || EVP_PKEY_get_raw_public_key(once.get(), share.data(), &count) != 1) {
    return library_failed();
  }
  const auto secret = agree(once.get(), recipient);
  if (!secret) {
    return fail(errc::invalid_argument, "a recipient's key is of small order",
                "it is no key that age makes", "make one with `age-keygen`");
  }
  bytes salt = share;
  salt.insert(salt.end(), recipient.begin(), recipient.end());
  const auto wrap = derive(*secret, salt, stanza_label);
  if (!wrap) return fail(wrap.error());
  const auto wrapped = seal(*wrap, {}, file_key.data(), file_key.size());
  if (!wrapped) return fail(wrapped.error());
  return "-> X25519 " + base64(share) + "\n" + base64(*wrapped) + "\n";
}

result<std::string> header(const bytes& file_key, const std::vector<age_key>& recipients) {
  std::string out = std::string(version_line) + "\n";
  for (const age_key& recipient : recipients) {
    const auto one = stanza(file_key, recipient);
    if (!one) return one;
    out += *one;
  }
  out += "---";
  const auto key = derive(file_key, {}, "header");
  if (!key) return fail(key.error());
  bytes code(EVP_MAX_MD_SIZE);
  unsigned count = 0;
  HMAC(EVP_sha256(), key->data(), static_cast<int>(key->size()),
       reinterpret_cast<const unsigned char*>(out.data()), out.size(), code.data(), &count);
  code.resize(count);
  return out + " " + base64(code) + "\n";
}

void append(std::ofstream& file, const bytes& data) {
  file.write(reinterpret_cast<const char*>(data.data()), static_cast<std::streamsize>(data.size()));
}

/// Chunks are numbered, and the last one says that it is.
result<void> write_payload(std::ifstream& in, std::uintmax_t left, const bytes& key,
                           std::ofstream& out) {
  std::array<unsigned char, nonce_bytes> nonce{};
  bytes chunk(chunk_bytes);
  for (std::uint64_t number = 0;; ++number) {
    const std::size_t count = std::min<std::uintmax_t>(left, chunk_bytes);
    if (!in.read(reinterpret_cast<char*>(chunk.data()), static_cast<std::streamsize>(count))) {
      return fail(errc::storage, "a file ended while it was encrypted", "it was changed meanwhile",
                  "ask again");
    }
    left -= count;
    for (std::size_t i = 0; i < sizeof(number); ++i)
      nonce[nonce_bytes - 2 - i] = static_cast<unsigned char>(number >> (8 * i));
    nonce.back() = left == 0 ? 1 : 0;
    const auto sealed = seal(key, nonce, chunk.data(), count);
    if (!sealed) return fail(sealed.error());
    append(out, *sealed);
    if (left == 0) return {};
  }
}

}  // namespace

result<void> write_age_file(const std::string& from, const std::string& to,
                            const std::vector<age_key>& recipients) {
  const auto file_key = random_bytes(file_key_bytes);
  const auto salt = random_bytes(payload_salt_bytes);
  if (!file_key || !salt) return library_failed();
  const auto head = header(*file_key, recipients);
  if (!head) return fail(head.error());
  const auto key = derive(*file_key, *salt, "payload");
  if (!key) return fail(key.error());
  std::error_code problem;
  const auto size = std::filesystem::file_size(from, problem);
  std::ifstream in(from, std::ios::binary);
  std::ofstream out(to, std::ios::binary);
  if (problem || !in) return fail(errc::storage, "cannot read " + from, problem.message());
  out << *head;
  append(out, *salt);
  if (auto ok = write_payload(in, size, *key, out); !ok) return ok;
  out.close();
  if (!out) {
    return fail(errc::storage, "cannot write " + to, "", "check that the data folder has space");
  }
  return {};
}

}  // namespace troupe::gateway
