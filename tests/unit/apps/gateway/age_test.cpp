// Keys of age, and files encrypted for them. That others can read the files is tested with an age
// program beside the SDK.

#include <filesystem>
#include <fstream>
#include <sstream>

#include <boost/test/unit_test.hpp>

#include "apps/gateway/age_file.hpp"

using namespace troupe;
using namespace troupe::gateway;

namespace {

const std::string recipient = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";

std::string read(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream out;
  out << in.rdbuf();
  return out.str();
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_key_with_any_letter_changed_is_noticed) {
  BOOST_REQUIRE(parse_age_recipient(recipient).has_value());
  for (std::size_t i = 0; i < recipient.size(); ++i) {
    std::string wrong = recipient;
    wrong[i] = wrong[i] == 'q' ? 'p' : 'q';
    BOOST_TEST(!parse_age_recipient(wrong).has_value());
  }
  BOOST_TEST(!parse_age_recipient("").has_value());
  BOOST_TEST(!parse_age_recipient(recipient + "q").has_value());
  BOOST_TEST((parse_age_recipient("ssh-ed25519 AAAA").error().code == errc::unsupported));
}

BOOST_AUTO_TEST_CASE(files_say_who_can_read_them_and_nothing_of_what_they_hold) {
  const auto folder = std::filesystem::temp_directory_path() / "troupe-age-test";
  std::filesystem::create_directories(folder);
  const std::string plain = "words that stand nowhere in the encrypted file";
  std::ofstream(folder / "plain", std::ios::binary) << plain;
  const auto key = parse_age_recipient(recipient);
  const std::string from = (folder / "plain").string();
  const std::string to = (folder / "sealed").string();
  BOOST_REQUIRE(write_age_file(from, to, {*key, *key}).has_value());
  const std::string first = read(to);
  BOOST_TEST(first.starts_with("age-encryption.org/v1\n-> X25519 "));
  BOOST_TEST(first.find("words") == std::string::npos);
  // Behind the header: a salt, the text and one seal.
  const std::size_t header = first.find('\n', first.find("\n--- ") + 1) + 1;
  BOOST_TEST(first.size() - header == 16 + plain.size() + 16);
  BOOST_REQUIRE(write_age_file(from, to, {*key}).has_value());
  BOOST_TEST(read(to) != first);
  // A key of small order agrees with everybody on the same secret.
  const auto refused = write_age_file(from, to, {age_key{}});
  BOOST_TEST((!refused && refused.error().code == errc::invalid_argument));
  BOOST_TEST(!write_age_file((folder / "missing").string(), to, {*key}).has_value());
  std::filesystem::remove_all(folder);
}
