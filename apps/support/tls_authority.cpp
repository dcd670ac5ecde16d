#include "apps/support/tls_authority.hpp"

#include <array>
#include <filesystem>
#include <memory>

#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>
#include <unistd.h>

namespace troupe::apps {
namespace {

constexpr long day_s = 24L * 60 * 60;
constexpr long authority_days = 3650;
constexpr long node_days = 365;
constexpr long renew_days = 30;

template <auto Free>
struct releaser {
  template <class T>
  void operator()(T* value) const {
    Free(value);
  }
};
using key_ptr = std::unique_ptr<EVP_PKEY, releaser<&EVP_PKEY_free>>;
using certificate_ptr = std::unique_ptr<X509, releaser<&X509_free>>;
using bio_ptr = std::unique_ptr<BIO, releaser<&BIO_free>>;
using extension_ptr = std::unique_ptr<X509_EXTENSION, releaser<&X509_EXTENSION_free>>;

struct identity {
  key_ptr key;
  certificate_ptr certificate;
};

tl::unexpected<error> refuse(const std::string& what) {
  std::array<char, 256> reason{};
  ERR_error_string_n(ERR_get_error(), reason.data(), reason.size());
  ERR_clear_error();
  return fail(errc::storage, what, reason.data(),
              "check that the data folder is writable and not damaged; removing its tls folder "
              "while the cluster is down makes new certificates");
}

bool add_extension(X509* certificate, X509* issuer, int kind, const char* value) {
  X509V3_CTX context;
  X509V3_set_ctx_nodb(&context);
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  const extension_ptr extension(X509V3_EXT_conf_nid(nullptr, &context, kind, value));
  return extension && X509_add_ext(certificate, extension.get(), -1) == 1;
}

bool set_name_and_time(X509* certificate, const char* name, long days) {
  std::array<unsigned char, 8> serial{};
  if (RAND_bytes(serial.data(), static_cast<int>(serial.size())) != 1) return false;
  std::uint64_t number = 0;
  for (const unsigned char byte : serial)
    number = number << 8U | byte;
  X509_NAME* subject = X509_get_subject_name(certificate);
  return X509_set_version(certificate, 2) == 1 &&
         ASN1_INTEGER_set_uint64(X509_get_serialNumber(certificate), number >> 1U) == 1 &&
         X509_gmtime_adj(X509_getm_notBefore(certificate), -day_s) != nullptr &&
         X509_gmtime_adj(X509_getm_notAfter(certificate), days * day_s) != nullptr &&
         X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC,
                                    reinterpret_cast<const unsigned char*>(name), -1, -1, 0) == 1;
}

/// A new key with a certificate signed by `issuer`, or by itself when that is null.
result<identity> issue(const char* name, long days, const identity* issuer) {
  identity out{key_ptr(EVP_EC_gen("P-256")), certificate_ptr(X509_new())};
  if (!out.key || !out.certificate) return refuse("cannot make a key");
  X509* certificate = out.certificate.get();
  X509* signer = issuer != nullptr ? issuer->certificate.get() : certificate;
  EVP_PKEY* signer_key = issuer != nullptr ? issuer->key.get() : out.key.get();
  const char* constraints = issuer != nullptr ? "critical,CA:FALSE" : "critical,CA:TRUE";
  const char* usage =
      issuer != nullptr ? "critical,digitalSignature" : "critical,keyCertSign,cRLSign";
  const bool ok = set_name_and_time(certificate, name, days) &&
                  X509_set_issuer_name(certificate, X509_get_subject_name(signer)) == 1 &&
                  X509_set_pubkey(certificate, out.key.get()) == 1 &&
                  add_extension(certificate, signer, NID_basic_constraints, constraints) &&
                  add_extension(certificate, signer, NID_key_usage, usage) &&
                  X509_sign(certificate, signer_key, EVP_sha256()) > 0;
  if (!ok) return refuse(std::string("cannot make the certificate of ") + name);
  return out;
}

result<void> write_private(const std::string& path, BIO* content) {
  char* text = nullptr;
  const long size = BIO_get_mem_data(content, &text);
  const std::string part = path + ".part";
  const int file = ::open(part.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (file < 0) return refuse("cannot write " + part);
  const bool written = ::write(file, text, static_cast<std::size_t>(size)) == size;
  const bool synced = written && ::fsync(file) == 0;
  ::close(file);
  if (!synced || ::rename(part.c_str(), path.c_str()) != 0) return refuse("cannot write " + path);
  return {};
}

result<void> store(const identity& owner, const std::string& key, const std::string& certificate) {
  const bio_ptr key_text(BIO_new(BIO_s_mem()));
  const bio_ptr certificate_text(BIO_new(BIO_s_mem()));
  if (PEM_write_bio_PrivateKey(key_text.get(), owner.key.get(), nullptr, nullptr, 0, nullptr,
                               nullptr) != 1 ||
      PEM_write_bio_X509(certificate_text.get(), owner.certificate.get()) != 1) {
    return refuse("cannot encode " + certificate);
  }
  if (auto ok = write_private(key, key_text.get()); !ok) return ok;
  return write_private(certificate, certificate_text.get());
}

result<identity> load(const std::string& key, const std::string& certificate) {
  const bio_ptr key_file(BIO_new_file(key.c_str(), "r"));
  const bio_ptr certificate_file(BIO_new_file(certificate.c_str(), "r"));
  if (!key_file || !certificate_file) return refuse("cannot read " + certificate);
  identity out{
      key_ptr(PEM_read_bio_PrivateKey(key_file.get(), nullptr, nullptr, nullptr)),
      certificate_ptr(PEM_read_bio_X509(certificate_file.get(), nullptr, nullptr, nullptr))};
  if (!out.key || !out.certificate ||
      X509_check_private_key(out.certificate.get(), out.key.get()) != 1) {
    return refuse(certificate + " does not fit its key");
  }
  return out;
}

/// True when both files exist, fit, and the certificate is the authority's and lives on a while.
bool is_usable(const tls_files& files, const identity& authority) {
  const auto node = load(files.key, files.certificate);
  if (!node) return false;
  int days = 0;
  int seconds = 0;
  const ASN1_TIME* end = X509_get0_notAfter(node->certificate.get());
  return ASN1_TIME_diff(&days, &seconds, nullptr, end) == 1 && days >= renew_days &&
         X509_verify(node->certificate.get(), authority.key.get()) == 1;
}

}  // namespace

tls_files tls_files_of(const std::string& data_folder) {
  const std::string folder = data_folder + "/tls/";
  return {folder + "ca.pem", folder + "node.pem", folder + "node.key"};
}

result<tls_files> prepare_tls(const std::string& data_folder) {
  const tls_files files = tls_files_of(data_folder);
  const std::string folder = data_folder + "/tls";
  const std::string authority_key = folder + "/ca.key";
  std::error_code problem;
  std::filesystem::create_directories(folder, problem);
  if (problem || ::chmod(folder.c_str(), 0700) != 0) return refuse("cannot make " + folder);
  if (!std::filesystem::exists(files.authority, problem)) {
    const auto made = issue("troupe cluster authority", authority_days, nullptr);
    if (!made) return fail(made.error());
    if (auto ok = store(*made, authority_key, files.authority); !ok) return fail(ok.error());
  }
  const auto authority = load(authority_key, files.authority);
  if (!authority) return fail(authority.error());
  if (is_usable(files, *authority)) return files;
  ERR_clear_error();
  const auto node = issue("troupe node", node_days, &*authority);
  if (!node) return fail(node.error());
  if (auto ok = store(*node, files.key, files.certificate); !ok) return fail(ok.error());
  return files;
}

result<void> tolerate_killed_peers() {
  // The network layer makes its contexts itself; this is where OpenSSL shows each new one.
  const int index = SSL_CTX_get_ex_new_index(
      0, nullptr,
      [](void* context, void*, CRYPTO_EX_DATA*, int, long, void*) {
        SSL_CTX_set_options(static_cast<SSL_CTX*>(context), SSL_OP_IGNORE_UNEXPECTED_EOF);
      },
      nullptr, nullptr);
  if (index < 0) return refuse("cannot set up TLS");
  return {};
}

result<std::string> random_token() {
  std::array<unsigned char, 32> bytes{};
  if (RAND_bytes(bytes.data(), static_cast<int>(bytes.size())) != 1) {
    return refuse("no random bytes");
  }
  constexpr std::string_view digits = "0123456789abcdef";
  std::string out;
  for (const unsigned char byte : bytes) {
    out += digits[byte >> 4U];
    out += digits[byte & 15U];
  }
  return out;
}

}  // namespace troupe::apps
