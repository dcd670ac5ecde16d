// What is forgotten, what is kept and why, in which order files go, and what a crash leaves.

#include <algorithm>
#include <optional>
#include <random>

#include <boost/test/unit_test.hpp>

#include "storage/garbage_collector.hpp"
#include "storage/journal_record.hpp"
#include "storage/keys.hpp"
#include "storage/open_store.hpp"

using namespace troupe;
using namespace troupe::storage;

namespace {

constexpr std::uint64_t minute = 60'000;
constexpr std::uint64_t day = 24 * 60 * minute;

/// Hands writes on until it is told to fail them, as a killed process does.
class failing_store final : public key_value_store {
 public:
  explicit failing_store(key_value_store& inner) : inner_(inner) {}
  result<void> write(const write_batch& batch) override {
    if (writes_left && (*writes_left)-- == 0) return fail(errc::storage, "killed");
    return inner_.write(batch);
  }
  result<std::optional<std::string>> get(column where, std::string_view key) override {
    return inner_.get(where, key);
  }
  result<void> scan(column where, std::string_view first, std::string_view last,
                    const std::function<bool(std::string_view, std::string_view)>& visit) override {
    return inner_.scan(where, first, last, visit);
  }
  std::optional<std::uint64_t> writes_left;

 private:
  key_value_store& inner_;
};

struct fixture {
  std::unique_ptr<key_value_store> disk = make_memory_key_value_store();
  failing_store values{*disk};
  std::unique_ptr<blob_store> blobs = make_memory_blob_store();
  checkpoint_catalog catalog{values, *blobs};
  run_catalog runs{values};
  garbage_collector garbage{values, *blobs, {}};
  std::uint64_t now = 10 * day;

  checkpoint_file put_file(const std::string& text) {
    const auto writer = blobs->create().value();
    BOOST_REQUIRE(writer->append(std::as_bytes(std::span(text))));
    const auto info = writer->commit().value();
    return {info.blob, info.bytes, 0};
  }

  checkpoint_record put(checkpoint_kind kind, std::uint64_t step, const std::string& name = "",
                        const std::string& content = "") {
    checkpoint_manifest m;
    m.run.value = "r";
    m.kind = kind;
    m.name = name;
    m.step = m.seq_id = step;
    m.state = {step, 1};
    m.model.vocab_size = m.model.hidden_size = m.model.intermediate_size = 8;
    m.model.num_layers = m.model.num_heads = m.model.num_kv_heads = 1;
    m.model.head_dim = 8;
    m.model.max_positions = 16;
    m.created_unix_ms = now;
    m.files = {put_file(content.empty() ? "file " + std::to_string(step) : content)};
    return catalog.commit(m).value();
  }

  checkpoint_record delta_after(const checkpoint_record& parent) {
    checkpoint_manifest m = parent.manifest;
    m.kind = checkpoint_kind::sampler_delta;
    m.name.clear();
    m.parent = parent.id;
    m.base = parent.manifest.base.empty() ? parent.id : parent.manifest.base;
    ++m.depth;
    ++m.step;
    m.parent_state = parent.manifest.state;
    m.state = {m.step, 2};
    m.files = {put_file("delta " + std::to_string(m.step))};
    return catalog.commit(m).value();
  }

  void put_run(const checkpoint_id& snapshot, const checkpoint_id& published = {}) {
    run_record run;
    run.run.value = run.request.name = "r";
    run.request.model.directory = "/m";
    run.snapshot = snapshot;
    run.published = published;
    BOOST_REQUIRE(runs.put(run));
  }

  bool exists(const checkpoint_record& record) { return catalog.get(record.id.value).has_value(); }
  bool has_file(const checkpoint_record& record) {
    return blobs->info(record.manifest.files[0].blob).has_value();
  }
  garbage_report collect() { return garbage.collect({false, 0}, now).value(); }
};

}  // namespace

BOOST_FIXTURE_TEST_CASE(a_long_run_keeps_two_snapshots, fixture) {
  std::vector<checkpoint_record> all;
  for (std::uint64_t step = 1; step <= 40; ++step) {
    all.push_back(put(checkpoint_kind::snapshot, step));
    put_run(all.back().id);
    now += 2 * minute;
    BOOST_REQUIRE(garbage.collect(garbage.by_itself(), now));
    BOOST_TEST(catalog.list({}).value().size() <= 2U);
    // One more may wait for its grace to end.
    BOOST_TEST(blobs->list().value().size() <= 3U);
  }
  BOOST_TEST(exists(all[39]));
  BOOST_TEST(exists(all[38]));
  BOOST_TEST((catalog.lineage(all[39].id).value().size() == 1U));
}

BOOST_FIXTURE_TEST_CASE(a_run_that_was_not_told_of_its_newest_snapshot_keeps_its_own, fixture) {
  const auto first = put(checkpoint_kind::snapshot, 1);
  auto second_manifest = put(checkpoint_kind::snapshot, 2).manifest;
  second_manifest.step = 20;
  second_manifest.parent = first.id;
  const auto second = catalog.commit(second_manifest).value();
  put_run(second.id);
  for (std::uint64_t step = 3; step < 9; ++step)
    put(checkpoint_kind::snapshot, step);
  collect();
  BOOST_TEST(exists(second));
  BOOST_TEST(exists(first));
  BOOST_TEST(catalog.list({}).value().size() == 4U);
}

BOOST_FIXTURE_TEST_CASE(what_a_user_saved_or_named_stays, fixture) {
  const auto saved = put(checkpoint_kind::training, 1);
  const auto named = put(checkpoint_kind::sampler_base, 2, "best");
  const auto unnamed = put(checkpoint_kind::sampler_base, 3);
  BOOST_TEST(garbage.collect({true, 3600}, now).value().checkpoints.empty());
  const auto looked = garbage.collect({true, 0}, now + 1).value();
  BOOST_REQUIRE(looked.checkpoints.size() == 1U);
  BOOST_TEST((looked.checkpoints[0].checkpoint == unnamed.id));
  BOOST_TEST(exists(unnamed));
  now += 2 * day;
  BOOST_REQUIRE(garbage.collect(garbage.by_itself(), now));
  BOOST_TEST(exists(saved));
  BOOST_TEST(exists(named));
  BOOST_TEST(!exists(unnamed));
}

BOOST_FIXTURE_TEST_CASE(a_kept_delta_keeps_its_chain, fixture) {
  const auto base = put(checkpoint_kind::sampler_base, 1);
  const auto first = delta_after(base);
  const auto second = delta_after(first);
  const auto unused = delta_after(second);
  deployment_record served{{"d", {"/m"}}, 2, second.id};
  BOOST_REQUIRE(runs.put(served));
  now += day;
  const auto report = collect();
  BOOST_TEST(report.checkpoints.size() == 1U);
  BOOST_TEST(report.kept_checkpoints == 3U);
  BOOST_TEST(!exists(unused));
  BOOST_TEST(catalog.chain(second.id, chain_form::complete).value().size() == 3U);
  BOOST_TEST((garbage.remove(base.id, now).error().code == errc::in_use));
  BOOST_REQUIRE(runs.forget(deployment_id{"d"}));
  BOOST_TEST((garbage.remove(first.id, now).error().code == errc::in_use));
  BOOST_REQUIRE(garbage.remove(second.id, now));
  BOOST_REQUIRE(garbage.remove(first.id, now));
  BOOST_TEST((garbage.remove(first.id, now).error().code == errc::not_found));
}

BOOST_FIXTURE_TEST_CASE(readers_and_repeated_loads_keep_theirs, fixture) {
  const auto read = put(checkpoint_kind::sampler_base, 1);
  const auto loaded = put(checkpoint_kind::snapshot, 2);
  for (std::uint64_t step = 3; step < 6; ++step)
    put(checkpoint_kind::snapshot, step);
  garbage.lease({read}, now);
  put_run({});
  BOOST_REQUIRE(garbage.pin(loaded.id, run_id{"r"}, 7));
  now += minute;
  collect();
  BOOST_TEST(exists(read));
  BOOST_TEST(exists(loaded));
  now += 60 * minute;
  // Two snapshots behind the load: it will not be repeated.
  auto later = put(checkpoint_kind::snapshot, 8);
  auto manifest = put(checkpoint_kind::snapshot, 9).manifest;
  manifest.parent = later.id;
  later = catalog.commit(manifest).value();
  put_run(later.id);
  collect();
  BOOST_TEST(!exists(read));
  BOOST_TEST(!exists(loaded));
}

BOOST_FIXTURE_TEST_CASE(what_a_client_holds_outlives_the_control_node_and_then_ends, fixture) {
  // Weights of a sampling session that nothing else needs any more.
  const auto base = put(checkpoint_kind::sampler_base, 1);
  const auto held = delta_after(base);
  const auto lease = static_cast<std::uint64_t>(garbage_rules{}.lease.count());
  now += 2 * day;
  BOOST_REQUIRE(garbage.hold({held.id}, now));
  now += lease - 1;
  garbage_collector next_node{values, *blobs, {}};
  const auto collected = [&] { return next_node.collect({false, 0}, now).value(); };
  BOOST_TEST((next_node.remove(held.id, now).error().code == errc::in_use));
  BOOST_TEST((next_node.remove(base.id, now).error().code == errc::in_use));
  collected();
  BOOST_TEST(exists(held));
  BOOST_TEST(exists(base));
  // The session goes on: its gateway asks again.
  BOOST_REQUIRE(next_node.hold({held.id}, now));
  now += lease - 1;
  collected();
  BOOST_TEST(exists(held));
  BOOST_TEST(has_file(held));
  now += 2;
  collected();
  BOOST_TEST(!exists(held));
  BOOST_TEST(!exists(base));
}

BOOST_FIXTURE_TEST_CASE(files_go_after_their_grace_and_only_if_nobody_names_them, fixture) {
  const auto old = put(checkpoint_kind::sampler_base, 1, "", "shared");
  const auto alone = put(checkpoint_kind::sampler_base, 2);
  now += 1;
  auto report = collect();
  BOOST_TEST(report.checkpoints.size() == 2U);
  BOOST_TEST(report.removed_files == 0U);
  BOOST_TEST(report.dying_files == 2U);
  BOOST_TEST(has_file(alone));
  // The same content is published again meanwhile.
  const auto again = put(checkpoint_kind::training, 5, "", "shared");
  now += 20 * minute;
  report = collect();
  BOOST_TEST(report.removed_files == 1U);
  BOOST_TEST(!has_file(alone));
  BOOST_TEST(has_file(again));
  BOOST_TEST(collect().dying_files == 0U);
}

BOOST_FIXTURE_TEST_CASE(files_without_a_record_are_found, fixture) {
  const auto orphan = put_file("a rank that never reported");
  const auto payload = put_file("a journalled op");
  BOOST_REQUIRE(values.write({{{column::refs, payload_ref_key(payload.blob, "op"), ""}}, {}}));
  const auto kept = put(checkpoint_kind::training, 1);
  garbage.collect({true, 0}, now).value();
  BOOST_TEST(blobs->list().value().size() == 3U);
  BOOST_TEST(collect().removed_files == 1U);
  BOOST_TEST(!blobs->info(orphan.blob).has_value());
  BOOST_TEST(blobs->info(payload.blob).has_value());
  BOOST_TEST(has_file(kept));
}

BOOST_FIXTURE_TEST_CASE(a_folder_of_an_earlier_build_is_indexed_first, fixture) {
  const auto removed = put(checkpoint_kind::sampler_base, 1, "", "shared");
  const auto kept = put(checkpoint_kind::training, 2, "", "shared");
  for (const auto& record : {removed, kept})
    BOOST_REQUIRE(values.write(
        {{}, {{column::refs, file_ref(record.manifest.files[0].blob, record.id).key}}}));
  now += 1;
  collect();
  now += day;
  collect();
  BOOST_TEST(!exists(removed));
  BOOST_TEST(has_file(kept));
}

BOOST_FIXTURE_TEST_CASE(history_survives_what_it_was_made_from, fixture) {
  const auto old = put(checkpoint_kind::training, 1);
  BOOST_REQUIRE(garbage.remove(old.id, now));
  auto m = put(checkpoint_kind::training, 2).manifest;
  m.parent = old.id;
  const auto next = catalog.commit(m);
  BOOST_REQUIRE(next.has_value());
  BOOST_TEST(catalog.lineage(next->id).value().size() == 1U);
}

BOOST_AUTO_TEST_CASE(a_crash_at_any_write_loses_nothing_and_leaks_nothing) {
  for (std::uint64_t crash = 0; crash < 12; ++crash) {
    fixture f;
    const auto base = f.put(checkpoint_kind::sampler_base, 1);
    for (std::uint64_t step = 2; step < 6; ++step)
      f.put(checkpoint_kind::sampler_base, step);
    const auto live = f.delta_after(base);
    BOOST_REQUIRE(f.runs.put(deployment_record{{"d", {"/m"}}, 1, live.id}));
    f.put_file("orphan");
    f.now += 1;
    f.values.writes_left = crash;
    static_cast<void>(f.garbage.collect({false, 0}, f.now));
    static_cast<void>(f.garbage.collect({false, 0}, f.now + day));
    f.values.writes_left.reset();
    garbage_collector next(f.values, *f.blobs, {});
    BOOST_REQUIRE(next.collect({false, 0}, f.now + day).has_value());
    BOOST_REQUIRE(next.collect({false, 0}, f.now + 2 * day).has_value());
    BOOST_TEST(f.catalog.chain(live.id, chain_form::complete).value().size() == 2U);
    const auto kept = f.catalog.list({}).value();
    for (const auto& record : kept)
      BOOST_TEST(f.has_file(record));
    BOOST_TEST(kept.size() == 2U);
    BOOST_TEST(f.blobs->list().value().size() == 2U);
  }
}
