// "Durable when it returns" means that the disk was asked to keep it, write by write: counted where
// RocksDB waits for the sync of its log.

#include <boost/test/unit_test.hpp>
#include <rocksdb/iostats_context.h>
#include <rocksdb/perf_level.h>

#include "storage/open_store.hpp"
#include "tests/support/scratch_folder.hpp"

using namespace troupe;
using namespace troupe::storage;

BOOST_AUTO_TEST_CASE(every_write_waits_for_the_disk) {
  const tests::scratch_folder folder;
  const auto values = open_rocksdb_store(folder.path());
  BOOST_REQUIRE(values.has_value());
  rocksdb::SetPerfLevel(rocksdb::PerfLevel::kEnableTime);
  for (int i = 0; i < 10; ++i) {
    rocksdb::get_iostats_context()->Reset();
    BOOST_REQUIRE((*values)->write({{{column::oplog, "k" + std::to_string(i), "v"}}, {}}));
    BOOST_TEST(rocksdb::get_iostats_context()->fsync_nanos > 0U);
  }
  rocksdb::SetPerfLevel(rocksdb::PerfLevel::kDisable);
}
