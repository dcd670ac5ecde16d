#pragma once

// The names that clients gave to saved weights, what each of them is in the cluster, and who may
// read it: `<folder>/<run>.json`. A checkpoint whose last name goes may be removed.
//
// Threading: the loop's thread. Errors: errc::not_found, errc::already_exists, errc::storage.
// Invariants: BOOK-1 a name is on disk before it is answered.

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include <boost/json.hpp>

#include "messages/checkpoint.hpp"
#include "messages/error.hpp"
#include "messages/tinker/checkpoint_path.hpp"

namespace troupe::gateway {

enum class visibility : std::uint8_t { owner = 0, everybody = 1 };

struct saved_weights {
  tinker::checkpoint_path path;
  checkpoint_id checkpoint;
  std::uint64_t bytes = 0;
  std::uint64_t created_unix_ms = 0;
  std::uint64_t expires_unix_ms = 0;  ///< 0: never
  visibility readers = visibility::owner;
  boost::json::object user_metadata;
  std::string made_by;                  ///< the request that gave the name
  std::vector<std::string> recipients;  ///< age keys for which its files are encrypted
};

class weights_book {
 public:
  /// Reads what an earlier gateway wrote.
  explicit weights_book(std::string folder);

  /// A name that is there is replaced.
  [[nodiscard]] result<void> put(saved_weights entry);
  [[nodiscard]] const saved_weights* find(const tinker::checkpoint_path& path) const;

  /// errc::not_found unless the key may read it.
  [[nodiscard]] result<saved_weights> readable(const std::string& key_id,
                                               const tinker::checkpoint_path& path) const;

  /// The checkpoint, when this was its last name.
  [[nodiscard]] result<checkpoint_id> remove(const tinker::checkpoint_path& path);

  /// Of one model, oldest first.
  [[nodiscard]] std::vector<saved_weights> of_model(const std::string& model_id) const;
  /// Of all models of a key, newest first.
  [[nodiscard]] std::vector<saved_weights> of_key(const std::string& key_id) const;
  [[nodiscard]] std::vector<tinker::checkpoint_path> expired(std::uint64_t now_unix_ms) const;

 private:
  using names = std::map<std::string, saved_weights>;  ///< by kind and name

  void load(const std::string& path);
  [[nodiscard]] result<void> write(const std::string& model_id) const;

  std::string folder_;
  std::map<std::string, names> models_;
};

}  // namespace troupe::gateway
