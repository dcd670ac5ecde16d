#include <boost/test/unit_test.hpp>

#include "config/limits.hpp"
#include "storage/checkpoint_catalog.hpp"
#include "storage/event_log.hpp"
#include "storage/open_store.hpp"
#include "storage/run_catalog.hpp"

using namespace troupe;
using namespace troupe::storage;

namespace {

model_config some_model() {
  model_config model;
  model.vocab_size = model.hidden_size = model.intermediate_size = 8;
  model.num_layers = model.num_heads = model.num_kv_heads = 1;
  model.head_dim = 8;
  model.max_positions = 16;
  return model;
}

struct fixture {
  std::unique_ptr<key_value_store> values = make_memory_key_value_store();
  std::unique_ptr<blob_store> blobs = make_memory_blob_store();
  checkpoint_catalog catalog{*values, *blobs};

  checkpoint_file put_file(const std::string& text) {
    const auto writer = blobs->create().value();
    BOOST_REQUIRE(writer->append(std::as_bytes(std::span(text))));
    const auto info = writer->commit().value();
    return {info.blob, info.bytes, 0};
  }

  checkpoint_manifest manifest(checkpoint_kind kind, std::uint64_t step,
                               const std::string& run = "r") {
    checkpoint_manifest m;
    m.run.value = run;
    m.kind = kind;
    m.step = step;
    m.state = {step, 1};
    m.model = some_model();
    m.files = {put_file(run + std::to_string(step))};
    return m;
  }

  checkpoint_manifest delta_after(const checkpoint_record& parent) {
    auto m = manifest(checkpoint_kind::sampler_delta, parent.manifest.step + 1);
    m.parent = parent.id;
    const bool from_base = parent.manifest.kind == checkpoint_kind::sampler_base;
    m.base = from_base ? parent.id : parent.manifest.base;
    m.depth = parent.manifest.depth + 1;
    m.parent_state = parent.manifest.state;
    return m;
  }

  errc refusal(const checkpoint_manifest& m) {
    const auto committed = catalog.commit(m);
    return committed ? errc::none : committed.error().code;
  }
};

}  // namespace

BOOST_FIXTURE_TEST_CASE(a_record_is_found_by_id_and_prefix, fixture) {
  const auto m = manifest(checkpoint_kind::training, 1);
  const auto record = catalog.commit(m).value();
  BOOST_TEST((record.manifest == m));
  BOOST_TEST((record.id == identity_of(m).value()));
  BOOST_TEST((catalog.commit(m).value() == record));
  BOOST_TEST((catalog.get(record.id.value).value() == record));
  BOOST_TEST((catalog.get(record.id.value.substr(0, 6)).value() == record));
  BOOST_TEST(catalog.list({}).value().size() == 1U);
  for (const std::string& bad :
       {std::string("abcde"), std::string("ABCDEF"), std::string("../../"), std::string(65, 'a')})
    BOOST_TEST((catalog.get(bad).error().code == errc::invalid_argument));
  BOOST_TEST((catalog.get(std::string(64, 'a')).error().code == errc::not_found));
}

BOOST_FIXTURE_TEST_CASE(an_ambiguous_prefix_is_refused, fixture) {
  const std::string value = "x";
  for (const char last : {'1', '2'})
    BOOST_REQUIRE(values->write(
        {{{column::checkpoints, "abcdef" + std::string(57, '0') + last, value}}, {}}));
  BOOST_TEST((catalog.get("abcdef").error().code == errc::invalid_argument));
  BOOST_TEST((catalog.get("abcdef" + std::string(57, '0') + "1").error().code == errc::corrupt));
}

BOOST_FIXTURE_TEST_CASE(lists_are_by_run_step_and_kind, fixture) {
  const auto late = catalog.commit(manifest(checkpoint_kind::training, 300)).value();
  const auto snapshot = catalog.commit(manifest(checkpoint_kind::snapshot, 2)).value();
  const auto training = catalog.commit(manifest(checkpoint_kind::training, 2)).value();
  const auto other = catalog.commit(manifest(checkpoint_kind::training, 1, "r1")).value();
  const std::vector<checkpoint_record> mine = {training, snapshot, late};
  const std::vector<checkpoint_record> all = {training, snapshot, late, other};
  BOOST_TEST((catalog.list(run_id{"r"}).value() == mine));
  BOOST_TEST((catalog.list({}).value() == all));
  BOOST_TEST(catalog.list(run_id{"q"}).value().empty());
}

BOOST_FIXTURE_TEST_CASE(a_chain_ends_at_the_newest_base, fixture) {
  const auto root = catalog.commit(manifest(checkpoint_kind::training, 1)).value();
  auto base_manifest = manifest(checkpoint_kind::sampler_base, 2);
  base_manifest.parent = root.id;
  const auto base = catalog.commit(base_manifest).value();
  const auto first = catalog.commit(delta_after(base)).value();
  const auto second = catalog.commit(delta_after(first)).value();
  const std::vector<checkpoint_record> chain = {base, first, second};
  const std::vector<checkpoint_record> lineage = {second, first, base, root};
  const std::vector<checkpoint_record> alone = {root};
  BOOST_TEST((catalog.chain(second.id, chain_form::complete).value() == chain));
  BOOST_TEST((catalog.lineage(second.id).value() == lineage));
  BOOST_TEST((catalog.chain(root.id, chain_form::complete).value() == alone));
}

BOOST_FIXTURE_TEST_CASE(contradictions_to_the_lineage_are_refused, fixture) {
  const auto base = catalog.commit(manifest(checkpoint_kind::sampler_base, 1)).value();
  const auto training = catalog.commit(manifest(checkpoint_kind::training, 1)).value();
  const auto first = catalog.commit(delta_after(base)).value();
  auto m = delta_after(first);
  m.depth = 1;
  BOOST_TEST((refusal(m) == errc::invalid_argument));
  m = delta_after(first);
  m.base = first.id;
  BOOST_TEST((refusal(m) == errc::invalid_argument));
  m = delta_after(first);
  m.parent_state.low ^= 1;
  BOOST_TEST((refusal(m) == errc::invalid_argument));
  m = delta_after(first);
  m.parent = {};
  BOOST_TEST((refusal(m) == errc::invalid_argument));
  m = delta_after(first);
  m.parent.value = std::string(64, 'a');
  BOOST_TEST((refusal(m) == errc::invalid_argument));
  m = delta_after(base);
  m.parent = m.base = training.id;
  BOOST_TEST((refusal(m) == errc::invalid_argument));
  m = manifest(checkpoint_kind::sampler_base, 9);
  m.depth = 1;
  BOOST_TEST((refusal(m) == errc::invalid_argument));
  BOOST_TEST(catalog.list({}).value().size() == 3U);
}

BOOST_FIXTURE_TEST_CASE(a_chain_has_a_longest_length, fixture) {
  auto record = catalog.commit(manifest(checkpoint_kind::sampler_base, 1)).value();
  for (std::uint32_t depth = 1; depth <= limits::delta_depth_max; ++depth)
    record = catalog.commit(delta_after(record)).value();
  BOOST_TEST((refusal(delta_after(record)) == errc::invalid_argument));
  BOOST_TEST(catalog.chain(record.id, chain_form::complete).value().size() ==
             limits::delta_depth_max + 1U);
}

BOOST_FIXTURE_TEST_CASE(a_record_needs_its_files, fixture) {
  // LINEAGE-1
  auto m = manifest(checkpoint_kind::training, 1);
  ++m.files[0].bytes;
  BOOST_TEST((refusal(m) == errc::corrupt));
  m.files[0].blob.value = std::string(64, 'a');
  BOOST_TEST((refusal(m) == errc::corrupt));
  BOOST_TEST(catalog.list({}).value().empty());
}

BOOST_FIXTURE_TEST_CASE(a_folder_has_one_cluster_and_no_newer_version, fixture) {
  run_catalog runs(*values);
  BOOST_REQUIRE(runs.claim("a"));
  BOOST_TEST(run_catalog(*values).claim("a").has_value());
  BOOST_TEST((runs.claim("b").error().code == errc::in_use));
  BOOST_REQUIRE(values->write({{{column::meta, "storage-version", "2"}}, {}}));
  BOOST_TEST((runs.claim("a").error().code == errc::unsupported));
  BOOST_REQUIRE(values->write({{{column::meta, "storage-version", "1x"}}, {}}));
  BOOST_TEST((runs.claim("a").error().code == errc::corrupt));
}

BOOST_FIXTURE_TEST_CASE(runs_are_replaced_by_name, fixture) {
  run_catalog runs(*values);
  run_record b, a;
  b.run.value = b.request.name = "b";
  a.run.value = a.request.name = "a";
  a.request.model.directory = b.request.model.directory = "/m";
  BOOST_REQUIRE(runs.put(b));
  BOOST_REQUIRE(runs.put(a));
  b.incarnation = 7;
  BOOST_REQUIRE(runs.put(b));
  const std::vector<run_record> expected = {a, b};
  BOOST_TEST((runs.list().value() == expected));
  BOOST_REQUIRE(values->write({{{column::jobs, std::string("run\0c", 5), "junk"}}, {}}));
  BOOST_TEST((runs.list().error().code == errc::corrupt));
}

BOOST_FIXTURE_TEST_CASE(a_ledger_keeps_its_order_over_restarts, fixture) {
  std::vector<ledger_entry> expected;
  for (std::uint64_t i = 0; i < 5; ++i) {
    ledger_entry entry;
    entry.deployment.value = "d";
    entry.node.value = "n" + std::to_string(i % 2);
    entry.version = 100 - i;
    entry.checkpoint.value = std::string(64, 'c');
    entry.outcome = "committed";
    BOOST_REQUIRE(run_catalog(*values).append(entry));
    expected.push_back(entry);
  }
  BOOST_TEST((run_catalog(*values).ledger(deployment_id{"d"}).value() == expected));
  BOOST_TEST(run_catalog(*values).ledger(deployment_id{"d1"}).value().empty());
}

BOOST_FIXTURE_TEST_CASE(events_of_a_run_keep_their_order_and_bound, fixture) {
  // EVENTS-1
  const std::uint64_t num_events = limits::run_events_max + 300;
  for (std::uint64_t number = 1; number <= num_events; ++number) {
    for (const char* run : {"r", "r1"}) {
      run_event event;
      event.number = number;
      event.detail = run;
      BOOST_REQUIRE(values->write(keeping({run_id{run}, event}).value()));
    }
  }
  const auto kept = read_events(*values, {run_id{"r"}, 0}).value().events;
  BOOST_REQUIRE(kept.size() == limits::run_events_max);
  for (std::size_t i = 0; i < kept.size(); ++i) {
    BOOST_REQUIRE(kept[i].number == i + 301);
    BOOST_REQUIRE(kept[i].detail == "r");
  }
  const auto newer = read_events(*values, {run_id{"r"}, num_events - 2}).value().events;
  BOOST_REQUIRE(newer.size() == 2U);
  BOOST_TEST(newer.front().number == num_events - 1);
  BOOST_TEST(read_events(*values, {run_id{"s"}, 0}).value().events.empty());
}
