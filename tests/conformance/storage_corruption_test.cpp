// What a disk may do to durable files is noticed before anything is served from them: flipped bits,
// lost ends, exchanged files, and a database log damaged in the middle.

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <random>
#include <sstream>

#include <boost/test/unit_test.hpp>

#include "storage/journal.hpp"
#include "storage/open_store.hpp"
#include "storage/slice_file.hpp"
#include "tests/support/scratch_folder.hpp"

using namespace troupe;
using namespace troupe::storage;
using tests::scratch_folder;

namespace {

using verification = slice_reader::verification;

std::string path_of(const scratch_folder& folder, const blob_id& blob) {
  return folder.path() + "/blobs/" + blob.value.substr(0, 2) + "/" + blob.value.substr(2);
}

std::string slurp(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

void spill(const std::string& path, const std::string& text) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << text;
}

checkpoint_file write_slices(blob_store& blobs, std::uint32_t rank) {
  std::vector<float> values(50);
  std::iota(values.begin(), values.end(), static_cast<float>(rank));
  auto writer =
      slice_writer::create(blobs, dtype::f32, {{slice_part::weights, rank, 0, 50}}).value();
  BOOST_REQUIRE(writer.append(values));
  const auto info = writer.commit().value();
  return {info.blob, info.bytes, rank};
}

struct fixture {
  scratch_folder folder;
  std::unique_ptr<blob_store> blobs = open_posix_blob_store(folder.path()).value();

  bool is_noticed(const checkpoint_file& file) {
    const auto verified = blobs->verify(file.blob);
    const auto opened = slice_reader::open(*blobs, {file}, verification::contents);
    return !verified && verified.error().code == errc::corrupt && !opened &&
           opened.error().code == errc::corrupt &&
           verified.error().what.find(path_of(folder, file.blob)) != std::string::npos;
  }
};

std::vector<std::string> log_files(const std::string& db) {
  std::vector<std::string> paths;
  for (const auto& entry : std::filesystem::directory_iterator(db)) {
    if (entry.path().extension() == ".log") paths.push_back(entry.path().string());
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

/// Leaves a folder as a killed process would: a copy, taken while the database is open.
void write_and_kill(const std::string& root, const std::string& copy) {
  const auto store = open_rocksdb_store(root).value();
  for (int i = 0; i < 20; ++i) {
    const std::string key = "key" + std::to_string(i);
    BOOST_REQUIRE(store->write({{{column::oplog, key, std::string(1000, 'v')}}, {}}));
  }
  std::filesystem::copy(root, copy, std::filesystem::copy_options::recursive);
}

int count_keys(key_value_store& store) {
  int count = 0;
  const auto scanned = store.scan(column::oplog, "key", "kez", [&](auto, auto) {
    ++count;
    return true;
  });
  BOOST_REQUIRE(scanned);
  return count;
}

}  // namespace

BOOST_FIXTURE_TEST_CASE(every_flipped_bit_is_noticed, fixture) {
  const auto file = write_slices(*blobs, 0);
  const std::string path = path_of(folder, file.blob);
  const std::string good = slurp(path);
  for (std::size_t at = 0; at < good.size(); ++at) {
    std::string damaged = good;
    damaged[at] = static_cast<char>(damaged[at] ^ (1 << (at % 8)));
    spill(path, damaged);
    BOOST_REQUIRE(is_noticed(file));
  }
  spill(path, good);
  BOOST_TEST(blobs->verify(file.blob).has_value());
}

BOOST_FIXTURE_TEST_CASE(every_lost_end_is_noticed_even_without_reading, fixture) {
  const auto file = write_slices(*blobs, 0);
  const std::string path = path_of(folder, file.blob);
  const std::string good = slurp(path);
  for (std::size_t size = 0; size < good.size(); ++size) {
    spill(path, good.substr(0, size));
    BOOST_REQUIRE(is_noticed(file));
    BOOST_REQUIRE(!slice_reader::open(*blobs, {file}, verification::headers));
  }
  spill(path, good + '\0');
  BOOST_TEST(is_noticed(file));
}

BOOST_FIXTURE_TEST_CASE(exchanged_files_are_noticed, fixture) {
  const auto first = write_slices(*blobs, 0);
  const auto second = write_slices(*blobs, 1);
  BOOST_REQUIRE(first.bytes == second.bytes);
  const std::string spare = folder.path() + "/spare";
  std::filesystem::rename(path_of(folder, first.blob), spare);
  std::filesystem::rename(path_of(folder, second.blob), path_of(folder, first.blob));
  std::filesystem::rename(spare, path_of(folder, second.blob));
  BOOST_TEST(is_noticed(first));
  BOOST_TEST(is_noticed(second));
}

BOOST_FIXTURE_TEST_CASE(writing_again_heals_a_damaged_blob, fixture) {
  const auto file = write_slices(*blobs, 0);
  spill(path_of(folder, file.blob), "junk");
  BOOST_TEST(is_noticed(file));
  write_slices(*blobs, 0);
  BOOST_TEST(blobs->verify(file.blob).has_value());
}

BOOST_AUTO_TEST_CASE(a_killed_database_opens_with_everything) {
  const scratch_folder folder;
  write_and_kill(folder.path() + "/live", folder.path() + "/copy");
  BOOST_TEST(count_keys(*open_rocksdb_store(folder.path() + "/copy").value()) == 20);
}

BOOST_AUTO_TEST_CASE(a_torn_end_of_the_log_is_forgiven) {
  const scratch_folder folder;
  const std::string copy = folder.path() + "/copy";
  write_and_kill(folder.path() + "/live", copy);
  const std::string log = log_files(copy + "/db").back();
  std::filesystem::resize_file(log, std::filesystem::file_size(log) - 10);
  BOOST_TEST(count_keys(*open_rocksdb_store(copy).value()) == 19);
}

BOOST_AUTO_TEST_CASE(damage_in_the_middle_of_the_log_refuses_to_open) {
  const scratch_folder folder;
  const std::string copy = folder.path() + "/copy";
  write_and_kill(folder.path() + "/live", copy);
  const std::string log = log_files(copy + "/db").back();
  const std::string good = slurp(log);
  std::mt19937 random(1);
  for (int round = 0; round < 20; ++round) {
    std::string damaged = good;
    // The last record is left whole: what a crash tears is not damage.
    const std::size_t at = random() % (good.size() - 1200);
    damaged[at] = static_cast<char>(damaged[at] ^ 0x10);
    spill(log, damaged);
    const auto opened = open_rocksdb_store(copy);
    BOOST_TEST_CONTEXT("byte " << at << " of " << good.size()) {
      BOOST_REQUIRE(!opened);
      BOOST_TEST((opened.error().code == errc::corrupt));
      BOOST_TEST(opened.error().what.find(log) != std::string::npos);
    }
  }
  spill(log, good);
  BOOST_TEST(count_keys(*open_rocksdb_store(copy).value()) == 20);
}
