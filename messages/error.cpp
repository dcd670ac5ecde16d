#include "messages/error.hpp"

#include <array>

namespace troupe {
namespace {

struct code_traits {
  std::string_view name;
  error_category category;
  bool retryable;
};

constexpr std::array<code_traits, 27> traits{{
    {"none", error_category::system, false},
    {"invalid_argument", error_category::user, false},
    {"not_found", error_category::user, false},
    {"already_exists", error_category::user, false},
    {"bad_model", error_category::user, false},
    {"unsupported", error_category::user, false},
    {"not_finite", error_category::user, false},
    {"seq_reused", error_category::user, false},
    {"seq_gap", error_category::user, false},
    {"fenced", error_category::fenced, false},
    {"busy", error_category::capacity, true},
    {"no_capacity", error_category::capacity, true},
    {"frame_too_large", error_category::user, false},
    {"timeout", error_category::system, true},
    {"peer_lost", error_category::system, true},
    {"wrong_base", error_category::system, false},
    {"corrupt", error_category::system, false},
    {"storage", error_category::system, false},
    {"storage_full", error_category::capacity, true},
    {"in_use", error_category::user, false},
    {"engine_not_built", error_category::user, false},
    {"engine", error_category::system, false},
    {"protocol", error_category::system, false},
    {"aborted", error_category::system, false},
    {"cancelled", error_category::user, false},
    {"internal", error_category::system, false},
    {"rolled_back", error_category::user, false},
}};

const code_traits& traits_of(errc code) {
  const auto index = static_cast<std::size_t>(code);
  return traits.at(index < traits.size() ? index : static_cast<std::size_t>(errc::internal));
}

}  // namespace

bool is_retryable(errc code) {
  return traits_of(code).retryable;
}

error_category category_of(errc code) {
  return traits_of(code).category;
}

std::string_view to_string(errc code) {
  return traits_of(code).name;
}

std::string to_string(const error& e) {
  std::string line = e.what;
  if (!e.cause.empty()) line += " (" + e.cause + ")";
  if (!e.action.empty()) line += ": " + e.action;
  return line;
}

}  // namespace troupe
