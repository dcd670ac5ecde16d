// API keys: shown once, stored hashed, gone when revoked.

#include <fstream>
#include <sstream>

#include <boost/test/unit_test.hpp>

#include "apps/gateway/key_ring.hpp"
#include "tests/support/scratch_folder.hpp"

using namespace troupe;
using namespace troupe::gateway;

namespace {

std::string text_of(const std::string& path) {
  std::ostringstream out;
  out << std::ifstream(path).rdbuf();
  return out.str();
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_key_opens_until_it_is_revoked) {
  const tests::scratch_folder folder;
  key_ring ring(folder.path());
  BOOST_TEST(!ring.has_active());
  const auto first = create_key(folder.path(), "laptop");
  const auto second = create_key(folder.path(), "server");
  BOOST_REQUIRE(first.has_value());
  BOOST_REQUIRE(second.has_value());
  BOOST_TEST(first->secret.starts_with("tml-"));
  BOOST_TEST(ring.find(first->secret).value() == first->entry.id);
  BOOST_TEST(ring.find(second->secret).value() == second->entry.id);
  BOOST_TEST(!ring.find("").has_value());
  BOOST_TEST(!ring.find(first->secret + "0").has_value());
  BOOST_TEST(!ring.find(first->entry.sha256).has_value());
  BOOST_REQUIRE(revoke_key(folder.path(), "laptop").has_value());
  BOOST_TEST(!ring.find(first->secret).has_value());
  BOOST_TEST(ring.find(second->secret).has_value());
  BOOST_TEST(!revoke_key(folder.path(), "laptop").has_value());
}

BOOST_AUTO_TEST_CASE(the_file_holds_no_secret) {
  const tests::scratch_folder folder;
  const auto made = create_key(folder.path(), "laptop");
  BOOST_REQUIRE(made.has_value());
  const std::string text = text_of(keys_path(folder.path()));
  BOOST_TEST(text.find(made->entry.sha256) != std::string::npos);
  BOOST_TEST(text.find(made->secret.substr(4)) == std::string::npos);
}

BOOST_AUTO_TEST_CASE(a_damaged_file_lets_nobody_in) {
  const tests::scratch_folder folder;
  const auto made = create_key(folder.path(), "laptop");
  BOOST_REQUIRE(made.has_value());
  std::ofstream(keys_path(folder.path())) << "{\"keys\":[{}]}";
  key_ring ring(folder.path());
  BOOST_TEST(!ring.find(made->secret).has_value());
  BOOST_TEST(!create_key(folder.path(), "other").has_value());
  BOOST_TEST(!create_key(folder.path(), "no name").has_value());
}
