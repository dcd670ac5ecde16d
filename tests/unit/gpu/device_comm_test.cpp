// What a communicator of devices makes of devices that refuse, fail and hang. That it is right when
// they work is the contract of all communicators (tests/conformance/comm_contract.cpp).

#include "gpu/comm/device_comm.hpp"

#include <functional>
#include <future>
#include <memory>
#include <ostream>
#include <string>
#include <thread>
#include <vector>

#include <boost/test/data/test_case.hpp>
#include <boost/test/unit_test.hpp>

#include "gpu/comm/thread_comm.hpp"
#include "gpu/gather_queue.hpp"
#include "gpu/within.hpp"
#include "tests/support/fake_devices.hpp"

namespace {

using namespace troupe;
using namespace std::chrono_literals;
using tests::device_fault;

constexpr std::chrono::milliseconds hasty = 100ms;
constexpr std::chrono::milliseconds patient = 20s;

/// Two ranks, of which the second has the fault. Its thread runs body(rank, comm).
struct pair {
  explicit pair(device_fault fault, std::chrono::milliseconds deadline = hasty) {
    auto hosts = gpu::make_thread_comms(2, patient);
    const auto each = [&](std::uint32_t rank) {
      auto made = gpu::join_devices(
          std::move(hosts[rank]), devices.links(rank == 1 ? fault : device_fault::none), deadline);
      if (made) {
        comms[rank] = std::move(*made);
      } else {
        errors[rank] = made.error();
      }
    };
    run(each);
  }

  void gather() {
    run([this](std::uint32_t rank) {
      const std::vector<float> mine(3, 1.0F);
      std::vector<float> all(6);
      auto ok = comms[rank]->all_gather(mine, all);
      if (!ok) errors[rank] = ok.error();
    });
  }

  static void run(const std::function<void(std::uint32_t)>& body) {
    const std::jthread first([&] { body(0); });
    const std::jthread second([&] { body(1); });
  }

  tests::fake_devices devices;
  std::vector<std::unique_ptr<gpu::comm>> comms = std::vector<std::unique_ptr<gpu::comm>>(2);
  std::vector<error> errors = std::vector<error>(2);
};

BOOST_AUTO_TEST_CASE(id_of_rank_zero_reaches_all) {
  const pair ranks(device_fault::none);
  BOOST_REQUIRE(ranks.comms[0] != nullptr);
  BOOST_REQUIRE(ranks.comms[1] != nullptr);
  BOOST_TEST(ranks.comms[1]->rank() == 1U);
  BOOST_TEST(ranks.comms[1]->world_size() == 2U);
}

BOOST_AUTO_TEST_CASE(no_id_ends_every_rank) {
  const tests::fake_devices devices;
  auto hosts = gpu::make_thread_comms(2, patient);
  std::vector<errc> codes(2, errc::none);
  pair::run([&](std::uint32_t rank) {
    auto joined = gpu::join_devices(std::move(hosts[rank]),
                                    devices.links(device_fault::makes_no_id), patient);
    if (!joined) codes[rank] = joined.error().code;
  });
  BOOST_TEST((codes[0] == errc::engine));
  BOOST_TEST((codes[1] == errc::peer_lost));
}

BOOST_AUTO_TEST_CASE(a_device_that_hangs_joining_is_given_up) {
  const pair ranks(device_fault::hangs_joining);
  BOOST_TEST(ranks.comms[1].get() == nullptr);
  BOOST_TEST((ranks.errors[1].code == errc::timeout));
  BOOST_TEST(ranks.errors[1].what.starts_with(
      "joining the devices did not end on the device of rank 1 within 100 ms"));
  BOOST_TEST(ranks.devices.num_aborts() >= 1U);
}

BOOST_AUTO_TEST_CASE(a_refused_joining_keeps_the_words_of_the_library) {
  const pair ranks(device_fault::refuses_joining);
  BOOST_TEST((ranks.errors[1].code == errc::engine));
  BOOST_TEST(ranks.errors[1].what == "the device refused joining");
  BOOST_TEST((ranks.errors[0].code == errc::timeout || ranks.errors[0].code == errc::peer_lost));
}

BOOST_AUTO_TEST_CASE(a_collective_that_hangs_ends_at_its_deadline) {
  pair ranks(device_fault::hangs_running);
  ranks.gather();
  BOOST_TEST((ranks.errors[1].code == errc::timeout));
  BOOST_TEST(ranks.errors[1].what.starts_with("a gather did not end on the device of rank 1"));
  BOOST_TEST(ranks.devices.num_aborts() == 1U);
}

BOOST_AUTO_TEST_CASE(a_device_that_hangs_is_lost_to_its_process) {
  pair ranks(device_fault::hangs_aborting);
  ranks.gather();
  // Which makes the node ask the device, and not only form the set anew.
  BOOST_TEST((ranks.errors[1].code == errc::engine));
  BOOST_TEST(ranks.errors[1].what == "the device refused to abort");
}

BOOST_AUTO_TEST_CASE(what_never_returns_is_given_up) {
  const auto never = std::make_shared<std::promise<void>>();
  const auto hung = gpu::within(1ms, [never]() -> result<void> {
    never->get_future().wait();
    return {};
  });
  BOOST_TEST((hung.error().code == errc::timeout));
  never->set_value();
  const auto failed =
      gpu::within(patient, []() -> result<void> { return fail(errc::engine, "lost"); });
  BOOST_TEST(failed.error().what == "lost");
  BOOST_TEST(gpu::within(patient, [] { return result<void>{}; }).has_value());
}

const auto failures = boost::unit_test::data::make(
    {static_cast<int>(device_fault::refuses_starting),
     static_cast<int>(device_fault::fails_running), static_cast<int>(device_fault::fails_finishing),
     static_cast<int>(device_fault::hangs_running)});

BOOST_DATA_TEST_CASE(after_a_failure_the_link_is_aborted_and_later_calls_fail, failures, fault) {
  pair ranks(static_cast<device_fault>(fault));
  ranks.gather();
  BOOST_TEST((ranks.errors[1].code == errc::engine || ranks.errors[1].code == errc::timeout));
  BOOST_TEST(ranks.devices.num_aborts() >= 1U);
  std::vector<float> mine(1);
  std::vector<float> all(2);
  std::vector<double> one(1);
  BOOST_TEST((ranks.comms[1]->all_gather(mine, all).error().code == errc::peer_lost));
  BOOST_TEST((ranks.comms[1]->reduce_scatter(all, mine).error().code == errc::peer_lost));
  BOOST_TEST((ranks.comms[1]->all_reduce(one).error().code == errc::peer_lost));
}

BOOST_AUTO_TEST_CASE(abort_ends_a_hanging_collective_before_its_deadline) {
  pair ranks(device_fault::hangs_running, patient);
  pair::run([&](std::uint32_t rank) {
    const std::vector<float> mine(3, 1.0F);
    std::vector<float> all(6);
    auto ok = ranks.comms[rank]->all_gather(mine, all);
    if (!ok) ranks.errors[rank] = ok.error();
    // Rank 0 has ended, so rank 1 is in its device.
    if (rank == 0) ranks.comms[1]->abort();
  });
  BOOST_TEST((ranks.errors[0].code == errc::none));
  // Not the deadline, which says timeout.
  BOOST_TEST((ranks.errors[1].code == errc::peer_lost));
}

BOOST_AUTO_TEST_CASE(different_transfers_never_reach_the_devices) {
  pair ranks(device_fault::none, patient);
  pair::run([&](std::uint32_t rank) {
    const std::vector<float> mine(3 + rank, 1.0F);
    std::vector<float> all(2 * mine.size());
    auto ok = ranks.comms[rank]->all_gather(mine, all);
    if (!ok) ranks.errors[rank] = ok.error();
  });
  BOOST_TEST((ranks.errors[0].code == errc::internal));
  BOOST_TEST((ranks.errors[1].code == errc::internal));
  BOOST_TEST(ranks.errors[0].what.starts_with("rank 1 made another collective call"));
}

// Or they would not run beside what their caller computes meanwhile.
BOOST_AUTO_TEST_CASE(gathers_ahead_begin_behind_what_was_given_before_they_were_asked_for) {
  pair ranks(device_fault::none, patient);
  const std::vector<float> mine(3, 1.0F);
  std::vector<float> all(6), next(6), later(6);
  {
    gpu::gather_queue ahead(*ranks.comms[0]);
    ranks.devices.give_work();
    ahead.start(mine, all);
    ranks.devices.give_work();
    ahead.start(mine, next);
    ranks.devices.give_work();
    // The other rank comes only now.
    const std::jthread other([&] {
      std::vector<float> theirs(6);
      for (int gather = 0; gather < 3; ++gather)
        if (auto ok = ranks.comms[1]->all_gather(mine, theirs); !ok) ranks.errors[1] = ok.error();
    });
    BOOST_TEST(ahead.finish().has_value());
    BOOST_TEST(ranks.comms[0]->all_gather(mine, later).has_value());
  }
  BOOST_TEST((ranks.errors[1].code == errc::none));
  BOOST_TEST((ranks.devices.gathers_began_behind() == std::vector<std::uint64_t>{1, 2, 3}));
  BOOST_TEST((next == std::vector<float>(6, 1.0F)));
}

BOOST_AUTO_TEST_CASE(sizes_that_do_not_fit_change_nothing) {
  pair ranks(device_fault::none, patient);
  std::vector<float> mine(3);
  std::vector<float> all(5);
  BOOST_TEST((ranks.comms[0]->all_gather(mine, all).error().code == errc::invalid_argument));
  BOOST_TEST((ranks.comms[0]->reduce_scatter(all, mine).error().code == errc::invalid_argument));
  ranks.gather();
  BOOST_TEST((ranks.errors[0].code == errc::none));
  BOOST_TEST((ranks.errors[1].code == errc::none));
}

}  // namespace
