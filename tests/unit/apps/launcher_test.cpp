#include "apps/troupe/launcher.hpp"

#include <algorithm>

#include <boost/test/unit_test.hpp>

using namespace troupe;
using namespace troupe::apps;

BOOST_AUTO_TEST_CASE(a_cluster_is_planned_with_its_control_node_first) {
  config::cluster_config cluster;
  cluster.name = "c";
  cluster.port = 7;
  cluster.trainers = {2, 3};
  cluster.samplers = {1, 1};
  const auto plans = plan_cluster(cluster, "/data", "/bin/troupe-node");
  BOOST_REQUIRE(plans.size() == 4U);
  BOOST_TEST(plans[0].name == "control");
  BOOST_TEST(plans[1].name == "trainer-0");
  BOOST_TEST(plans[2].name == "trainer-1");
  BOOST_TEST(plans[3].name == "sampler-0");
  const auto has = [](const process_plan& plan, const std::string& word) {
    return std::count(plan.arguments.begin(), plan.arguments.end(), word) == 1;
  };
  BOOST_TEST(has(plans[0], "--port=7"));
  BOOST_TEST(has(plans[0], "--cluster=c"));
  BOOST_TEST(has(plans[1], "--threads=3"));
  BOOST_TEST(has(plans[3], "--role=sampler"));
  BOOST_TEST(has(plans[2], "--share-index=1"));
  BOOST_TEST(has(plans[2], "--share-count=2"));
  BOOST_TEST(has(plans[2], "--numa=near"));
  BOOST_TEST(has(plans[3], "--share-count=1"));
  BOOST_TEST(plans[2].log_file == "/data/log/trainer-1.log");
}

BOOST_AUTO_TEST_CASE(processes_share_the_cores_unless_told_otherwise) {
  config::process_group group;
  group.count = 3;
  BOOST_TEST(threads_of(group, 16) == 5U);
  BOOST_TEST(threads_of(group, 2) == 1U);
  BOOST_TEST(threads_of(group, 0) == 1U);
  group.count = 0;
  BOOST_TEST(threads_of(group, 2) == 2U);
  group.threads = 7;
  BOOST_TEST(threads_of(group, 2) == 7U);
}

BOOST_AUTO_TEST_CASE(each_trainer_is_told_a_gpu_of_its_own) {
  config::cluster_config cluster;
  cluster.trainers.count = 2;
  const auto device_of = [&](std::size_t process) {
    return plan_cluster(cluster, "/data", "/bin/troupe-node")[process].arguments.back();
  };
  BOOST_TEST(device_of(1) == "--device=cpu");
  cluster.trainers.device = "auto";
  BOOST_TEST(device_of(1) == "--device=auto:0");
  BOOST_TEST(device_of(2) == "--device=auto:1");
}

BOOST_AUTO_TEST_CASE(pauses_grow_and_stay_bounded) {
  using std::chrono::milliseconds;
  BOOST_TEST((restart_pause(1) == milliseconds(100)));
  BOOST_TEST((restart_pause(2) == milliseconds(200)));
  BOOST_TEST((restart_pause(6) == milliseconds(3200)));
  BOOST_TEST((restart_pause(7) == milliseconds(5000)));
  BOOST_TEST((restart_pause(1'000'000) == milliseconds(5000)));
}
