#pragma once

// What a client said about a model when it made it, and must hear again later: kept in one small
// file per model, `<data>/gateway/<run>.json`, because the cluster itself knows only the run.
//
// Threading: the loop's thread. Errors: errc::storage, errc::not_found.

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include <boost/json.hpp>

#include "messages/error.hpp"
#include "messages/ids.hpp"
#include "messages/model.hpp"
#include "messages/tinker/requests.hpp"

namespace troupe::gateway {

struct model_record {
  std::string model_id;
  run_id run;
  std::string base_model;
  std::string directory;      ///< of the base model
  bool is_lora = false;       ///< what the client asked for
  bool has_adapters = false;  ///< what it got
  tinker::lora_config lora;
  boost::json::object user_metadata;
  std::uint64_t created_unix_ms = 0;
  bool is_copy = false;  ///< holds copied weights only; there is no run

  /// Of the run; none when every parameter is trained.
  [[nodiscard]] std::optional<troupe::lora_config> adapters() const;
};

class model_book {
 public:
  /// Reads what an earlier gateway wrote.
  explicit model_book(std::string folder);

  [[nodiscard]] result<void> add(model_record record);
  [[nodiscard]] result<model_record> find(const std::string& model_id) const;

  /// Of a key or of a session, newest first.
  [[nodiscard]] std::vector<model_record> of_prefix(const std::string& prefix) const;

 private:
  std::string folder_;
  std::map<std::string, model_record> records_;  ///< by model_id
};

}  // namespace troupe::gateway
