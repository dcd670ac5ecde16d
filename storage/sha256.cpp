#include "storage/sha256.hpp"

#include <array>
#include <cstdlib>

#include <openssl/evp.h>

namespace troupe::storage {

namespace {

struct free_context {
  void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
};

// Without its hash the store can neither name nor check anything: nothing sensible is left to do.
void require(int ok) {
  if (ok != 1) std::abort();
}

}  // namespace

struct sha256::context {
  std::unique_ptr<EVP_MD_CTX, free_context> evp{EVP_MD_CTX_new()};
};

sha256::sha256() : context_(std::make_unique<context>()) {
  require(context_->evp ? 1 : 0);
  require(EVP_DigestInit_ex(context_->evp.get(), EVP_sha256(), nullptr));
}

sha256::~sha256() = default;
sha256::sha256(sha256&&) noexcept = default;
sha256& sha256::operator=(sha256&&) noexcept = default;

void sha256::update(std::span<const std::byte> bytes) {
  require(EVP_DigestUpdate(context_->evp.get(), bytes.data(), bytes.size()));
}

std::string sha256::finish_hex() {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned int size = 0;
  require(EVP_DigestFinal_ex(context_->evp.get(), digest.data(), &size));
  static constexpr std::string_view digits = "0123456789abcdef";
  std::string hex;
  hex.reserve(2 * std::size_t{size});
  for (unsigned int i = 0; i < size; ++i) {
    hex.push_back(digits[digest[i] >> 4]);
    hex.push_back(digits[digest[i] & 15]);
  }
  return hex;
}

std::string sha256_hex(std::span<const std::byte> bytes) {
  sha256 hash;
  hash.update(bytes);
  return hash.finish_hex();
}

bool is_sha256_hex(std::string_view text) {
  if (text.size() != 64) return false;
  for (const char c : text) {
    const bool ok = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
    if (!ok) return false;
  }
  return true;
}

}  // namespace troupe::storage
