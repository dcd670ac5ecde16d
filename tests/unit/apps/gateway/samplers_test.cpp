// Sampling sessions outlive the gateway, and with them what it holds against the collection of
// garbage.

#include <boost/test/unit_test.hpp>

#include "apps/gateway/names.hpp"
#include "apps/gateway/sampler_table.hpp"
#include "tests/support/scratch_folder.hpp"

using namespace troupe;
using namespace troupe::gateway;

BOOST_AUTO_TEST_CASE(what_sessions_sample_from_is_held_until_they_end) {
  const tests::scratch_folder folder;
  const checkpoint_id first{std::string(64, 'a')};
  const checkpoint_id second{std::string(64, 'b')};
  {
    sampler_table before(folder.path());
    BOOST_TEST(before.weights().empty());
    BOOST_REQUIRE(before.add(sampler_id_of("one", 0), {"/m", first, "path"}));
    BOOST_REQUIRE(before.add(sampler_id_of("one", 1), {"/m", {}, {}}));
    BOOST_REQUIRE(before.add(sampler_id_of("two", 0), {"/m", first, {}}));
    BOOST_REQUIRE(before.add(sampler_id_of("two", 1), {"/m", second, {}}));
  }
  sampler_table after(folder.path());
  BOOST_TEST((after.weights() == std::vector<checkpoint_id>{first, second}));
  BOOST_REQUIRE(after.find(sampler_id_of("one", 0)) != nullptr);
  BOOST_TEST(after.find(sampler_id_of("one", 0))->model_path == "path");
  after.end_session("two");
  BOOST_TEST((after.weights() == std::vector<checkpoint_id>{first}));
  after.end_session("one");
  BOOST_TEST(after.weights().empty());
  BOOST_TEST(sampler_table(folder.path()).weights().empty());
}
