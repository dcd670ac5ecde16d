// The simulated disk itself: what it must keep, and that it does take what it may.

#include <boost/test/unit_test.hpp>

#include "tests/support/sim_disk.hpp"

using troupe::tests::sim_disk;
using outcome = sim_disk::outcome;

namespace {

struct machine {
  sim_disk disk;
  std::shared_ptr<sim_disk::session> session;

  explicit machine(std::uint64_t seed) : disk(seed), session(disk.begin_session()) {}

  sim_disk::file_ptr create(const std::string& path, std::string_view bytes) {
    sim_disk::file_ptr out;
    BOOST_TEST((session->create(path, out) == outcome::done));
    BOOST_TEST((session->append(*out, bytes) == outcome::done));
    return out;
  }
  void lose_power() {
    disk.lose_power();
    disk.repair();
    session = disk.begin_session();
  }
  std::string read(const std::string& path) {
    const auto found = session->find(path);
    return found ? found->bytes : "nothing";
  }
};

}  // namespace

BOOST_AUTO_TEST_CASE(what_was_synced_under_a_synced_name_survives) {
  std::size_t num_torn = 0;
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    machine m(seed);
    const auto log = m.create("/a/log", "durable");
    BOOST_TEST((m.session->sync(*log) == outcome::done));
    BOOST_TEST((m.session->sync_folder("/a") == outcome::done));
    BOOST_TEST((m.session->append(*log, " and more") == outcome::done));
    m.lose_power();
    BOOST_TEST(std::string("durable and more").starts_with(m.read("/a/log")));
    BOOST_TEST(m.read("/a/log").starts_with("durable"));
    num_torn += m.read("/a/log") == "durable" ? 0U : 1U;
  }
  BOOST_TEST(num_torn > 0U);
  BOOST_TEST(num_torn < 20U);
}

BOOST_AUTO_TEST_CASE(a_name_is_lost_with_the_power_until_its_folder_is_synced) {
  machine m(1);
  const auto old = m.create("/a/x", "old");
  BOOST_TEST((m.session->sync(*old) == outcome::done));
  BOOST_TEST((m.session->sync_folder("/a") == outcome::done));
  const auto fresh = m.create("/a/y", "new");
  BOOST_TEST((m.session->sync(*fresh) == outcome::done));
  BOOST_TEST((m.session->move("/a/y", "/a/x") == outcome::done));
  BOOST_TEST(m.read("/a/x") == "new");
  m.lose_power();
  BOOST_TEST(m.read("/a/x") == "old");
}

BOOST_AUTO_TEST_CASE(a_sync_that_failed_is_not_made_up_by_a_later_one) {
  machine m(1);
  const auto log = m.create("/a/log", "x");
  m.disk.fail_after(sim_disk::failure::broken, 0);
  BOOST_TEST((m.session->sync(*log) == outcome::broken));
  BOOST_TEST((m.session->sync(*log) == outcome::done));
  BOOST_TEST((m.session->sync_folder("/a") == outcome::done));
  BOOST_TEST(m.read("/a/log") == "x");
  m.lose_power();
  BOOST_TEST(m.read("/a/log") == std::string(1, '\0'));
}

BOOST_AUTO_TEST_CASE(a_full_disk_refuses_until_space_is_freed) {
  machine m(1);
  const auto log = m.create("/a/log", "x");
  m.disk.fail_after(sim_disk::failure::full, 1);
  BOOST_TEST((m.session->append(*log, "1") == outcome::done));
  BOOST_TEST((m.session->append(*log, "2") == outcome::full));
  BOOST_TEST((m.session->append(*log, "3") == outcome::full));
  m.disk.repair();
  BOOST_TEST((m.session->append(*log, "4") == outcome::done));
}

BOOST_AUTO_TEST_CASE(a_session_that_ended_changes_nothing) {
  machine m(1);
  const auto log = m.create("/a/log", "x");
  m.disk.fail_after(sim_disk::failure::torn, 0);
  BOOST_TEST((m.session->append(*log, "12345678") == outcome::broken));
  BOOST_TEST(m.disk.has_lost_power());
  BOOST_TEST((m.session->append(*log, "1") == outcome::broken));
  BOOST_TEST((m.session->remove("/a/log") == outcome::broken));
  BOOST_TEST(std::string("x12345678").starts_with(m.read("/a/log")));
}
