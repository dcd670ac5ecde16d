// troupe: everything a person does with a cluster. Exit status 0: done; 1: it failed; 2: wrong use.

#include <cstdio>

#include "apps/support/json.hpp"
#include "apps/troupe/commands/all.hpp"

namespace {

int report(const troupe::error& e, const troupe::apps::command_context& context) {
  if (context.wants_json) {
    std::fprintf(stdout, "%s\n", boost::json::serialize(troupe::apps::to_json(e)).c_str());
  } else {
    std::fprintf(stderr, "troupe: %s\n", to_string(e).c_str());
  }
  return 1;
}

}  // namespace

int main(int count, char** words) {
  using namespace troupe::apps;
  CLI::App program("Trains, checkpoints and serves models on a cluster of your own.", "troupe");
  program.require_subcommand(1);
  command_context context;
  command_action chosen;
  for (const add_command add :
       {add_up, add_down, add_status, add_run, add_score, add_checkpoint, add_deployment,
        add_sample, add_model, add_key, add_doctor, add_bench, add_demo}) {
    add(program, context, chosen);
  }
  try {
    program.parse(count, words);
  } catch (const CLI::ParseError& e) {
    const auto unknown = program.remaining(true);
    if (e.get_name() == "RequiredError" && !unknown.empty()) {
      const char* const what = unknown.front().starts_with('-') ? "option" : "command";
      std::fprintf(stderr, "troupe: there is no %s '%s'; see --help for those there are\n", what,
                   unknown.front().c_str());
      return 2;
    }
    return program.exit(e) == 0 ? 0 : 2;
  }
  const auto done = chosen();
  return done ? 0 : report(done.error(), context);
}
