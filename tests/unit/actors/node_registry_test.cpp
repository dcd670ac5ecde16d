// Joining, placement, leases.

#include "actors/logic/node_registry.hpp"

#include <boost/test/unit_test.hpp>

namespace troupe::logic {
namespace {

constexpr auto whole = node_share::whole;
constexpr auto slot = node_share::slot;

attach_request node(const std::string& name, node_role role, std::uint32_t slots = 1) {
  attach_request request;
  request.slots = slots;
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
  const auto two = nodes.acquire(node_role::trainer, 2, "run a", whole);
  BOOST_REQUIRE(two.has_value());
  BOOST_TEST((*two)[0].value == "t1");
  BOOST_TEST((*two)[1].value == "t2");
  BOOST_TEST(!nodes.acquire(node_role::trainer, 2, "run b", whole).has_value());
  BOOST_TEST((*nodes.acquire(node_role::trainer, 1, "run b", whole))[0].value == "t3");
  nodes.release("run a");
  BOOST_TEST(nodes.acquire(node_role::trainer, 2, "run c", whole).has_value());
}

BOOST_AUTO_TEST_CASE(a_leaving_node_keeps_what_it_hosts_and_gets_nothing_new) {
  node_registry nodes;
  for (const char* name : {"t1", "t2"}) {
    BOOST_TEST(nodes.join(node(name, node_role::trainer), 0).has_value());
  }
  BOOST_TEST(nodes.acquire(node_role::trainer, 1, "run a", whole).has_value());
  BOOST_TEST((nodes.set_leaving(node_id{"t1"}) == std::vector<std::string>{"run a"}));
  BOOST_TEST(nodes.set_leaving(node_id{"nobody"}).empty());
  nodes.release("run a");
  BOOST_TEST(nodes.hosting(node_id{"t1"}).empty());
  BOOST_TEST(!nodes.acquire(node_role::trainer, 2, "run a", whole).has_value());
  BOOST_TEST((*nodes.acquire(node_role::trainer, 1, "run a", whole))[0].value == "t2");
}

BOOST_AUTO_TEST_CASE(a_refused_placement_marks_nothing) {
  node_registry nodes;
  BOOST_TEST(nodes.join(node("t1", node_role::trainer), 0).has_value());
  BOOST_TEST(!nodes.acquire(node_role::trainer, 2, "run a", whole).has_value());
  BOOST_TEST(nodes.acquire(node_role::trainer, 1, "run b", whole).has_value());
}

BOOST_AUTO_TEST_CASE(sharers_spread_over_nodes_until_slots_are_full) {
  node_registry nodes;
  BOOST_TEST(nodes.join(node("t1", node_role::trainer, 2), 0).has_value());
  BOOST_TEST(nodes.join(node("t2", node_role::trainer, 2), 0).has_value());
  const auto place = [&nodes](const char* what) {
    const auto taken = nodes.acquire(node_role::trainer, 1, what, slot);
    return taken ? taken->front().value : std::string("none");
  };
  BOOST_TEST(place("a") == "t1");
  BOOST_TEST(place("b") == "t2");
  BOOST_TEST(place("c") == "t1");
  BOOST_TEST(place("d") == "t2");
  BOOST_TEST(place("e") == "none");
  BOOST_TEST(nodes.status(0)[0].hosting == "a, c");
  BOOST_TEST(nodes.status(0)[0].free_slots == 0U);
  nodes.release("a");
  BOOST_TEST(nodes.status(0)[0].free_slots == 1U);
  BOOST_TEST(place("e") == "t1");
}

BOOST_AUTO_TEST_CASE(what_takes_a_node_whole_is_alone_on_it) {
  node_registry nodes;
  BOOST_TEST(nodes.join(node("t1", node_role::trainer, 4), 0).has_value());
  BOOST_TEST(nodes.acquire(node_role::trainer, 1, "run a", whole).has_value());
  BOOST_TEST(nodes.status(0)[0].free_slots == 0U);
  BOOST_TEST(!nodes.acquire(node_role::trainer, 1, "run b", slot).has_value());
  nodes.release("run a");
  BOOST_TEST(nodes.acquire(node_role::trainer, 1, "run b", slot).has_value());
  BOOST_TEST(!nodes.acquire(node_role::trainer, 1, "run c", whole).has_value());
}

BOOST_AUTO_TEST_CASE(ranks_of_one_run_are_on_different_nodes) {
  node_registry nodes;
  BOOST_TEST(nodes.join(node("t1", node_role::trainer, 4), 0).has_value());
  BOOST_TEST(!nodes.acquire(node_role::trainer, 2, "run a", slot).has_value());
  BOOST_TEST(nodes.join(node("t2", node_role::trainer, 4), 0).has_value());
  BOOST_TEST(nodes.acquire(node_role::trainer, 2, "run a", slot)->size() == 2U);
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
