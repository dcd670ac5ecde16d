#include "apps/support/progress.hpp"

#include <boost/test/unit_test.hpp>

using namespace troupe::apps;

BOOST_AUTO_TEST_CASE(a_line_shows_its_share_and_keeps_its_width) {
  const std::string half = progress_line("sft", 5, 10, "loss 1.5", 100);
  BOOST_TEST(half == "sft [============            ] 5/10  loss 1.5");
  BOOST_TEST(progress_line("sft", 5, 10, std::string(200, 'x'), 60).size() == 60U);
  BOOST_TEST(progress_line("a", 0, 0, "", 100) == "a [                        ] 0/0");
}
