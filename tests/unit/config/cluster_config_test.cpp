#include "config/cluster_config.hpp"

#include <string>

#include <boost/test/unit_test.hpp>

using namespace troupe;
using troupe::config::cluster_config;
using troupe::config::parse_cluster_config;

namespace {

void check_refused(const std::string& text, const std::string& line, const std::string& key) {
  const auto parsed = parse_cluster_config(text, "c.toml");
  BOOST_REQUIRE(!parsed.has_value());
  BOOST_TEST((parsed.error().code == errc::invalid_argument));
  BOOST_TEST(parsed.error().what.find("c.toml:" + line + ":") == 0U);
  BOOST_TEST(parsed.error().what.find(key) != std::string::npos);
}

}  // namespace

BOOST_AUTO_TEST_CASE(an_empty_file_gives_the_defaults) {
  const auto parsed = parse_cluster_config("", "c.toml");
  BOOST_REQUIRE(parsed.has_value());
  BOOST_TEST((*parsed == cluster_config{}));
}

BOOST_AUTO_TEST_CASE(the_example_states_the_defaults) {
  const auto parsed = config::read_cluster_config(TROUPE_SOURCE "/config/examples/local.toml");
  BOOST_REQUIRE(parsed.has_value());
  BOOST_TEST((*parsed == cluster_config{}));
}

BOOST_AUTO_TEST_CASE(every_key_is_read) {
  const auto parsed = parse_cluster_config(
      "[cluster]\nname='a'\ndata_folder='/d'\nsnapshot_every_steps=3\n"
      "park_idle_runs_after_s=60\n[listen]\nhost='h'\nport=77\n[trainers]\ncount=4\nthreads="
      "5\nslots=7\ncompute=\"bf16\"\n"
      "kept_activations_mib=9\ndevice='auto'\nnuma='any'\n[samplers]\ncount=0\nthreads=6\n",
      "c.toml");
  BOOST_REQUIRE(parsed.has_value());
  BOOST_TEST((*parsed == cluster_config{"a",
                                        "/d",
                                        "h",
                                        77,
                                        {4, 5, 7, config::product_type::bf16, "auto", 9,
                                         config::memory_choice::any},
                                        {0, 6},
                                        3,
                                        60,
                                        {},
                                        {},
                                        {}}));
}

BOOST_AUTO_TEST_CASE(deployments_name_a_model_or_its_directory) {
  const auto parsed = parse_cluster_config(
      "[models]\n\"Qwen/Q\"='/m/q'\n[deployments.chat]\nmodel='Qwen/Q'\nreplicas=2\n"
      "[deployments.judge]\nmodel='/m/j'\n",
      "c.toml");
  BOOST_REQUIRE(parsed.has_value());
  BOOST_REQUIRE(parsed->deployments.size() == 2U);
  BOOST_TEST((parsed->deployments[0] == config::served_model{"chat", "Qwen/Q", 2}));
  BOOST_TEST(parsed->directory_of(parsed->deployments[0]) == "/m/q");
  BOOST_TEST(parsed->directory_of(parsed->deployments[1]) == "/m/j");
}

BOOST_AUTO_TEST_CASE(what_is_wrong_is_named_with_its_line) {
  check_refused("[cluster]\nnam = 'x'\n", "2", "nam");
  check_refused("[cluster]\nname = 7\n", "2", "name");
  check_refused("[cluster]\nname = 'a/b'\n", "2", "name");
  check_refused("[cluster]\npark_idle_runs_after_s = -1\n", "2", "park_idle_runs_after_s");
  check_refused("\n[listen]\nport = 65536\n", "3", "port");
  check_refused("[trainers]\ncount = -1\n", "2", "count");
  check_refused("[trainers]\ncount = 1.5\n", "2", "count");
  check_refused("[samplers]\nthreads = -1\n", "2", "threads");
  check_refused("[samplers]\nslots = 2\n", "2", "slots");
  check_refused("[samplers]\ncompute = \"bf16\"\n", "2", "compute");
  check_refused("[trainers]\ncompute = \"fp16\"\n", "2", "compute");
  check_refused("[trainers]\nkept_activations_mib = 16385\n", "2", "kept_activations_mib");
  check_refused("[trainers]\ndevice = \"cuda:1\"\n", "2", "device");
  check_refused("[samplers]\ndevice = \"cpu\"\n", "2", "device");
  check_refused("[samplers]\nnuma = \"off\"\n", "2", "numa");
  check_refused("[gpus]\n", "1", "gpus");
  check_refused("[deployments]\nchat = 3\n", "2", "chat");
  check_refused("[deployments.chat]\nreplicas = 2\n", "1", "chat");
  check_refused("[deployments.chat]\nmodel = '/m'\nreplicas = 0\n", "3", "replicas");
  check_refused("[deployments.chat]\nmodel = '/m'\ncount = 2\n", "3", "count");
  check_refused("[deployments.'a/b']\nmodel = '/m'\n", "1", "a/b");
  check_refused("cluster = 3\n", "1", "cluster");
  check_refused("[cluster\n", "1", "");
}

BOOST_AUTO_TEST_CASE(a_missing_file_is_not_found) {
  const auto parsed = config::read_cluster_config("/nonexistent/c.toml");
  BOOST_REQUIRE(!parsed.has_value());
  BOOST_TEST((parsed.error().code == errc::not_found));
}
