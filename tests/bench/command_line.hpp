#pragma once

// The command line of a benchmark: what they all understand, and the numbers that each lets a
// person choose. `troupe bench NAME ...` hands its words on to it.
//
// Threading: of main alone. Errors: a wrong word ends the program with what is wrong and how it is
// used; so does --help.

#include <cstdint>
#include <cstdlib>
#include <map>
#include <string>

#include <CLI/CLI.hpp>

namespace troupe::bench {

/// Numbers by the name of their option.
using choices = std::map<std::string, std::uint32_t>;

class command_line {
 public:
  explicit command_line(const std::string& about) : app_(about) {
    app_.add_flag("--json", as_json_, "JSON, which is printed anyway");
  }

  void add(const std::string& name, std::uint32_t& value, const std::string& about) {
    app_.add_option("--" + name, value, about)->capture_default_str();
  }
  void add(choices& numbers, const std::string& about) {
    for (auto& [name, value] : numbers)
      add(name, value, about);
  }
  void add_text(const std::string& name, std::string& value, const std::string& about) {
    app_.add_option("--" + name, value, about)->capture_default_str();
  }
  void add_baseline(std::string& python) {
    app_.add_option("--baseline", python, "Python with what to compare with; empty: no baseline");
  }
  /// For what only one of them has.
  [[nodiscard]] CLI::App& app() { return app_; }

  void parse(int argc, char** argv) {
    try {
      app_.parse(argc, argv);
    } catch (const CLI::ParseError& e) {
      std::exit(app_.exit(e));
    }
  }

 private:
  CLI::App app_;
  bool as_json_ = true;
};

}  // namespace troupe::bench
