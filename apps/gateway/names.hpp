#pragma once

// The ids that clients see, and what they say by themselves: the key that owns a thing stands in
// front of its session, the session in front of its models and samplers. So ownership is decided
// without a look-up and survives a restart.
//
//   session  <key id>-<random>     model  <session>:train:<n>     sampler  <session>:sample:<n>
//
// Threading: pure functions.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "messages/ids.hpp"

namespace troupe::gateway {

[[nodiscard]] std::string new_session_id(const std::string& key_id, const std::string& random);
[[nodiscard]] std::string model_id_of(const std::string& session, std::uint64_t number);
[[nodiscard]] std::string sampler_id_of(const std::string& session, std::uint64_t number);

/// One of the clients that share a sampling session.
[[nodiscard]] std::string channel_of(const std::string& sampler_id, std::uint64_t clone);

/// What identifies a repeat of an operation on a model.
[[nodiscard]] std::string op_key(const std::string& model_id, std::uint64_t seq_id);

/// True when the id is well-formed and belongs to the key.
[[nodiscard]] bool owns(const std::string& key_id, std::string_view id);

/// Whose it is.
[[nodiscard]] std::string key_of(std::string_view id);

/// The session of a model or sampler id.
[[nodiscard]] std::string session_of(std::string_view id);

/// The cluster's name of a model; none when the id is no model's.
[[nodiscard]] std::optional<run_id> run_of(std::string_view model_id);

}  // namespace troupe::gateway
