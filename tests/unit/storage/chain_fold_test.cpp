// Folds give the state of the chain to the bit, whatever cut the model into chunks, and a chain
// that does not hold is refused.

#include "storage/chain_fold.hpp"

#include <random>

#include <boost/test/unit_test.hpp>

#include "config/limits.hpp"
#include "messages/state_digest.hpp"
#include "storage/chain_planner.hpp"
#include "storage/open_store.hpp"
#include "storage/slice_file.hpp"
#include "storage/weight_delta.hpp"

using namespace troupe;
using namespace troupe::storage;

namespace {

using bits = std::vector<std::uint16_t>;

/// A model of three parameters that is published again and again, by one rank or two.
struct published_chain {
  std::unique_ptr<blob_store> blobs = make_memory_blob_store();
  std::unique_ptr<key_value_store> values = make_memory_key_value_store();
  checkpoint_catalog catalog{*values, *blobs};
  std::vector<bits> now{bits(5000), bits(3), bits(70'000)};
  std::vector<checkpoint_record> chain;
  std::mt19937 random{1};

  published_chain() {
    for (auto& parameter : now) {
      for (auto& value : parameter)
        value = static_cast<std::uint16_t>(random());
    }
    std::vector<slice_entry> entries;
    for (std::uint32_t p = 0; p < now.size(); ++p)
      entries.push_back({slice_part::weights, p, 0, now[p].size()});
    auto writer = slice_writer::create(*blobs, dtype::bf16, entries).value();
    for (const auto& parameter : now)
      BOOST_REQUIRE(writer.append(std::span<const std::uint16_t>(parameter)));
    const auto blob = writer.commit().value();
    checkpoint_manifest m;
    m.run.value = "r";
    m.kind = checkpoint_kind::sampler_base;
    m.model.vocab_size = m.model.hidden_size = m.model.intermediate_size = 8;
    m.model.num_layers = m.model.num_heads = m.model.num_kv_heads = 1;
    m.model.head_dim = 8;
    m.model.max_positions = 16;
    m.state = digest();
    m.files = {{blob.blob, blob.bytes, 0}};
    chain.push_back(catalog.commit(m).value());
  }

  state_digest digest() const {
    state_digest out;
    for (std::uint32_t p = 0; p < now.size(); ++p)
      add_elements(out, p, 0, std::span<const std::uint16_t>(now[p]));
    return out;
  }

  /// `cut`: where a second rank's slice of the last parameter begins; 0: there is one rank.
  void step(double share, std::size_t cut) {
    const auto before = now;
    std::bernoulli_distribution changes(share);
    for (auto& parameter : now) {
      for (auto& value : parameter) {
        if (changes(random)) value = static_cast<std::uint16_t>(value + random() % 3);
      }
    }
    checkpoint_manifest m = chain.back().manifest;
    m.kind = checkpoint_kind::sampler_delta;
    m.parent = chain.back().id;
    m.base = chain.front().id;
    ++m.depth;
    ++m.step;
    m.parent_state = chain.back().manifest.state;
    m.state = digest();
    m.files.clear();
    const auto slice = [&](std::uint32_t p, std::size_t begin, std::size_t end) {
      return slice_change{p, begin, std::span(before[p]).subspan(begin, end - begin),
                          std::span(now[p]).subspan(begin, end - begin)};
    };
    std::vector<std::vector<slice_change>> ranks{{slice(0, 0, 5000), slice(1, 0, 3)}, {}};
    if (cut > 0) ranks[0].push_back(slice(2, 0, cut));
    ranks[1].push_back(slice(2, cut, 70'000));
    for (const auto& rank : ranks)
      m.files.push_back(put(encode_delta(rank).value().file));
    chain.push_back(catalog.commit(m).value());
  }

  checkpoint_file put(const std::vector<std::byte>& file) {
    auto writer = blobs->create().value();
    BOOST_REQUIRE(writer->append(file));
    const auto info = writer->commit().value();
    return {info.blob, info.bytes, 0};
  }

  bits base_bits(std::uint32_t p, std::uint64_t begin, std::size_t count) {
    using verification = slice_reader::verification;
    auto base =
        slice_reader::open(*blobs, chain.front().manifest.files, verification::headers).value();
    bits out(count);
    BOOST_REQUIRE(
        base.read(slice_part::weights, p, begin, std::span<std::uint16_t>(out)).has_value());
    return out;
  }

  /// The base with one delta on it.
  std::vector<bits> with(const checkpoint_manifest& delta) {
    std::vector<bits> out;
    for (std::uint32_t p = 0; p < now.size(); ++p)
      out.push_back(base_bits(p, 0, now[p].size()));
    const state_reader live = [&](std::uint32_t p, std::uint64_t begin,
                                  std::span<std::uint16_t> into) -> result<void> {
      std::copy_n(out[p].begin() + static_cast<std::ptrdiff_t>(begin), into.size(), into.begin());
      return {};
    };
    for (const checkpoint_file& file : delta.files) {
      auto reader = blobs->open(file.blob).value();
      std::vector<std::byte> content(file.bytes);
      BOOST_REQUIRE(reader->read(0, content));
      const auto chunks = decode_delta(content, live).value();
      for (const auto& chunk : chunks) {
        for (std::size_t i = 0; i < chunk.elements.size(); ++i)
          out[chunk.parameter][chunk.elements[i]] = chunk.bits[i];
      }
    }
    return out;
  }
};

}  // namespace

BOOST_AUTO_TEST_CASE(a_fold_gives_the_chains_state_to_the_bit) {
  published_chain c;
  for (const std::size_t cut : {0U, 0U, 30'000U, 30'000U, 1U, 69'999U, 12'345U, 0U})
    c.step(0.05, cut);
  const auto folded = fold_chain(*c.blobs, c.chain).value();
  BOOST_TEST(folded.depth == 1U);
  BOOST_TEST((folded.folds == c.chain.back().id));
  BOOST_TEST((folded.state == c.digest()));
  BOOST_TEST((c.with(folded) == c.now));
  // The same again is the same.
  BOOST_TEST((fold_chain(*c.blobs, c.chain).value() == folded));
}

BOOST_AUTO_TEST_CASE(folds_shorten_chains_and_go_with_what_they_fold) {
  published_chain c;
  for (int i = 0; i < 8; ++i)
    c.step(0.01, 0);
  const auto folded = c.catalog.commit(fold_chain(*c.blobs, c.chain).value()).value();
  BOOST_TEST((c.catalog.commit(folded.manifest).value() == folded));
  c.step(0.01, 0);
  const auto last = c.chain.back();
  const std::vector<checkpoint_record> expected{c.chain.front(), folded, last};
  BOOST_TEST((c.catalog.chain(last.id, chain_form::shortest).value() == expected));
  BOOST_TEST((c.catalog.chain(last.id, chain_form::complete).value() == c.chain));
  // A longer chain folds just as well when its deltas lie behind an older fold.
  const auto again = fold_chain(*c.blobs, c.chain).value();
  BOOST_TEST((c.with(again) == c.now));
  auto wrong = again;
  wrong.state.low ^= 1;
  BOOST_TEST(!c.catalog.commit(wrong).has_value());
  wrong = again;
  wrong.folds = c.chain[2].id;
  BOOST_TEST(!c.catalog.commit(wrong).has_value());
}

BOOST_AUTO_TEST_CASE(a_chain_that_does_not_hold_is_refused) {
  published_chain c;
  for (int i = 0; i < 4; ++i)
    c.step(0.02, 0);
  auto skipped = c.chain;
  skipped.erase(skipped.begin() + 2);
  BOOST_TEST((fold_chain(*c.blobs, skipped).error().code == errc::wrong_base));
  auto swapped = c.chain;
  std::swap(swapped[2], swapped[3]);
  BOOST_TEST((fold_chain(*c.blobs, swapped).error().code == errc::wrong_base));
  auto promised = c.chain;
  promised.back().manifest.state.high ^= 1;
  BOOST_TEST((fold_chain(*c.blobs, promised).error().code == errc::corrupt));
  BOOST_REQUIRE(c.blobs->remove(c.chain[1].manifest.files[0].blob));
  BOOST_TEST((fold_chain(*c.blobs, c.chain).error().code == errc::not_found));
}

BOOST_AUTO_TEST_CASE(a_run_publishes_a_base_again_for_three_reasons) {
  published_chain c;
  chain_planner planner(*c.values, c.catalog);
  const auto advice = [&] { return planner.plan(c.chain.back().id).value(); };
  BOOST_TEST((advice().plan.advice == publish_advice::delta));
  for (std::uint32_t i = 0; i < limits::fold_every_deltas; ++i)
    c.step(0.001, 0);
  BOOST_TEST((advice().unfolded == c.chain.back().id));
  BOOST_REQUIRE(c.catalog.commit(fold_chain(*c.blobs, c.chain).value()));
  BOOST_TEST(!advice().unfolded.has_value());
  while (c.chain.back().manifest.depth < limits::delta_depth_max)
    c.step(0.001, 0);
  BOOST_TEST((advice().plan.advice == publish_advice::base_for_depth));
  BOOST_REQUIRE(planner.doubt(c.chain[3].id, "a test says so"));
  BOOST_TEST((advice().plan.advice == publish_advice::base_for_doubt));
  published_chain heavy;
  chain_planner other(*heavy.values, heavy.catalog);
  for (int i = 0; i < 12; ++i)
    heavy.step(1.0, 0);
  BOOST_TEST(
      (other.plan(heavy.chain.back().id).value().plan.advice == publish_advice::base_for_bytes));
  BOOST_TEST((other.plan(checkpoint_id{std::string(64, 'a')}).value().plan.advice ==
              publish_advice::base_for_doubt));
}
