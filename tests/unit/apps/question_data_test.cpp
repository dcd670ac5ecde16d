#include "apps/loops/question_data.hpp"

#include <filesystem>
#include <fstream>

#include <boost/test/unit_test.hpp>
#include <stdlib.h>

using namespace troupe;
using namespace troupe::loops;

namespace {

struct scratch_file {
  std::string path = "/tmp/troupe-questions-XXXXXX";
  scratch_file() { BOOST_REQUIRE(::mkstemp(path.data()) >= 0); }
  ~scratch_file() { std::filesystem::remove(path); }
  void write(const std::string& text) const { std::ofstream(path) << text; }
};

}  // namespace

BOOST_FIXTURE_TEST_CASE(answers_get_their_line_end_once, scratch_file) {
  write("{\"prompt\":\"a\",\"answer\":\"b\"}\n\n{\"prompt\":\"c\",\"answer\":\"d\\n\"}\n");
  const auto rows = read_question_file(path);
  BOOST_REQUIRE(rows.has_value());
  BOOST_TEST((*rows == std::vector<question>{{"a", "b\n"}, {"c", "d\n"}}));
}

BOOST_FIXTURE_TEST_CASE(a_bad_row_names_file_and_line, scratch_file) {
  for (const std::string row :
       {"{", "[]", "{\"prompt\":\"a\"}", "{\"prompt\":\"\",\"answer\":\"\"}"}) {
    write("{\"prompt\":\"a\",\"answer\":\"b\"}\n" + row + "\n");
    const auto rows = read_question_file(path);
    BOOST_REQUIRE(!rows.has_value());
    BOOST_TEST(rows.error().what.find(path + ":2: ") == 0U);
  }
  write("\n");
  BOOST_TEST(!read_question_file(path).has_value());
}
