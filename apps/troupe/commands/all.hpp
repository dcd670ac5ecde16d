#pragma once

// Every command of `troupe`, one unit each. Each adds itself to the program's parser.
//
// Threading: one thread.

#include "apps/troupe/commands/context.hpp"

namespace troupe::apps {

using add_command = void (*)(CLI::App& program, command_context& context, command_action& chosen);

void add_up(CLI::App& program, command_context& context, command_action& chosen);
void add_down(CLI::App& program, command_context& context, command_action& chosen);
void add_status(CLI::App& program, command_context& context, command_action& chosen);
void add_run(CLI::App& program, command_context& context, command_action& chosen);
void add_score(CLI::App& program, command_context& context, command_action& chosen);
void add_checkpoint(CLI::App& program, command_context& context, command_action& chosen);
void add_deployment(CLI::App& program, command_context& context, command_action& chosen);
void add_sample(CLI::App& program, command_context& context, command_action& chosen);
void add_model(CLI::App& program, command_context& context, command_action& chosen);
void add_doctor(CLI::App& program, command_context& context, command_action& chosen);
void add_key(CLI::App& program, command_context& context, command_action& chosen);
void add_bench(CLI::App& program, command_context& context, command_action& chosen);
void add_demo(CLI::App& program, command_context& context, command_action& chosen);

}  // namespace troupe::apps
