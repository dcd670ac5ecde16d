// troupe model create|delta|apply: a small model to try things on, and differences between model
// directories in the form of Fireworks' hot-load.

#include "apps/support/seeded_model.hpp"
#include "apps/troupe/commands/all.hpp"
#include "gpu/models/parameter_layout.hpp"
#include "storage/arc_delta.hpp"

namespace troupe::apps {
namespace {

struct model_options {
  std::string directory;
  std::string before;
  std::string after;
  std::uint32_t hidden_size = 128;
  std::uint32_t num_layers = 3;
  std::uint64_t seed = 0;
  bool is_untied = false;
};

result<void> create(const command_context& context, const model_options& wanted) {
  model_config model = byte_level_qwen3(wanted.hidden_size, wanted.num_layers);
  model.tied_head = !wanted.is_untied;
  if (auto ok = write_seeded_model(wanted.directory, model, wanted.seed); !ok) return ok;
  const std::uint64_t count = gpu::num_parameters(model);
  context.answer("wrote " + std::to_string(count) + " parameters to " + wanted.directory,
                 {{"directory", wanted.directory}, {"parameters", count}, {"seed", wanted.seed}});
  return {};
}

void show(const command_context& context, const storage::arc_summary& done,
          const std::string& directory) {
  context.answer("wrote " + directory + ": " + std::to_string(done.tensors) + " tensors of " +
                     std::to_string(done.bytes) + " bytes, differences of " +
                     std::to_string(done.delta_bytes),
                 {{"directory", directory},
                  {"files", done.files},
                  {"tensors", done.tensors},
                  {"bytes", done.bytes},
                  {"delta_bytes", done.delta_bytes}});
}

using arc_step = result<storage::arc_summary> (*)(const std::string&, const std::string&,
                                                  const std::string&);

void add_arc(CLI::App& group, command_context& context, command_action& chosen,
             const std::shared_ptr<model_options>& wanted, const char* name, const char* about,
             const char* second, const char* second_help, arc_step step) {
  CLI::App* command = group.add_subcommand(name, about);
  command->add_option("before", wanted->before, "directory that it starts from")->required();
  command->add_option(second, wanted->after, second_help)->required();
  command->add_option("directory", wanted->directory, "must not exist")->required();
  set_action(*command, context, chosen, [&context, wanted, step]() -> result<void> {
    const auto done = step(wanted->before, wanted->after, wanted->directory);
    if (!done) return fail(done.error());
    show(context, *done, wanted->directory);
    return {};
  });
}

}  // namespace

void add_model(CLI::App& program, command_context& context, command_action& chosen) {
  CLI::App* group = program.add_subcommand("model", "model directories");
  group->require_subcommand(1);
  CLI::App* command = group->add_subcommand("create", "write a seeded byte-level Qwen3");
  const auto wanted = std::make_shared<model_options>();
  command->add_option("directory", wanted->directory, "must not exist")->required();
  command->add_option("--hidden", wanted->hidden_size, "width, a multiple of 8")
      ->capture_default_str();
  command->add_option("--layers", wanted->num_layers, "blocks")->capture_default_str();
  command->add_option("--seed", wanted->seed, "of the weights")->capture_default_str();
  command->add_flag("--untied", wanted->is_untied,
                    "a vocabulary head of its own, which adapters can train");
  set_action(*command, context, chosen, [&context, wanted] { return create(context, *wanted); });
  add_arc(*group, context, chosen, wanted, "delta", "write what turns one directory into another",
          "after", "directory that it leads to", storage::write_arc_delta);
  add_arc(*group, context, chosen, wanted, "apply", "write a directory with a delta applied",
          "delta", "directory that `model delta` wrote", storage::apply_arc_delta);
}

}  // namespace troupe::apps
