// What is left of a data folder is refused, by name, and nothing in it changes.

#include <filesystem>
#include <fstream>
#include <set>

#include <boost/test/unit_test.hpp>

#include "storage/open_store.hpp"
#include "storage/posix/data_folder.hpp"
#include "tests/support/scratch_folder.hpp"

using namespace troupe;
using namespace troupe::storage;

namespace {

/// A folder as one start leaves it.
void start_once(const std::string& root) {
  BOOST_REQUIRE(check_data_folder(root).has_value());
  const auto blobs = open_posix_blob_store(root);
  const auto values = open_rocksdb_store(root);
  BOOST_REQUIRE(blobs.has_value());
  BOOST_REQUIRE(values.has_value());
  BOOST_REQUIRE((*values)->write({{{column::meta, "k", "v"}}, {}}));
  auto writer = (*blobs)->create();
  BOOST_REQUIRE(writer.has_value());
  const std::string text = "something";
  BOOST_REQUIRE((*writer)->append(std::as_bytes(std::span(text))));
  BOOST_REQUIRE((*writer)->commit().has_value());
}

std::set<std::string> names_in(const std::string& root) {
  std::set<std::string> out;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(root))
    out.insert(entry.path().string());
  return out;
}

void is_refused(const std::string& root, const std::string& missing) {
  const auto before = names_in(root);
  const auto refused = check_data_folder(root);
  BOOST_REQUIRE(!refused.has_value());
  BOOST_TEST((refused.error().code == errc::corrupt));
  BOOST_TEST(refused.error().what.find(missing) != std::string::npos);
  BOOST_TEST(refused.error().action.find("troupe doctor") != std::string::npos);
  BOOST_TEST((names_in(root) == before));
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_new_and_a_whole_folder_are_fine) {
  const tests::scratch_folder folder;
  start_once(folder.path());
  BOOST_TEST(check_data_folder(folder.path()).has_value());
  BOOST_TEST(check_data_folder(folder.path() + "/not-there").has_value());
}

BOOST_AUTO_TEST_CASE(a_folder_that_lost_its_database_is_refused) {
  const tests::scratch_folder folder;
  start_once(folder.path());
  std::filesystem::remove_all(folder.path() + "/db");
  is_refused(folder.path(), "/db");
}

BOOST_AUTO_TEST_CASE(a_database_without_its_current_file_is_refused) {
  const tests::scratch_folder folder;
  start_once(folder.path());
  std::filesystem::remove(folder.path() + "/db/CURRENT");
  is_refused(folder.path(), "/db/CURRENT");
}

BOOST_AUTO_TEST_CASE(a_database_without_its_blobs_is_refused) {
  const tests::scratch_folder folder;
  start_once(folder.path());
  std::filesystem::remove_all(folder.path() + "/blobs");
  is_refused(folder.path(), "/blobs");
}
