// How long a collection of garbage keeps its owner from acknowledging ops: the longest of its
// slices over thousands of records, all but two of them garbage, on a real database. The baseline,
// in the same run, is the whole collection, which is what one that is not sliced would hold ops up
// for; one synced write is shown beside it, because a slice contains one.

#include <algorithm>
#include <cstdio>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <boost/json.hpp>

#include "storage/garbage_collector.hpp"
#include "storage/open_store.hpp"
#include "tests/bench/command_line.hpp"
#include "tests/bench/give_up.hpp"
#include "tests/bench/timing.hpp"
#include "tests/support/scratch_folder.hpp"

namespace {

using namespace troupe;
using bench::ms_since;
using bench::need;
using bench::quantile;
using bench::steady;

constexpr std::uint64_t day_ms = 86'400'000;

void fill(storage::checkpoint_catalog& catalog, storage::blob_store& blobs, std::uint32_t records) {
  auto writer = need(blobs.create());
  need(writer->append(std::as_bytes(std::span(std::string_view("state")))));
  const auto blob = need(writer->commit());
  for (std::uint32_t i = 1; i <= records; ++i) {
    checkpoint_manifest m;
    m.run.value = "bench";
    m.kind = checkpoint_kind::snapshot;
    m.step = m.seq_id = i;
    m.state = {i, 1};
    m.model.vocab_size = m.model.hidden_size = m.model.intermediate_size = 8;
    m.model.num_layers = m.model.num_heads = m.model.num_kv_heads = 1;
    m.model.head_dim = 8;
    m.model.max_positions = 16;
    m.created_unix_ms = i;
    m.files = {{blob.blob, blob.bytes, 0}};
    need(catalog.commit(m));
  }
}

}  // namespace

int main(int argc, char** argv) {
  std::uint32_t records = 5000;
  bench::command_line words("How long a collection of garbage holds up what is acknowledged.");
  words.add("records", records, "checkpoints, all but two of them garbage");
  words.parse(argc, argv);
  const tests::scratch_folder folder;
  const auto blobs = need(storage::open_posix_blob_store(folder.path()));
  const auto values = need(storage::open_rocksdb_store(folder.path()));
  storage::checkpoint_catalog catalog(*values, *blobs);
  fill(catalog, *blobs, records);
  std::vector<double> write_ms;
  for (std::uint32_t i = 0; i < 100; ++i) {
    const auto begun = steady::now();
    need(values->write({{{storage::column::meta, "bench", std::to_string(i)}}, {}}));
    write_ms.push_back(ms_since(begun));
  }
  storage::garbage_collector garbage(*values, *blobs, {});
  std::vector<double> slice_ms;
  garbage.begin({false, 0}, storage::garbage_scope::files);
  for (bool is_done = false; !is_done;) {
    const auto begun = steady::now();
    is_done = need(garbage.step(10 * day_ms)).has_value();
    slice_ms.push_back(ms_since(begun));
  }
  double total = 0;
  for (const double ms : slice_ms)
    total += ms;
  const double longest = *std::max_element(slice_ms.begin(), slice_ms.end());
  const boost::json::object numbers{{"records", records},
                                    {"slices", slice_ms.size()},
                                    {"longest_slice_ms", longest},
                                    {"slice_ms_p50", quantile(slice_ms, 0.5)},
                                    {"slice_ms_p99", quantile(slice_ms, 0.99)},
                                    {"synced_write_ms_p50", quantile(write_ms, 0.5)},
                                    {"synced_write_ms_p99", quantile(write_ms, 0.99)},
                                    {"collection_ms", total},
                                    {"ratio", total / longest}};
  std::printf("%s\n", boost::json::serialize(numbers).c_str());
  return 0;
}
