#pragma once

// What clients sample from: their sampling sessions by id. Each is also a line of
// `<folder>/<session>.samplers`, so that sampling clients outlive the gateway.
//
// Threading: the loop's thread. Errors: errc::storage.

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "messages/error.hpp"
#include "messages/ids.hpp"

namespace troupe::gateway {

struct sampling_session {
  std::string directory;   ///< of the base model
  checkpoint_id weights;   ///< empty: the base's own
  std::string model_path;  ///< empty for the base and for unnamed weights
};

class sampler_table {
 public:
  /// Reads what an earlier gateway wrote.
  explicit sampler_table(std::string folder);

  /// The file that must be flushed before anybody hears of it.
  [[nodiscard]] result<std::string> add(const std::string& id, sampling_session entry);
  [[nodiscard]] const sampling_session* find(const std::string& id) const;

  /// What the sessions sample from, each once, but for what is a base's own.
  [[nodiscard]] std::vector<checkpoint_id> weights() const;

  /// A number that no other client of this sampling session got.
  [[nodiscard]] std::uint64_t join(const std::string& id);

  /// Ids of a client session.
  [[nodiscard]] std::vector<std::string> of_session(const std::string& session_id) const;
  void end_session(const std::string& session_id);

 private:
  [[nodiscard]] std::string path_of(const std::string& session_id) const;
  void load(const std::string& path);

  std::string folder_;
  std::map<std::string, sampling_session> samplers_;
  std::map<std::string, std::uint64_t> joined_;
};

}  // namespace troupe::gateway
