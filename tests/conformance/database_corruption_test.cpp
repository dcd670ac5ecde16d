// What a disk may do to the database's files: each is flipped, cut, emptied, removed and exchanged.
// Either the database refuses, names a file and leaves everything as it was, or a read says that it
// is damaged; what is read is never anything but what was written.

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <random>
#include <set>
#include <sstream>

#include <boost/test/unit_test.hpp>

#include "storage/open_store.hpp"
#include "storage/posix/data_folder.hpp"
#include "tests/support/scratch_folder.hpp"

using namespace troupe;
using namespace troupe::storage;
using tests::scratch_folder;

namespace {

namespace fs = std::filesystem;

using contents = std::map<std::string, std::string>;

std::string slurp(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

/// A new file: copies share theirs with the original.
void spill(const fs::path& path, const std::string& text) {
  fs::remove(path);
  std::ofstream(path, std::ios::binary | std::ios::trunc) << text;
}

/// What RocksDB writes about itself, and the lock: no state.
bool is_chatter(const std::string& name) {
  return name.starts_with("LOG") || name == "LOCK";
}

/// Every file below a folder, its size and when it was written.
contents files_of(const fs::path& root) {
  contents out;
  for (const auto& entry : fs::recursive_directory_iterator(root)) {
    const std::string name = entry.path().filename().string();
    if (entry.is_regular_file() && !is_chatter(name)) {
      out[entry.path().string()] =
          std::to_string(entry.file_size()) + " " +
          std::to_string(entry.last_write_time().time_since_epoch().count());
    }
  }
  return out;
}

std::string random_text(std::mt19937_64& random, std::size_t size) {
  std::string text(size, '\0');
  std::ranges::generate(text, [&] { return static_cast<char>(random()); });
  return text;
}

/// All columns, or the error that reading gave.
result<contents> read_all(key_value_store& store) {
  contents out;
  for (std::size_t i = 0; i < num_columns; ++i) {
    const auto read = store.scan(static_cast<column>(i), "", "\xff", [&](auto key, auto value) {
      out[std::to_string(i) + "/" + std::string(key)] = std::string(value);
      return true;
    });
    if (!read) return fail(read.error());
  }
  return out;
}

/// Folders as a killed control node leaves them: tables from earlier starts, logs since the last.
struct written {
  scratch_folder folder;
  std::string root = folder.path() + "/killed";
  contents expected;

  written() {
    const std::string live = folder.path() + "/live";
    fs::create_directories(live + "/blobs");
    std::mt19937_64 random(1);
    for (int start = 0; start < 3; ++start) {
      const auto store = open_rocksdb_store(live).value();
      for (int i = 0; i < 60; ++i)
        put(*store, column::oplog, start * 100 + i, random_text(random, 3000));
      for (int i = 0; i < 5; ++i)
        put(*store, column::jobs, i, random_text(random, 200));
      if (start < 2) continue;
      // More than a column keeps in memory: one log is closed, one is open.
      for (int i = 0; i < 150; ++i)
        put(*store, column::ledger, i, random_text(random, 60'000));
      put(*store, column::jobs, 9, "last");
      fs::copy(live, root, fs::copy_options::recursive);
      // Of a table whose writing the kill cut short; whether there is one otherwise is chance.
      spill(root + "/db/900000.sst", random_text(random, 1000));
    }
  }

  void put(key_value_store& store, column where, int number, const std::string& value) {
    const std::string key = "key" + std::to_string(number);
    BOOST_REQUIRE(store.write({{{where, key, value}}, {}}));
    expected[std::to_string(static_cast<int>(where)) + "/" + key] = value;
  }

  [[nodiscard]] std::vector<fs::path> files(const std::string& begin,
                                            const std::string& end) const {
    std::vector<fs::path> out;
    for (const auto& entry : fs::directory_iterator(root + "/db")) {
      const std::string name = entry.path().filename().string();
      if (name.starts_with(begin) && name.ends_with(end)) out.push_back(entry.path());
    }
    std::ranges::sort(out);
    return out;
  }
};

const written& good() {
  static const written once;
  return once;
}

/// A copy of it, to be damaged without harm to the original.
struct copied {
  scratch_folder folder;
  std::string root = folder.path() + "/data";

  explicit copied(const std::string& original = good().root) {
    fs::copy(original, root, fs::copy_options::recursive | fs::copy_options::create_hard_links);
  }

  [[nodiscard]] fs::path path(const fs::path& original) const {
    return root / fs::relative(original, good().root);
  }

  struct finding {
    bool is_noticed = false;
    std::string said;
  };

  /// As a control node opens it.
  [[nodiscard]] finding open() const {
    if (const auto whole = check_data_folder(root); !whole) return {true, whole.error().what};
    const contents before = files_of(root);
    auto store = open_rocksdb_store(root);
    if (!store) {
      BOOST_TEST((store.error().code == errc::corrupt), to_string(store.error()));
      BOOST_TEST((files_of(root) == before), "something was changed: " + store.error().what);
      return {true, store.error().what};
    }
    const auto all = read_all(**store);
    if (!all) {
      BOOST_TEST((all.error().code == errc::corrupt), to_string(all.error()));
      return {true, all.error().what};
    }
    BOOST_REQUIRE_MESSAGE(*all == good().expected, "other data was read than written");
    return {};
  }
};

/// Those that hold something: one whose writing the kill cut short is nobody's.
const std::vector<fs::path>& tables() {
  static const std::vector<fs::path> needed = [] {
    std::vector<fs::path> out;
    for (const fs::path& table : good().files("", ".sst")) {
      const copied copy;
      fs::remove(copy.path(table));
      if (copy.open().is_noticed) out.push_back(table);
    }
    return out;
  }();
  return needed;
}

bool names(const std::string& said, const fs::path& path) {
  return said.find(path.filename().string()) != std::string::npos;
}

/// How much of the list of files must be there.
std::size_t marked_bytes() {
  std::istringstream mark(slurp(good().root + "/db.mark"));
  std::string name;
  std::size_t bytes = 0;
  mark >> name >> bytes;
  BOOST_REQUIRE(bytes > 0);
  return bytes;
}

std::string flipped(std::string text, std::size_t at, std::uint64_t bit) {
  text[at] = static_cast<char>(text[at] ^ (1 << (bit % 8)));
  return text;
}

}  // namespace

BOOST_AUTO_TEST_CASE(what_is_whole_is_read_as_it_was_written) {
  const copied copy;
  BOOST_TEST(check_rocksdb_store(copy.root).has_value());
  BOOST_TEST(!copy.open().is_noticed);
  BOOST_TEST(tables().size() >= 4U);
  BOOST_TEST(good().files("", ".log").size() >= 2U);
}

BOOST_AUTO_TEST_CASE(flipped_bits_of_a_table_are_noticed) {
  std::mt19937_64 random(2);
  for (const fs::path& table : tables()) {
    const std::string bytes = slurp(table);
    for (int round = 0; round < 12; ++round) {
      // Its last bytes as well: index, properties and footer.
      const std::size_t span = round < 6 ? bytes.size() : std::min<std::size_t>(bytes.size(), 900);
      const std::size_t at = bytes.size() - 1 - random() % span;
      BOOST_TEST_CONTEXT(table.filename() << " byte " << at << " of " << bytes.size()) {
        const copied copy;
        spill(copy.path(table), flipped(bytes, at, random()));
        const auto checked = check_rocksdb_store(copy.root);
        const auto found = copy.open();
        BOOST_TEST((found.is_noticed || !checked));
        if (found.is_noticed) BOOST_TEST(names(found.said, table), found.said);
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(tables_that_are_cut_lost_or_exchanged_are_noticed) {
  for (std::size_t i = 0; i < tables().size(); ++i) {
    const fs::path& table = tables()[i];
    const std::string bytes = slurp(table);
    for (const std::string& left :
         {std::string(), bytes.substr(0, bytes.size() / 2), bytes.substr(0, bytes.size() - 1),
          bytes + '\0', slurp(tables()[(i + 1) % tables().size()])}) {
      BOOST_TEST_CONTEXT(table.filename() << " with " << left.size() << " bytes") {
        const copied copy;
        spill(copy.path(table), left);
        const auto found = copy.open();
        BOOST_TEST(found.is_noticed);
        BOOST_TEST(names(found.said, table), found.said);
      }
    }
    const copied copy;
    fs::remove(copy.path(table));
    const auto found = copy.open();
    BOOST_TEST(found.is_noticed);
    BOOST_TEST(names(found.said, table), found.said);
  }
}

BOOST_AUTO_TEST_CASE(flipped_bits_of_the_list_of_files_are_noticed) {
  std::mt19937_64 random(3);
  for (const std::string name : {"MANIFEST-", "CURRENT"}) {
    const fs::path path = good().files(name, "").back();
    const std::string bytes = slurp(path);
    for (int round = 0; round < 40; ++round) {
      const std::size_t at = random() % bytes.size();
      BOOST_TEST_CONTEXT(path.filename() << " byte " << at << " of " << bytes.size()) {
        const copied copy;
        spill(copy.path(path), flipped(bytes, at, random()));
        const auto found = copy.open();
        const bool may_pass = name == "MANIFEST-" && at >= marked_bytes();
        BOOST_TEST((found.is_noticed || may_pass));
        if (found.is_noticed) BOOST_TEST(names(found.said, path), found.said);
      }
    }
  }
}

BOOST_AUTO_TEST_CASE(a_list_of_files_that_lost_its_end_is_noticed) {
  const fs::path manifest = good().files("MANIFEST-", "").back();
  const std::string bytes = slurp(manifest);
  for (std::size_t size = 0; size < bytes.size(); size += 1 + bytes.size() / 150) {
    BOOST_TEST_CONTEXT(size << " of " << bytes.size() << " bytes") {
      const copied copy;
      spill(copy.path(manifest), bytes.substr(0, size));
      const auto found = copy.open();
      // Behind the mark stand only things that the logs hold as well.
      if (found.is_noticed) BOOST_TEST(names(found.said, manifest), found.said);
      BOOST_TEST((found.is_noticed || size >= marked_bytes()));
    }
  }
}

BOOST_AUTO_TEST_CASE(an_older_or_a_lost_list_of_files_is_noticed) {
  const fs::path manifest = good().files("MANIFEST-", "").back();
  const fs::path current = good().files("CURRENT", "").back();
  {
    const copied copy;
    spill(copy.path(current), "MANIFEST-000001\n");
    spill(copy.path(manifest).parent_path() / "MANIFEST-000001", slurp(manifest));
    const auto found = copy.open();
    BOOST_TEST(found.is_noticed);
    BOOST_TEST(names(found.said, current), found.said);
  }
  for (const fs::path& lost : {manifest, current}) {
    const copied copy;
    fs::remove(copy.path(lost));
    const auto found = copy.open();
    BOOST_TEST(found.is_noticed);
    BOOST_TEST(names(found.said, lost), found.said);
  }
  const copied copy;
  const std::string mark = slurp(copy.root + "/db.mark");
  spill(copy.root + "/db.mark", flipped(mark, mark.size() / 2, 1));
  const auto found = copy.open();
  BOOST_TEST(found.is_noticed);
  BOOST_TEST(names(found.said, "db.mark"), found.said);
}

BOOST_AUTO_TEST_CASE(logs_that_are_exchanged_or_lost_are_noticed) {
  const auto logs = good().files("", ".log");
  BOOST_REQUIRE(logs.size() >= 2U);
  {
    const copied copy;
    spill(copy.path(logs[0]), slurp(logs[1]));
    spill(copy.path(logs[1]), slurp(logs[0]));
    const auto found = copy.open();
    BOOST_TEST(found.is_noticed);
    BOOST_TEST(names(found.said, logs[0]), found.said);
  }
  const copied copy;
  fs::remove(copy.path(logs[0]));
  const auto found = copy.open();
  BOOST_TEST(found.is_noticed);
}
