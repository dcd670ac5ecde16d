#pragma once

// The JSON requests of the Tinker protocol that make, change and save models. Names and meaning of
// the fields are the protocol's.
//
// Threading: pure functions. Errors: errc::invalid_argument naming the field.

#include <cstdint>
#include <optional>
#include <string>

#include <boost/json.hpp>

#include "messages/error.hpp"
#include "messages/training.hpp"

namespace troupe::tinker {

struct lora_config {
  std::uint32_t rank = 0;
  std::uint64_t seed = 0;
  bool train_unembed = true;
  bool train_mlp = true;
  bool train_attn = true;
};

struct create_model_call {
  std::string session_id;
  std::uint64_t model_seq_id = 0;
  std::string base_model;
  std::optional<lora_config> lora;
  boost::json::object user_metadata;
};

struct optim_step_call {
  std::string model_id;
  std::uint64_t seq_id = 0;
  adam_params adam;
};

struct save_weights_call {
  std::string model_id;
  std::uint64_t seq_id = 0;
  std::string name;               ///< empty: the server chooses one
  std::uint64_t ttl_seconds = 0;  ///< 0: kept for good
  bool overwrite = false;         ///< else a name is used once
  boost::json::object user_metadata;
};

struct save_for_sampler_call {
  std::string model_id;
  std::uint64_t seq_id = 0;
  std::string name;                                      ///< empty: for a new sampling session
  std::optional<std::uint64_t> sampling_session_seq_id;  ///< of that session
  std::uint64_t ttl_seconds = 0;                         ///< 0: kept for good
  bool overwrite = false;
  boost::json::object user_metadata;
};

/// Into an existing model (`model_id`), or into a new one (`session_id`, `model_seq_id`).
struct load_weights_call {
  std::string model_id;
  std::uint64_t seq_id = 0;
  std::string session_id;
  std::uint64_t model_seq_id = 0;
  std::optional<std::string> base_model;
  boost::json::object user_metadata;
  std::string path;
  optimizer_state optimizer = optimizer_state::reset;
};

struct create_sampling_session_call {
  std::string session_id;
  std::uint64_t sampling_session_seq_id = 0;
  std::optional<std::string> base_model;
  std::optional<std::string> model_path;
};

[[nodiscard]] result<create_model_call> decode_create_model(const boost::json::object& in);
[[nodiscard]] result<optim_step_call> decode_optim_step(const boost::json::object& in);
[[nodiscard]] result<save_weights_call> decode_save_weights(const boost::json::object& in);
[[nodiscard]] result<save_for_sampler_call> decode_save_for_sampler(const boost::json::object& in);
[[nodiscard]] result<load_weights_call> decode_load_weights(const boost::json::object& in);
[[nodiscard]] result<create_sampling_session_call> decode_create_sampling_session(
    const boost::json::object& in);

}  // namespace troupe::tinker
