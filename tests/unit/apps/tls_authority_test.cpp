#include "apps/support/tls_authority.hpp"

#include <filesystem>
#include <fstream>
#include <iterator>

#include <boost/test/unit_test.hpp>
#include <stdlib.h>

using namespace troupe::apps;

namespace {

struct scratch_folder {
  std::string path = "/tmp/troupe-tls-XXXXXX";
  scratch_folder() { BOOST_REQUIRE(::mkdtemp(path.data()) != nullptr); }
  ~scratch_folder() { std::filesystem::remove_all(path); }
};

std::string content(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace

BOOST_FIXTURE_TEST_CASE(files_are_private_and_kept, scratch_folder) {
  const auto files = prepare_tls(path);
  BOOST_REQUIRE(files.has_value());
  using std::filesystem::perms;
  BOOST_TEST((std::filesystem::status(path + "/tls").permissions() == perms::owner_all));
  for (const std::string& file : {files->authority, files->certificate, files->key}) {
    BOOST_TEST(
        (std::filesystem::status(file).permissions() == (perms::owner_read | perms::owner_write)));
  }
  const std::string before = content(files->certificate);
  BOOST_TEST(!before.empty());
  BOOST_REQUIRE(prepare_tls(path).has_value());
  BOOST_TEST(content(files->certificate) == before);
}

BOOST_FIXTURE_TEST_CASE(a_damaged_node_certificate_is_replaced, scratch_folder) {
  const auto files = prepare_tls(path);
  BOOST_REQUIRE(files.has_value());
  std::ofstream(files->certificate) << "junk";
  BOOST_REQUIRE(prepare_tls(path).has_value());
  BOOST_TEST(content(files->certificate).find("BEGIN CERTIFICATE") != std::string::npos);
}

BOOST_FIXTURE_TEST_CASE(a_damaged_authority_is_an_error_and_never_replaced, scratch_folder) {
  const auto files = prepare_tls(path);
  BOOST_REQUIRE(files.has_value());
  std::ofstream(files->authority) << "junk";
  const auto again = prepare_tls(path);
  BOOST_REQUIRE(!again.has_value());
  BOOST_TEST(again.error().what.find("ca.pem") != std::string::npos);
  BOOST_TEST(content(files->authority) == "junk");
}

BOOST_AUTO_TEST_CASE(tokens_are_long_and_differ) {
  const auto one = random_token();
  const auto two = random_token();
  BOOST_REQUIRE((one.has_value() && two.has_value()));
  BOOST_TEST(one->size() == 64U);
  BOOST_TEST(*one != *two);
}
