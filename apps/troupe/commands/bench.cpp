// troupe bench NAME ...: runs a benchmark program that lies beside this one, with the words behind
// its name; without a name it lists them.

#include <algorithm>
#include <filesystem>

#include <unistd.h>

#include "apps/troupe/commands/all.hpp"

namespace troupe::apps {
namespace {

constexpr std::string_view suffix = "_bench";

std::filesystem::path own_folder() {
  std::error_code problem;
  return std::filesystem::read_symlink("/proc/self/exe", problem).parent_path();
}

std::vector<std::string> known_benches() {
  std::vector<std::string> names;
  std::error_code problem;
  for (const auto& entry : std::filesystem::directory_iterator(own_folder(), problem)) {
    std::string name = entry.path().filename().string();
    if (!name.ends_with(suffix)) continue;
    name.resize(name.size() - suffix.size());
    names.push_back(std::move(name));
  }
  std::sort(names.begin(), names.end());
  return names;
}

result<void> list(const command_context& context) {
  std::string lines;
  boost::json::array all;
  for (const std::string& name : known_benches()) {
    lines += (lines.empty() ? "" : "\n") + name;
    all.emplace_back(name);
  }
  context.answer(lines, {{"benchmarks", std::move(all)}});
  return {};
}

/// Becomes that program; returns only when it cannot.
result<void> become(const command_context& context, const std::string& name,
                    const std::vector<std::string>& rest) {
  const auto known = known_benches();
  if (std::find(known.begin(), known.end(), name) == known.end()) {
    return fail(errc::not_found, "there is no benchmark '" + name + "'",
                "a typing error, or a build without tests", "`troupe bench` lists what there is");
  }
  const std::string program = (own_folder() / (name + std::string(suffix))).string();
  std::vector<std::string> words{program};
  words.insert(words.end(), rest.begin(), rest.end());
  if (context.wants_json) words.emplace_back("--json");
  std::vector<char*> pointers;
  for (std::string& word : words)
    pointers.push_back(word.data());
  pointers.push_back(nullptr);
  ::execv(program.c_str(), pointers.data());
  return fail(errc::not_found, "cannot run " + program, "it is not executable", "build it again");
}

}  // namespace

void add_bench(CLI::App& program, command_context& context, command_action& chosen) {
  CLI::App* command = program.add_subcommand("bench", "measure; without a name: what there is");
  // From the name on every word is the benchmark's, `--help` among them.
  command->prefix_command();
  command->footer("troupe bench NAME --help explains one of them");
  set_action(*command, context, chosen, [&context, command]() -> result<void> {
    auto words = command->remaining();
    if (words.empty()) return list(context);
    const std::string name = words.front();
    words.erase(words.begin());
    return become(context, name, words);
  });
}

}  // namespace troupe::apps
