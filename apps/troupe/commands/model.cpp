// troupe model create: a small model with random weights, to try things on.

#include "apps/support/seeded_model.hpp"
#include "apps/troupe/commands/all.hpp"
#include "gpu/models/parameter_layout.hpp"

namespace troupe::apps {
namespace {

struct model_options {
  std::string directory;
  std::uint32_t hidden_size = 128;
  std::uint32_t num_layers = 3;
  std::uint64_t seed = 0;
};

result<void> create(const command_context& context, const model_options& wanted) {
  const model_config model = byte_level_qwen3(wanted.hidden_size, wanted.num_layers);
  if (auto ok = write_seeded_model(wanted.directory, model, wanted.seed); !ok) return ok;
  const std::uint64_t count = gpu::num_parameters(model);
  context.answer("wrote " + std::to_string(count) + " parameters to " + wanted.directory,
                 {{"directory", wanted.directory}, {"parameters", count}, {"seed", wanted.seed}});
  return {};
}

}  // namespace

void add_model(CLI::App& program, command_context& context, command_action& chosen) {
  CLI::App* group = program.add_subcommand("model", "model directories");
  group->require_subcommand(1);
  CLI::App* command = group->add_subcommand("create", "write a seeded byte-level Qwen3");
  const auto wanted = std::make_shared<model_options>();
  command->add_option("directory", wanted->directory)->required();
  command->add_option("--hidden", wanted->hidden_size, "multiple of 8");
  command->add_option("--layers", wanted->num_layers);
  command->add_option("--seed", wanted->seed);
  set_action(*command, context, chosen, [&context, wanted] { return create(context, *wanted); });
}

}  // namespace troupe::apps
