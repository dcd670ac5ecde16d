#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>
#include <string>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "tests/unit/messages/samples.hpp"

// One file of bytes for each variant of each message. A difference means that nodes of two builds
// would not understand each other and that stored digests change.
//
// `wire_golden_test -- --write` writes files that are missing. It never replaces one: a message
// that must change needs its file deleted by hand, and a new protocol_version.

using namespace troupe;

namespace {

const std::filesystem::path folder = std::filesystem::path(TROUPE_GOLDENS) / "wire";

std::filesystem::path file_of(const test::message_case& message, std::uint64_t variant) {
  std::string name(message.name);
  if (message.num_variants > 1) name += "-" + std::to_string(variant);
  return folder / (name + ".bin");
}

std::string bytes_of(const wire::frame& frame) {
  const auto bytes = frame.bytes();
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::string read_file(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

bool asked_to_write() {
  const auto& suite = boost::unit_test::framework::master_test_suite();
  for (int i = 1; i < suite.argc; ++i) {
    if (std::string(suite.argv[i]) == "--write") return true;
  }
  return false;
}

template <class Visit>
void for_each_golden(Visit visit) {
  for (const test::message_case& message : test::all_messages()) {
    for (std::uint64_t variant = 0; variant < message.num_variants; ++variant)
      visit(message, variant);
  }
}

}  // namespace

BOOST_AUTO_TEST_CASE(bytes_are_those_of_the_goldens) {
  for_each_golden([](const test::message_case& message, std::uint64_t variant) {
    const auto path = file_of(message, variant);
    const auto frame = message.encode_sample(variant);
    BOOST_TEST_REQUIRE(frame.has_value());
    if (asked_to_write() && !std::filesystem::exists(path)) {
      std::filesystem::create_directories(folder);
      std::ofstream(path, std::ios::binary) << bytes_of(*frame);
    }
    BOOST_TEST_REQUIRE(std::filesystem::exists(path), path.string() << " is missing");
    BOOST_TEST((read_file(path) == bytes_of(*frame)),
               message.name << " no longer has the bytes of " << path.string());
  });
}

BOOST_AUTO_TEST_CASE(goldens_decode_to_themselves) {
  for_each_golden([](const test::message_case& message, std::uint64_t variant) {
    const std::string bytes = read_file(file_of(message, variant));
    BOOST_TEST_REQUIRE(!bytes.empty());
    std::vector<std::uint64_t> words(bytes.size() / sizeof(std::uint64_t));
    std::memcpy(words.data(), bytes.data(), words.size() * sizeof(std::uint64_t));
    const auto recoded = message.recode(words);
    BOOST_TEST_REQUIRE(recoded.has_value(), message.name);
    BOOST_TEST((bytes_of(*recoded) == bytes), message.name);
  });
}

BOOST_AUTO_TEST_CASE(every_golden_belongs_to_a_message) {
  std::set<std::filesystem::path> known;
  for_each_golden([&](const test::message_case& message, std::uint64_t variant) {
    known.insert(file_of(message, variant));
  });
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    BOOST_TEST(known.contains(entry.path()), entry.path().string() << " belongs to no message");
}
