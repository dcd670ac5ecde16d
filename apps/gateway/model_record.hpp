#pragma once

// What a client said about a model when it made it, and must hear again later: kept in one small
// file per model, `<data>/gateway/<run>.json`, because the cluster itself knows only the run.
//
// Threading: pure functions over files. Errors: errc::storage, errc::not_found.

#include <cstdint>
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

  /// Of the run; none when every parameter is trained.
  [[nodiscard]] std::optional<troupe::lora_config> adapters() const;
};

[[nodiscard]] result<void> write_record(const std::string& data_folder, const model_record& record);
[[nodiscard]] result<model_record> read_record(const std::string& data_folder, const run_id& run);

/// Of all models whose run's name starts with `prefix`.
[[nodiscard]] std::vector<model_record> read_records(const std::string& data_folder,
                                                     const std::string& prefix);

}  // namespace troupe::gateway
