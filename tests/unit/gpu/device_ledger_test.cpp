// What engines of one process may take of their GPU, in which order they come and go.

#include "gpu/device_ledger.hpp"

#include <thread>
#include <utility>
#include <vector>

#include <boost/test/unit_test.hpp>

namespace {

using namespace troupe;
using namespace std::chrono_literals;

constexpr std::chrono::milliseconds patient = 20s;
constexpr std::chrono::milliseconds hasty = 1ms;

result<std::uint64_t> thousand() {
  return 1000;
}

gpu::device_demand adapters(std::uint64_t state, std::uint64_t base, std::string name) {
  return {.state = state, .shares = true, .base = base, .base_name = std::move(name)};
}

BOOST_AUTO_TEST_CASE(one_engine_has_what_its_state_leaves) {
  gpu::device_ledger ledger(4);
  const auto place = ledger.take({.state = 100}, thousand, hasty);
  BOOST_REQUIRE(place.has_value());
  BOOST_TEST(place->budget.batch == 800U);
}

BOOST_AUTO_TEST_CASE(budgets_of_sharers_never_overlap) {
  gpu::device_ledger ledger(4);
  std::vector<gpu::device_ledger::place> places;
  std::uint64_t granted = 0;
  for (int i = 0; i < 4; ++i) {
    auto place = ledger.take(adapters(10, 300, "base"), thousand, hasty);
    BOOST_REQUIRE(place.has_value());
    granted += place->budget.batch;
    places.push_back(std::move(*place));
  }
  BOOST_TEST(places[0].budget.batch == (900U - 310U) / 4);
  // The base once, four adapters and the reserve.
  BOOST_TEST(granted + 300 + 40 + 100 <= 1000U);
  const auto fifth = ledger.take(adapters(10, 300, "base"), thousand, hasty);
  BOOST_REQUIRE(!fifth.has_value());
  BOOST_TEST((fifth.error().code == errc::no_capacity));
  BOOST_TEST(fifth.error().what.starts_with("4 engines still use the GPU"));
  places.pop_back();
  BOOST_TEST(ledger.take(adapters(10, 300, "base"), thousand, hasty).has_value());
}

BOOST_AUTO_TEST_CASE(another_base_is_counted_and_a_nameless_one_each_time) {
  for (const auto& [one, other] : {std::pair{"a", "b"}, std::pair{"", ""}}) {
    gpu::device_ledger ledger(2);
    const auto first = ledger.take(adapters(0, 200, one), thousand, hasty);
    BOOST_REQUIRE(first.has_value());
    BOOST_TEST(first->budget.batch == 350U);
    const auto second = ledger.take(adapters(0, 200, other), thousand, hasty);
    BOOST_REQUIRE(second.has_value());
    BOOST_TEST(second->budget.batch == 150U);
  }
}

BOOST_AUTO_TEST_CASE(an_engine_waits_for_the_one_before_it) {
  gpu::device_ledger ledger(4);
  auto old = ledger.take({.state = 500}, thousand, hasty);
  BOOST_REQUIRE(old.has_value());
  const auto early = ledger.take(adapters(10, 300, "base"), thousand, hasty);
  BOOST_TEST((early.error().code == errc::no_capacity));
  result<gpu::device_ledger::place> next = fail(errc::internal, "");
  {
    const std::jthread waiting([&] { next = ledger.take({.state = 500}, thousand, patient); });
    old = fail(errc::internal, "it is gone");
  }
  BOOST_REQUIRE(next.has_value());
  BOOST_TEST(next->budget.batch == 400U);
}

BOOST_AUTO_TEST_CASE(a_refusal_takes_no_place) {
  gpu::device_ledger ledger(1);
  BOOST_TEST((ledger.take({.state = 901}, thousand, hasty).error().code == errc::no_capacity));
  const auto lost = [] { return result<std::uint64_t>(fail(errc::engine, "the device is lost")); };
  BOOST_TEST((ledger.take({.state = 1}, lost, hasty).error().code == errc::engine));
  BOOST_TEST(ledger.take({.state = 1}, thousand, hasty).has_value());
}

BOOST_AUTO_TEST_CASE(runs_of_several_ranks_share_no_gpu) {
  gpu::device_ledger shared(2);
  auto wide = adapters(10, 300, "base");
  wide.num_ranks = 2;
  const auto refused = shared.take(wide, thousand, hasty);
  BOOST_REQUIRE(!refused.has_value());
  BOOST_TEST((refused.error().code == errc::unsupported));
  BOOST_TEST(refused.error().action.find("slots = 1") != std::string::npos);
  gpu::device_ledger alone(1);
  BOOST_TEST(alone.take(wide, thousand, hasty).has_value());
  BOOST_TEST(shared.take({.state = 1, .num_ranks = 2}, thousand, hasty).has_value());
}

BOOST_AUTO_TEST_CASE(places_outlive_the_ledger) {
  gpu::device_ledger::place place;
  {
    gpu::device_ledger ledger(1);
    place = *ledger.take({.state = 1}, thousand, hasty);
  }
  BOOST_TEST(place.held.use_count() == 1);
}

}  // namespace
