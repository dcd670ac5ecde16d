#include "apps/loops/sft_data.hpp"

#include <sstream>

#include <boost/test/unit_test.hpp>

using namespace troupe;
using namespace troupe::loops;

namespace {

void check_bad(const std::string& row, const std::string& hint) {
  std::istringstream in("{\"text\":\"ab\"}\n\n" + row + "\n");
  const auto rows = read_sft_rows(in, "d.jsonl", 256);
  BOOST_REQUIRE(!rows.has_value());
  BOOST_TEST((rows.error().code == errc::invalid_argument));
  BOOST_TEST(rows.error().what.find("d.jsonl:3: ") == 0U);
  BOOST_TEST(rows.error().what.find(hint) != std::string::npos);
}

}  // namespace

BOOST_AUTO_TEST_CASE(tokens_and_weights_are_shifted) {
  const auto row = parse_sft_row(R"({"tokens":[1,2,3],"weights":[9,0,0.5]})", 10);
  BOOST_REQUIRE(row.has_value());
  BOOST_TEST((row->tokens == std::vector<token_id>{1, 2}));
  BOOST_TEST((row->target_tokens == std::vector<token_id>{2, 3}));
  BOOST_TEST((row->weights == std::vector<float>{0, 0.5F}));
}

BOOST_AUTO_TEST_CASE(a_completion_is_trained_on_and_its_prompt_is_not) {
  const auto row = parse_sft_row(R"({"prompt":"ab","completion":"cd"})", 256);
  BOOST_REQUIRE(row.has_value());
  BOOST_TEST((row->weights == std::vector<float>{0, 1, 1}));
  BOOST_TEST((*row == make_datum({'a', 'b', 'c', 'd'}, 2)));
}

BOOST_AUTO_TEST_CASE(bad_rows_name_file_and_line) {
  check_bad("{", "JSON");
  check_bad("[1]", "object");
  check_bad("{}", "fields");
  check_bad(R"({"tokens":[1,2],"weights":[1]})", "2 tokens but 1 weights");
  check_bad(R"({"tokens":[1,256],"weights":[1,1]})", "256");
  check_bad(R"({"tokens":[1,-1],"weights":[1,1]})", "-1");
  check_bad(R"({"tokens":[1,2],"weights":[1,1e99]})", "finite");
  check_bad(R"({"tokens":[1],"weights":[1]})", "two tokens");
  check_bad(R"({"tokens":[1,2]})", "weights");
}

BOOST_AUTO_TEST_CASE(text_needs_a_byte_level_model) {
  BOOST_TEST(!parse_sft_row(R"({"text":"abc"})", 1000).has_value());
}

BOOST_AUTO_TEST_CASE(an_empty_file_is_refused) {
  std::istringstream in("\n");
  BOOST_TEST(!read_sft_rows(in, "d.jsonl", 256).has_value());
  BOOST_TEST((read_sft_file("/nonexistent/d", 256).error().code == errc::not_found));
}
