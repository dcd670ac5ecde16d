// Which memory nodes processes get, on machines that are only described.

#include "apps/node/memory_nodes.hpp"

#include <vector>

#include <boost/test/unit_test.hpp>

using namespace troupe;
using namespace troupe::node;

namespace {

memory_place place(machine_share share, const std::string& described) {
  const auto found = find_place(share, described);
  BOOST_REQUIRE(found.has_value());
  return *found;
}

}  // namespace

BOOST_AUTO_TEST_CASE(every_node_has_a_process_and_none_has_two_more_than_another) {
  for (std::uint32_t num_nodes = 1; num_nodes <= 9; ++num_nodes)
    for (std::uint32_t count = 1; count <= 20; ++count) {
      std::vector<std::uint32_t> processes(num_nodes);
      for (std::uint32_t index = 0; index < count; ++index) {
        const node_range range = nodes_of({index, count}, num_nodes);
        BOOST_REQUIRE(range.first < range.end);
        BOOST_REQUIRE(range.end <= num_nodes);
        for (std::uint32_t node = range.first; node < range.end; ++node)
          ++processes[node];
      }
      const auto [least, most] = std::ranges::minmax(processes);
      BOOST_TEST(least >= 1U);
      BOOST_TEST(most - least <= 1U);
    }
}

BOOST_AUTO_TEST_CASE(processes_get_the_cores_of_their_nodes) {
  const std::string two_sockets = "pack:2 [numa] core:4 pu:2";
  BOOST_TEST(place({0, 2}, two_sockets).cores == "0-7");
  BOOST_TEST(place({1, 2}, two_sockets).cores == "8-15");
  BOOST_TEST(place({1, 2}, two_sockets).nodes == "1");
  BOOST_TEST(place({2, 4}, two_sockets).cores == "8-15");
}

BOOST_AUTO_TEST_CASE(one_process_may_get_several_nodes) {
  const std::string four_nodes = "numa:4 core:2 pu:1";
  BOOST_TEST(place({0, 1}, four_nodes).nodes == "0-3");
  BOOST_TEST(place({1, 2}, four_nodes).nodes == "2-3");
  BOOST_TEST(place({1, 2}, four_nodes).cores == "4-7");
}

BOOST_AUTO_TEST_CASE(with_one_node_there_is_nothing_to_choose) {
  BOOST_TEST(place({0, 2}, "numa:1 core:4 pu:1").cores == "");
  BOOST_TEST(place({0, 2}, "numa:1 core:4 pu:1").nodes == "");
}

BOOST_AUTO_TEST_CASE(a_wrong_description_is_refused) {
  BOOST_TEST(!find_place({0, 1}, "two of everything").has_value());
}

BOOST_AUTO_TEST_CASE(this_machine_has_a_place_or_says_why_not) {
  const auto stayed = stay_near({0, 1});
  if (!stayed) BOOST_TEST((stayed.error().code == errc::engine));
}
