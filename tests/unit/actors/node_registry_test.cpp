// Joining, placement, leases.

#include "actors/logic/node_registry.hpp"

#include <boost/test/unit_test.hpp>

namespace troupe::logic {
namespace {

attach_request node(const std::string& name, node_role role) {
  attach_request request;
  request.node = node_id{name};
  request.role = role;
  return request;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(node_registry_test)

BOOST_AUTO_TEST_CASE(placement_takes_idle_nodes_of_the_role_by_name) {
  node_registry nodes;
  for (const char* name : {"t2", "t1", "t3"}) {
    BOOST_TEST(nodes.join(node(name, node_role::trainer), 0).has_value());
  }
  BOOST_TEST(nodes.join(node("s1", node_role::sampler), 0).has_value());
  const auto two = nodes.acquire(node_role::trainer, 2, "run a");
  BOOST_REQUIRE(two.has_value());
  BOOST_TEST((*two)[0].value == "t1");
  BOOST_TEST((*two)[1].value == "t2");
  BOOST_TEST(!nodes.acquire(node_role::trainer, 2, "run b").has_value());
  BOOST_TEST((*nodes.acquire(node_role::trainer, 1, "run b"))[0].value == "t3");
  nodes.release("run a");
  BOOST_TEST(nodes.acquire(node_role::trainer, 2, "run c").has_value());
}

BOOST_AUTO_TEST_CASE(a_refused_placement_marks_nothing) {
  node_registry nodes;
  BOOST_TEST(nodes.join(node("t1", node_role::trainer), 0).has_value());
  BOOST_TEST(!nodes.acquire(node_role::trainer, 2, "run a").has_value());
  BOOST_TEST(nodes.acquire(node_role::trainer, 1, "run b").has_value());
}

BOOST_AUTO_TEST_CASE(a_name_joins_once) {
  node_registry nodes;
  BOOST_TEST(nodes.join(node("t1", node_role::trainer), 0).has_value());
  BOOST_TEST((nodes.join(node("t1", node_role::trainer), 1).error().code == errc::already_exists));
  nodes.leave(node_id{"t1"});
  BOOST_TEST(nodes.join(node("t1", node_role::trainer), 2).has_value());
}

BOOST_AUTO_TEST_CASE(a_lease_lasts_from_its_last_renewal) {
  node_registry nodes;
  BOOST_TEST(nodes.join(node("t1", node_role::trainer), 0).has_value());
  BOOST_TEST(nodes.renew(node_id{"t1"}, 900));
  BOOST_TEST(!nodes.renew(node_id{"t2"}, 900));
  BOOST_TEST(nodes.expired(1900, 1000).empty());
  BOOST_TEST(nodes.expired(1901, 1000).size() == 1U);
  BOOST_TEST(nodes.status(1901)[0].last_seen_ms == 1001U);
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace troupe::logic
