#include "apps/loops/question_data.hpp"

#include <fstream>

#include "apps/support/json.hpp"
#include "config/limits.hpp"

namespace troupe::loops {
namespace {

result<question> parse_question(const std::string& line) {
  const auto parsed = apps::parse_json(line);
  if (!parsed) return fail(parsed.error());
  if (!parsed->is_object()) return fail(errc::invalid_argument, "the row is no JSON object");
  const auto prompt = apps::text_of(parsed->get_object(), "prompt");
  auto answer = apps::text_of(parsed->get_object(), "answer");
  if (!prompt || !answer || prompt->empty()) {
    return fail(errc::invalid_argument, "the row has no \"prompt\" and \"answer\"");
  }
  if (!answer->ends_with('\n')) *answer += '\n';
  return question{*prompt, *answer};
}

}  // namespace

result<std::vector<question>> read_question_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    return fail(errc::not_found, "cannot read " + path, "it is missing or not readable",
                "check the path");
  }
  std::vector<question> rows;
  std::string line;
  for (std::uint64_t number = 1; std::getline(file, line); ++number) {
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    auto row = rows.size() < limits::data_rows_max
                   ? parse_question(line)
                   : fail(errc::invalid_argument, "the file has too many rows");
    if (!row) {
      error e = row.error();
      e.what = path + ":" + std::to_string(number) + ": " + e.what;
      return fail(std::move(e));
    }
    rows.push_back(std::move(*row));
  }
  if (rows.empty()) return fail(errc::invalid_argument, path + " has no rows");
  return rows;
}

}  // namespace troupe::loops
