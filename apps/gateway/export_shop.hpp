#pragma once

// Saved weights as files that other programs load: a Hugging Face directory, or a PEFT adapter for
// adapters; encrypted ones when they were saved for certain readers only. They are made on first
// request, beside the loop, and fetched by URLs that are signed and expire, because downloaders
// send no key.
//
//   <folder>/<checkpoint>/<file>, and <checkpoint>/archive.tar with all of them
//   <folder>/<checkpoint>-<digest of the readers>/<file>.age
//
// Threading: calls and callbacks on the loop's thread; packing on one of its own.
// Errors: those of the store and of export; errc::fenced for a URL that is wrong or has expired.

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include <boost/asio/thread_pool.hpp>

#include "apps/gateway/cluster_link.hpp"
#include "messages/checkpoint.hpp"

namespace troupe::gateway {

struct export_order {
  checkpoint_id checkpoint;
  std::vector<std::string> recipients;  ///< age keys of its only readers; empty: plain files

  /// Of its folder.
  [[nodiscard]] std::string name() const;
};

class export_shop {
 public:
  using file_names = std::vector<std::string>;

  export_shop(cluster_link& link, std::string folder);

  /// Tells the files, without the archive.
  void pack(const export_order& order, std::function<void(result<file_names>)> then);

  /// Path and query of a URL for one file.
  [[nodiscard]] std::string signed_path(const export_order& order, const std::string& file,
                                        std::uint64_t expires_unix_s) const;

  /// The file on disk that such a URL means.
  [[nodiscard]] result<std::string> open(const std::string& order_name, const std::string& file,
                                         std::uint64_t expires_unix_s,
                                         const std::string& signature) const;

  /// Removes what nobody has a valid URL for any more.
  void sweep();

 private:
  [[nodiscard]] std::string signature(const std::string& text) const;
  void packed(const std::string& order_name, const result<file_names>& files);

  cluster_link& link_;
  std::string folder_;
  std::string secret_;
  std::map<std::string, std::vector<std::function<void(result<file_names>)>>> waiting_;
  boost::asio::thread_pool packer_{1};
};

}  // namespace troupe::gateway
