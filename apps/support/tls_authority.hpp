#pragma once

// The private certificate authority of one cluster. Nodes and clients trust nobody but it, so a
// connection without a certificate from the cluster's own data folder is refused before a message
// is read. Made on first start: a person never handles certificates.
//
// Files under `<data>/tls`, folder 0700, files 0600: ca.key, ca.pem, node.key, node.pem. ECDSA on
// P-256. The node certificate lives one year and is renewed at a start within its last 30 days;
// the authority lives ten years.
//
// Threading: one process at a time (the data folder's lock). Errors: errc::storage naming the file.

#include <string>

#include "messages/error.hpp"

namespace troupe::apps {

struct tls_files {
  std::string authority;    ///< ca.pem
  std::string certificate;  ///< node.pem
  std::string key;          ///< node.key

  bool operator==(const tls_files&) const = default;
};

/// Where the files of a data folder are; touches nothing.
[[nodiscard]] tls_files tls_files_of(const std::string& data_folder);

/// Makes what is missing or about to expire.
[[nodiscard]] result<tls_files> prepare_tls(const std::string& data_folder);

/// Once per process, before its first connection: a peer that dies without a farewell counts as a
/// closed connection. OpenSSL otherwise files it as an error of the thread, and the network layer,
/// which serves every connection from one thread, then takes it for a failure of the next one.
[[nodiscard]] result<void> tolerate_killed_peers();

/// 32 random bytes in hexadecimal: the cluster's join token.
[[nodiscard]] result<std::string> random_token();

}  // namespace troupe::apps
