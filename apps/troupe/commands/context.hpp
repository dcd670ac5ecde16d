#pragma once

// What every command of `troupe` gets, and how it ends.
//
// Threading: one thread. Exit statuses: 0 done, 1 it failed, 2 wrong use.

#include <cstdio>
#include <functional>
#include <string>

#include <CLI/CLI.hpp>
#include <boost/json.hpp>

#include "apps/client/service_client.hpp"
#include "apps/support/progress.hpp"
#include "config/deadlines.hpp"
#include "messages/error.hpp"

namespace troupe::apps {

enum class output_form : std::uint8_t { text = 0, json = 1 };

class command_context {
 public:
  std::string data_folder = "troupe-data";
  bool wants_json = false;
  /// A control node that is being started again is waited for this long.
  std::uint32_t wait_s = deadlines::command_wait.count();

  [[nodiscard]] output_form form() const {
    return wants_json ? output_form::json : output_form::text;
  }

  /// Progress belongs on stderr, so that stdout holds the answer alone.
  [[nodiscard]] progress_mode progress_form() const {
    return wants_json ? progress_mode::silent : progress_mode_of(stderr);
  }

  /// Errors: errc::not_found at once when no cluster ever ran there.
  [[nodiscard]] result<client::service_client> connect() const;

  /// The answer: `text` for people, `object` for programs.
  void answer(const std::string& text, const boost::json::object& object) const;
};

/// What `--help` says of an argument that names a checkpoint, in every command.
inline constexpr const char* checkpoint_help = "id, or its first 6 digits or more";

/// What a parsed command does.
using command_action = std::function<result<void>()>;

/// Puts `--data-folder`, `--wait-s` and `--json` on a command and makes `action` its effect.
void set_action(CLI::App& command, command_context& context, command_action& chosen,
                command_action action);

}  // namespace troupe::apps
