// What batches may take of a machine's memory.

#include "apps/node/machine_memory.hpp"

#include <boost/test/unit_test.hpp>

#include "config/limits.hpp"

namespace {

using namespace troupe;
using node::batch_budget;
using node::parse_memory_limit;

constexpr std::uint64_t gibibyte = 1024 * limits::mebibyte;

BOOST_AUTO_TEST_CASE(processes_share_half_of_the_machine) {
  BOOST_TEST(batch_budget(8 * gibibyte, 1) == 4 * gibibyte);
  BOOST_TEST(batch_budget(8 * gibibyte, 4) == gibibyte);
  BOOST_TEST(batch_budget(8 * gibibyte, 0) == 4 * gibibyte);
}

BOOST_AUTO_TEST_CASE(the_budget_has_bounds) {
  BOOST_TEST(batch_budget(1024 * gibibyte, 2) == limits::batch_activation_bytes_max);
  BOOST_TEST(batch_budget(gibibyte, 64) == 256 * limits::mebibyte);
  BOOST_TEST(batch_budget(0, 3) == limits::batch_activation_bytes_max);
}

BOOST_AUTO_TEST_CASE(limits_of_containers_are_read) {
  BOOST_TEST(*parse_memory_limit("4294967296") == 4 * gibibyte);
  for (const char* text : {"", "max", "-1", "12x", "99999999999999999999999"})
    BOOST_TEST(!parse_memory_limit(text).has_value());
}

BOOST_AUTO_TEST_CASE(this_machine_has_memory) {
  BOOST_TEST(node::machine_memory_bytes() > 64 * limits::mebibyte);
}

}  // namespace
