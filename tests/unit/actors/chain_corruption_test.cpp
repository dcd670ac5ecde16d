// Ten thousand damaged, shuffled and forged chains: a replica stages none of them, and what it
// serves stays what it was.

#include <algorithm>
#include <functional>
#include <map>
#include <random>

#include <boost/test/unit_test.hpp>

#include "actors/engine_io/replica_weights.hpp"
#include "storage/open_store.hpp"
#include "storage/sha256.hpp"
#include "storage/slice_file.hpp"
#include "tests/support/sim_cluster.hpp"

namespace troupe {
namespace {

using bytes = std::vector<std::byte>;
using chain = std::vector<checkpoint_record>;

class bytes_reader final : public storage::blob_reader {
 public:
  explicit bytes_reader(const bytes& content) : content_(content) {}
  std::uint64_t size() const override { return content_.size(); }
  result<void> read(std::uint64_t offset, std::span<std::byte> out) override {
    if (offset > content_.size() || out.size() > content_.size() - offset)
      return fail(errc::corrupt, "the blob ends early");
    std::copy_n(content_.begin() + static_cast<std::ptrdiff_t>(offset), out.size(), out.begin());
    return {};
  }

 private:
  bytes content_;
};

/// A store whose files change under their names, as on a bad disk.
class bad_disk final : public storage::blob_store {
 public:
  std::map<std::string, bytes> files;

  result<std::unique_ptr<storage::blob_reader>> open(const blob_id& blob) override {
    const auto found = files.find(blob.value);
    if (found == files.end()) return fail(errc::not_found, "no blob");
    return std::make_unique<bytes_reader>(found->second);
  }
  result<std::unique_ptr<storage::blob_writer>> create() override { return inner_->create(); }
  result<void> verify(const blob_id& blob) override {
    const auto found = files.find(blob.value);
    if (found != files.end() && storage::sha256_hex(found->second) == blob.value) return {};
    return fail(errc::corrupt, "the blob is not what its name says");
  }
  result<storage::blob_info> info(const blob_id& blob) override { return inner_->info(blob); }
  result<void> remove(const blob_id& blob) override { return inner_->remove(blob); }
  result<std::vector<storage::blob_info>> list() override { return inner_->list(); }

  /// Takes over what was written.
  void adopt() {
    const auto written = inner_->list().value();
    for (const auto& info : written) {
      bytes content(info.bytes);
      BOOST_REQUIRE(inner_->open(info.blob).value()->read(0, content));
      files[info.blob.value] = std::move(content);
    }
  }

 private:
  std::unique_ptr<storage::blob_store> inner_ = storage::make_memory_blob_store();
};

struct fixture {
  bad_disk disk;
  tests::sim_engine_factory engines;
  actors::replica_weights replica{engines, disk};
  model_source source{tests::tiny_model_directory()};
  std::vector<gpu::parameter_slice> slices;
  std::mt19937_64 random{7};
  chain good;  ///< a base and its deltas
  state_digest opened;

  fixture() {
    auto engine = replica.open(source);
    BOOST_REQUIRE(engine.has_value());
    opened = replica.state();
    const auto model = actors::open_model(source).value();
    for (std::uint32_t i = 0; i < model.layout.size(); ++i)
      slices.push_back({i, 0, model.layout[i].num_elements()});
    actors::bf16_state state(slices);
    for (const auto& slice : slices) {
      std::vector<std::uint16_t> bits(slice.num_elements());
      for (auto& b : bits)
        b = static_cast<std::uint16_t>(random());
      BOOST_REQUIRE(state.write(slice, bits));
    }
    state.refresh_digest();
    add_base(state, model.files->config());
    for (int i = 0; i < 5; ++i)
      add_delta(state, model.files->config());
    disk.adopt();
  }

  void add_base(const actors::bf16_state& state, const model_config& model) {
    std::vector<storage::slice_entry> entries;
    for (const auto& s : slices)
      entries.push_back({storage::slice_part::weights, s.parameter, s.begin, s.end});
    auto writer = storage::slice_writer::create(disk, dtype::bf16, std::move(entries)).value();
    for (std::size_t i = 0; i < slices.size(); ++i)
      BOOST_REQUIRE(writer.append(state.bits(i)));
    const auto blob = writer.commit().value();
    checkpoint_record base;
    base.id.value = std::string(63, 'b') + "0";
    base.manifest.kind = checkpoint_kind::sampler_base;
    base.manifest.model = model;
    base.manifest.state = state.digest();
    base.manifest.files = {{blob.blob, blob.bytes, 0}};
    good.push_back(base);
  }

  void add_delta(actors::bf16_state& state, const model_config& model) {
    actors::bf16_state next(slices);
    for (std::size_t i = 0; i < slices.size(); ++i) {
      std::vector<std::uint16_t> bits(state.bits(i).begin(), state.bits(i).end());
      for (auto& b : bits) {
        if (random() % 20 == 0) b = static_cast<std::uint16_t>(b + 1 + random() % 3);
      }
      BOOST_REQUIRE(next.write(slices[i], bits));
    }
    next.refresh_digest();
    std::vector<storage::slice_change> changes;
    for (std::size_t i = 0; i < slices.size(); ++i)
      changes.push_back({slices[i].parameter, 0, state.bits(i), next.bits(i)});
    const auto encoded = storage::encode_delta(changes).value();
    const auto writer = disk.create().value();
    BOOST_REQUIRE(writer->append(encoded.file));
    const auto blob = writer->commit().value();
    checkpoint_record delta;
    delta.id.value = std::string(63, 'd') + std::to_string(good.size());
    delta.manifest.kind = checkpoint_kind::sampler_delta;
    delta.manifest.model = model;
    delta.manifest.parent_state = state.digest();
    delta.manifest.state = next.digest();
    delta.manifest.files = {{blob.blob, blob.bytes, 0}};
    good.push_back(delta);
    state = std::move(next);
  }

  bytes& file_of(const checkpoint_record& record) {
    return disk.files.at(record.manifest.files[0].blob.value);
  }
  std::size_t below(std::size_t limit) { return random() % limit; }
  std::size_t some_delta() { return 1 + below(good.size() - 1); }
};

using spoiler = std::function<void(fixture&, chain&)>;

/// Ways to spoil a chain; files are put back afterwards.
const std::vector<std::pair<const char*, spoiler>> spoilers{
    {"bit flip",
     [](fixture& f, chain& c) {
       bytes& file = f.file_of(c[f.below(c.size())]);
       file[f.below(file.size())] ^= static_cast<std::byte>(1U << f.below(8));
     }},
    {"truncation",
     [](fixture& f, chain& c) {
       bytes& file = f.file_of(c[f.below(c.size())]);
       file.resize(f.below(file.size()));
     }},
    {"truncation that the record knows",
     [](fixture& f, chain& c) {
       checkpoint_record& record = c[f.below(c.size())];
       bytes& file = f.file_of(record);
       file.resize(f.below(file.size()));
       record.manifest.files[0].bytes = file.size();
     }},
    {"swapped files",
     [](fixture& f, chain& c) {
       const std::size_t a = f.some_delta();
       const std::size_t b = 1 + (a + f.below(c.size() - 2)) % (c.size() - 1);
       std::swap(c[a].manifest.files, c[b].manifest.files);
     }},
    {"reordered",
     [](fixture& f, chain& c) {
       const std::size_t a = f.some_delta();
       const std::size_t b = 1 + (a + f.below(c.size() - 2)) % (c.size() - 1);
       std::swap(c[a], c[b]);
     }},
    {"duplicated",
     [](fixture& f, chain& c) {
       const auto at = static_cast<std::ptrdiff_t>(f.some_delta());
       const checkpoint_record twice = c[static_cast<std::size_t>(at)];
       c.insert(c.begin() + at, twice);
     }},
    {"skipped",
     [](fixture& f, chain& c) {
       c.erase(c.begin() + static_cast<std::ptrdiff_t>(1 + f.below(c.size() - 2)));
     }},
    {"delta on what is served", [](fixture& f, chain& c) { c = {c[f.some_delta()]}; }},
    {"forged base",
     [](fixture& f, chain& c) {
       c = {c[f.some_delta()]};
       c[0].manifest.parent_state = f.opened;
     }},
    {"forged result",
     [](fixture& f, chain& c) { c[f.below(c.size())].manifest.state.low ^= 1U << f.below(31); }},
    {"missing file",
     [](fixture& f, chain& c) {
       f.disk.files.erase(c[f.below(c.size())].manifest.files[0].blob.value);
     }},
};

}  // namespace

BOOST_FIXTURE_TEST_CASE(ten_thousand_spoilt_chains_are_refused, fixture) {
  const auto untouched = disk.files;
  for (int round = 0; round < 10'000; ++round) {
    const auto& [kind, spoil] = spoilers[static_cast<std::size_t>(round) % spoilers.size()];
    chain spoilt = good;
    spoil(*this, spoilt);
    const auto staged = replica.stage({1, spoilt});
    if (staged || replica.state() != opened)
      BOOST_FAIL(kind << " in round " << round << " was taken");
    disk.files = untouched;
  }
  auto staged = replica.stage({1, good});
  BOOST_REQUIRE(staged.has_value());
  BOOST_TEST(((*staged)->state == good.back().manifest.state));
  replica.adopt(**staged);
  BOOST_TEST((replica.state() == good.back().manifest.state));
  // What was applied once is not applied again.
  BOOST_TEST((replica.stage({2, {good.back()}}).error().code == errc::wrong_base));
}

}  // namespace troupe
