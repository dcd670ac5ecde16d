// One body of promises for every implementation of the storage ports: what holds in memory must
// hold on disk, or a simulation proves nothing about the real thing.

#include <cerrno>
#include <filesystem>
#include <fstream>

#include <boost/mpl/list.hpp>
#include <boost/test/unit_test.hpp>
#include <fcntl.h>
#include <sys/stat.h>

#include "storage/open_store.hpp"
#include "storage/posix/posix_file.hpp"
#include "storage/sha256.hpp"
#include "tests/support/scratch_folder.hpp"

namespace {

using namespace troupe;
using namespace troupe::storage;
using tests::scratch_folder;

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

struct memory_blobs {
  std::unique_ptr<blob_store> store = make_memory_blob_store();
};

struct posix_blobs {
  scratch_folder folder;
  std::unique_ptr<blob_store> store = open_posix_blob_store(folder.path()).value();
};

struct memory_values {
  std::unique_ptr<key_value_store> store = make_memory_key_value_store();
};

struct rocksdb_values {
  scratch_folder folder;
  std::unique_ptr<key_value_store> store = open_rocksdb_store(folder.path()).value();
};

using blob_stores = boost::mpl::list<memory_blobs, posix_blobs>;
using value_stores = boost::mpl::list<memory_values, rocksdb_values>;

blob_info put(blob_store& store, std::string_view text) {
  const auto writer = store.create().value();
  BOOST_REQUIRE(writer->append(bytes_of(text)));
  return writer->commit().value();
}

std::vector<std::string> keys(key_value_store& store, column where, std::string_view first,
                              std::string_view last) {
  std::vector<std::string> found;
  const auto scanned = store.scan(where, first, last, [&](std::string_view key, std::string_view) {
    found.emplace_back(key);
    return true;
  });
  BOOST_REQUIRE(scanned);
  return found;
}

}  // namespace

BOOST_AUTO_TEST_CASE_TEMPLATE(a_blob_is_named_by_its_bytes, Fixture, blob_stores) {
  Fixture fixture;
  const auto writer = fixture.store->create().value();
  BOOST_REQUIRE(writer->append(bytes_of("hello ")));
  BOOST_REQUIRE(writer->append(bytes_of("world")));
  const blob_info info = writer->commit().value();
  BOOST_TEST(info.blob.value == "b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9");
  BOOST_TEST(info.bytes == 11U);
  BOOST_TEST(fixture.store->info(info.blob).value().bytes == 11U);
  BOOST_TEST(fixture.store->verify(info.blob).has_value());
  const auto reader = fixture.store->open(info.blob).value();
  std::string part(5, '?');
  BOOST_REQUIRE(reader->read(6, std::as_writable_bytes(std::span(part))));
  BOOST_TEST(part == "world");
}

BOOST_AUTO_TEST_CASE_TEMPLATE(a_read_beyond_the_end_is_corrupt, Fixture, blob_stores) {
  Fixture fixture;
  const auto info = put(*fixture.store, "short");
  const auto reader = fixture.store->open(info.blob).value();
  std::string part(3, '?');
  const auto out = std::as_writable_bytes(std::span(part));
  BOOST_TEST((reader->read(3, out).error().code == errc::corrupt));
  BOOST_TEST((reader->read(~std::uint64_t{0}, out).error().code == errc::corrupt));
  BOOST_TEST(reader->read(5, {}).has_value());
}

BOOST_AUTO_TEST_CASE_TEMPLATE(an_uncommitted_blob_does_not_exist, Fixture, blob_stores) {
  Fixture fixture;
  {
    const auto writer = fixture.store->create().value();
    BOOST_REQUIRE(writer->append(bytes_of("lost")));
    BOOST_TEST(fixture.store->list().value().empty());
  }
  BOOST_TEST(fixture.store->list().value().empty());
  const blob_id lost{sha256_hex(bytes_of("lost"))};
  BOOST_TEST((fixture.store->open(lost).error().code == errc::not_found));
  BOOST_TEST((fixture.store->info(lost).error().code == errc::not_found));
  BOOST_TEST((fixture.store->verify(lost).error().code == errc::not_found));
  BOOST_TEST((fixture.store->remove(lost).error().code == errc::not_found));
}

BOOST_AUTO_TEST_CASE_TEMPLATE(equal_blobs_are_one_and_removed_once, Fixture, blob_stores) {
  Fixture fixture;
  const auto first = put(*fixture.store, "same");
  const auto second = put(*fixture.store, "same");
  put(*fixture.store, "");
  BOOST_TEST(first.blob.value == second.blob.value);
  BOOST_TEST(fixture.store->list().value().size() == 2U);
  BOOST_REQUIRE(fixture.store->remove(first.blob));
  BOOST_TEST((fixture.store->remove(first.blob).error().code == errc::not_found));
  BOOST_TEST(fixture.store->list().value().size() == 1U);
}

BOOST_AUTO_TEST_CASE_TEMPLATE(a_writer_commits_once, Fixture, blob_stores) {
  Fixture fixture;
  const auto writer = fixture.store->create().value();
  BOOST_REQUIRE(writer->commit());
  BOOST_TEST((writer->commit().error().code == errc::internal));
}

BOOST_AUTO_TEST_CASE_TEMPLATE(names_that_are_no_digests_are_not_found, Fixture, blob_stores) {
  Fixture fixture;
  for (const char* name : {"", "..", "../../etc/passwd", "ABCD", "ab/../../x"}) {
    BOOST_TEST((fixture.store->open(blob_id{name}).error().code == errc::not_found));
    BOOST_TEST((fixture.store->remove(blob_id{name}).error().code == errc::not_found));
  }
}

BOOST_AUTO_TEST_CASE_TEMPLATE(values_come_back_in_order_of_bytes, Fixture, value_stores) {
  Fixture fixture;
  const std::string high("\xff\x01", 2);
  const std::string zero("a\0b", 3);
  BOOST_REQUIRE(fixture.store->write({.puts = {{column::oplog, high, "4"},
                                               {column::oplog, "b", "3"},
                                               {column::oplog, "a", "1"},
                                               {column::oplog, zero, "2"},
                                               {column::jobs, "a", "other column"}},
                                      .erases = {}}));
  const std::vector<std::string> all{"a", zero, "b", high};
  BOOST_TEST(keys(*fixture.store, column::oplog, "", "\xff\xff") == all);
  const std::vector<std::string> middle{zero, "b"};
  BOOST_TEST(keys(*fixture.store, column::oplog, zero, high) == middle);
  BOOST_TEST(keys(*fixture.store, column::oplog, "b", "b").empty());
  BOOST_TEST(keys(*fixture.store, column::oplog, "c", "a").empty());
  BOOST_TEST(fixture.store->get(column::oplog, zero).value().value() == "2");
  BOOST_TEST(!fixture.store->get(column::meta, "a").value().has_value());
}

BOOST_AUTO_TEST_CASE_TEMPLATE(a_scan_stops_when_told, Fixture, value_stores) {
  Fixture fixture;
  BOOST_REQUIRE(fixture.store->write(
      {.puts = {{column::meta, "1", ""}, {column::meta, "2", ""}}, .erases = {}}));
  int visits = 0;
  BOOST_REQUIRE(fixture.store->scan(column::meta, "0", "9", [&](auto, auto) {
    ++visits;
    return false;
  }));
  BOOST_TEST(visits == 1);
}

BOOST_AUTO_TEST_CASE_TEMPLATE(in_one_batch_erases_follow_puts, Fixture, value_stores) {
  Fixture fixture;
  BOOST_REQUIRE(fixture.store->write(
      {.puts = {{column::edges, "x", "1"}, {column::edges, "y", "1"}, {column::edges, "y", "2"}},
       .erases = {{column::edges, "x"}, {column::edges, "never there"}}}));
  BOOST_TEST(!fixture.store->get(column::edges, "x").value().has_value());
  BOOST_TEST(fixture.store->get(column::edges, "y").value().value() == "2");
}

BOOST_AUTO_TEST_CASE(values_and_blobs_survive_reopening) {
  const scratch_folder folder;
  blob_info info;
  {
    const auto values = open_rocksdb_store(folder.path()).value();
    BOOST_REQUIRE(values->write({.puts = {{column::ledger, "k", "v"}}, .erases = {}}));
    info = put(*open_posix_blob_store(folder.path()).value(), "kept");
  }
  const auto values = open_rocksdb_store(folder.path()).value();
  BOOST_TEST(values->get(column::ledger, "k").value().value() == "v");
  BOOST_TEST(open_posix_blob_store(folder.path()).value()->verify(info.blob).has_value());
}

BOOST_AUTO_TEST_CASE(a_data_folder_has_one_owner) {
  const scratch_folder folder;
  const auto first = open_rocksdb_store(folder.path()).value();
  const auto second = open_rocksdb_store(folder.path());
  BOOST_REQUIRE(!second);
  BOOST_TEST((second.error().code == errc::in_use));
  BOOST_TEST(second.error().what.find("process " + std::to_string(::getpid())) !=
             std::string::npos);
  BOOST_TEST(second.error().what.find(folder.path()) != std::string::npos);
}

BOOST_AUTO_TEST_CASE(a_failed_write_ends_all_writing_but_loses_nothing) {
  const scratch_folder folder;
  {
    const auto store = open_rocksdb_store(folder.path()).value();
    BOOST_REQUIRE(store->write({.puts = {{column::jobs, "before", "1"}}, .erases = {}}));
    const tests::file_size_limit limit(64 * 1024);
    const std::string large(1024 * 1024, 'x');
    BOOST_REQUIRE(!store->write({.puts = {{column::jobs, "large", large}}, .erases = {}}));
    const auto later = store->write({.puts = {{column::jobs, "later", "1"}}, .erases = {}});
    BOOST_REQUIRE(!later);
    BOOST_TEST((later.error().code == errc::storage));
    BOOST_TEST(store->get(column::jobs, "before").value().has_value());
  }
  const auto store = open_rocksdb_store(folder.path()).value();
  BOOST_TEST(store->get(column::jobs, "before").value().has_value());
  BOOST_TEST(!store->get(column::jobs, "large").value().has_value());
  BOOST_TEST(!store->get(column::jobs, "later").value().has_value());
}

BOOST_AUTO_TEST_CASE(a_failed_blob_leaves_nothing_behind) {
  const scratch_folder folder;
  const auto store = open_posix_blob_store(folder.path()).value();
  {
    const auto writer = store->create().value();
    const tests::file_size_limit limit(1024);
    const std::string large(1024 * 1024, 'x');
    BOOST_REQUIRE(!writer->append(bytes_of(large)));
    BOOST_TEST(!writer->append(bytes_of("x")).has_value());
    BOOST_TEST(!writer->commit().has_value());
  }
  BOOST_TEST(std::filesystem::is_empty(folder.path() + "/tmp"));
  BOOST_TEST(store->list().value().empty());
}

BOOST_AUTO_TEST_CASE(opening_removes_what_dead_writers_left_and_only_that) {
  const scratch_folder folder;
  const auto first = open_posix_blob_store(folder.path()).value();
  const auto writer = first->create().value();
  std::string mine;
  for (const auto& entry : std::filesystem::directory_iterator(folder.path() + "/tmp"))
    mine = entry.path().filename().string();
  const std::string boot = mine.substr(0, mine.find('.'));
  const std::string dead = folder.path() + "/tmp/" + boot + ".1.999";
  const std::string foreign = folder.path() + "/tmp/other-boot.1.999";
  const std::string ancient = folder.path() + "/tmp/other-boot.1.1000";
  for (const std::string& path : {dead, foreign, ancient})
    std::ofstream(path) << "half a blob";
  using namespace std::chrono_literals;
  std::filesystem::last_write_time(ancient, std::filesystem::last_write_time(foreign) - 2h);
  const auto second = open_posix_blob_store(folder.path()).value();
  BOOST_TEST(!std::filesystem::exists(dead));
  BOOST_TEST(!std::filesystem::exists(ancient));
  BOOST_TEST(std::filesystem::exists(foreign));
  BOOST_REQUIRE(writer->append(bytes_of("still alive")));
  BOOST_TEST(second->verify(writer->commit().value().blob).has_value());
}

BOOST_AUTO_TEST_CASE(folders_are_private_to_their_user) {
  const scratch_folder folder;
  const std::string root = folder.path() + "/deep/data";
  const auto blobs = open_posix_blob_store(root).value();
  const auto values = open_rocksdb_store(root).value();
  for (const char* name : {"", "/db", "/blobs", "/tmp"}) {
    struct stat info {};
    BOOST_REQUIRE(::stat((root + name).c_str(), &info) == 0);
    BOOST_TEST((info.st_mode & 0777U) == 0700U);
  }
}

BOOST_AUTO_TEST_CASE(a_root_that_cannot_be_made_is_named) {
  const scratch_folder folder;
  std::ofstream(folder.path() + "/file") << "x";
  const auto blobs = open_posix_blob_store(folder.path() + "/file/data");
  BOOST_REQUIRE(!blobs);
  BOOST_TEST((blobs.error().code == errc::storage));
  BOOST_TEST(blobs.error().what.find(folder.path() + "/file") != std::string::npos);
  BOOST_TEST(!blobs.error().action.empty());
}

BOOST_AUTO_TEST_CASE(a_full_disk_is_told_apart_from_a_closed_one) {
  const posix::file_descriptor full(::open("/dev/full", O_WRONLY));
  const auto written = posix::write_all(full, bytes_of("x"), "/dev/full");
  BOOST_REQUIRE(!written);
  BOOST_TEST((written.error().code == errc::storage_full));
  for (const int number : {EROFS, EACCES, EIO}) {
    const error refused = posix::system_failure("write", "/data/x", number).value();
    BOOST_TEST((refused.code == errc::storage));
    BOOST_TEST(refused.what.find("/data/x") != std::string::npos);
    BOOST_TEST(!refused.cause.empty());
    BOOST_TEST(!refused.action.empty());
  }
}
