// What one key may use, and that others do not feel it.

#include <boost/test/unit_test.hpp>

#include "apps/gateway/quota_ledger.hpp"

using namespace troupe;
using namespace troupe::gateway;
using std::chrono::milliseconds;

BOOST_AUTO_TEST_CASE(requests_are_limited_per_second_and_key) {
  quota_ledger quotas({0, 10, 0});
  const quota_ledger::time_point start{std::chrono::hours(1)};
  const auto admitted = [&quotas](const char* key, quota_ledger::time_point now) {
    int out = 0;
    for (int i = 0; i < 100; ++i)
      out += quotas.admit_request(key, now).has_value() ? 1 : 0;
    return out;
  };
  BOOST_TEST(admitted("a", start) == 10);
  BOOST_TEST(admitted("b", start) == 10);
  BOOST_TEST(admitted("a", start + milliseconds(500)) == 5);
  BOOST_TEST(admitted("a", start + milliseconds(60'000)) == 10);
  BOOST_TEST((quotas.admit_request("a", start + milliseconds(60'000)).error().code == errc::busy));
}

BOOST_AUTO_TEST_CASE(held_bytes_come_back_with_results) {
  quota_ledger quotas({0, 0, 100});
  BOOST_TEST(quotas.hold("a", "1", 1000).has_value());
  BOOST_TEST(!quotas.hold("a", "2", 1).has_value());
  BOOST_TEST(quotas.hold("b", "3", 60).has_value());
  quotas.released("1");
  quotas.released("1");
  quotas.released("made-up");
  BOOST_TEST(quotas.hold("a", "4", 60).has_value());
  BOOST_TEST(!quotas.hold("a", "5", 60).has_value());
}

BOOST_AUTO_TEST_CASE(models_are_counted) {
  BOOST_TEST(quota_ledger({2, 0, 0}).admit_model(1).has_value());
  BOOST_TEST(!quota_ledger({2, 0, 0}).admit_model(2).has_value());
  BOOST_TEST(quota_ledger({0, 0, 0}).admit_model(1000).has_value());
}
