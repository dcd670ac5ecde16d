// troupe demo: the whole performance, with a report.

#include "apps/troupe/demo/demo.hpp"

#include <sstream>

#include "apps/troupe/commands/all.hpp"

namespace troupe::apps {
namespace {

std::string summary_of(const demo_report& report, const std::string& folder) {
  std::ostringstream out;
  out << "accuracy " << report.accuracy_before << " -> " << report.accuracy_after_sft
      << " (SFT) -> " << report.accuracy_after_rl << " (GRPO)\nbase " << report.base_bytes
      << " bytes, deltas " << report.delta_bytes << " bytes on average\nlongest pause of serving "
      << report.sync_pause_ms << " ms\nweights " << report.weights_digest << "\nreport: " << folder
      << "/report.html";
  return out.str();
}

result<void> perform(const command_context& context, const demo_options& wanted) {
  progress shown(stderr, context.progress_form());
  const auto report = run_demo(wanted, shown);
  if (!report) return fail(report.error());
  context.answer(summary_of(*report, wanted.folder), to_object(*report));
  return {};
}

}  // namespace

void add_demo(CLI::App& program, command_context& context, command_action& chosen) {
  CLI::App* command = program.add_subcommand("demo", "train, serve, kill and recover, in minutes");
  const auto wanted = std::make_shared<demo_options>();
  command->add_option("--seed", wanted->seed, "of weights, data and answers")
      ->capture_default_str();
  command->add_option("--out", wanted->folder, "where the report goes (out/demo)");
  const auto calm = std::make_shared<bool>(false);
  command->add_flag("--no-faults", *calm, "kill nothing");
  set_action(*command, context, chosen, [&context, wanted, calm] {
    if (*calm) wanted->faults = fault_plan::none;
    return perform(context, *wanted);
  });
}

}  // namespace troupe::apps
