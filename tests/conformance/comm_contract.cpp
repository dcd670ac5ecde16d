// What every communicator promises, run on each of them.

#include <array>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <boost/test/data/test_case.hpp>
#include <boost/test/unit_test.hpp>

#include "gpu/comm/device_comm.hpp"
#include "gpu/comm/socket_comm.hpp"
#include "gpu/comm/thread_comm.hpp"
#include "gpu/gather_queue.hpp"
#include "tests/support/fake_devices.hpp"
#include "tests/support/gpu_ranks.hpp"

namespace {

using namespace troupe;
using namespace std::chrono_literals;
using comm_list = std::vector<std::unique_ptr<gpu::comm>>;

/// Devices are of this process's memory; GPUs are real, one for each rank.
enum class transport { threads, sockets, devices, gpus };
std::ostream& operator<<(std::ostream& out, transport kind) {
  constexpr std::array names{"threads", "sockets", "devices", "gpus"};
  return out << names.at(static_cast<std::size_t>(kind));
}

constexpr std::chrono::milliseconds patient = 20s;
constexpr std::chrono::milliseconds hasty = 150ms;

/// For what is to run out; GPUs must be joined within it first.
std::chrono::milliseconds hasty_on(transport kind) {
  return kind == transport::gpus ? 10s : hasty;
}

/// Runs body(rank) on one thread per rank.
void on_ranks(std::uint32_t world_size, const std::function<void(std::uint32_t)>& body) {
  std::vector<std::jthread> threads;
  for (std::uint32_t rank = 0; rank < world_size; ++rank)
    threads.emplace_back([&body, rank] { body(rank); });
}

comm_list make_listened_comms(transport kind, std::uint32_t world_size,
                              std::chrono::milliseconds deadline) {
  std::vector<std::unique_ptr<gpu::comm_listener>> listeners;
  std::vector<std::string> addresses;
  for (std::uint32_t rank = 0; rank < world_size; ++rank) {
    gpu::socket_comm_options options;
    options.rank = rank;
    options.world_size = world_size;
    options.token = "incarnation 7";
    options.deadline = deadline;
    auto listener = kind == transport::gpus ? tests::listen_for_gpu_rank(options)
                                            : gpu::listen_for_ranks(options);
    BOOST_REQUIRE(listener.has_value());
    addresses.push_back((*listener)->address());
    listeners.push_back(std::move(*listener));
  }
  comm_list comms(world_size);
  on_ranks(world_size, [&](std::uint32_t rank) {
    auto joined = listeners[rank]->connect(addresses);
    if (joined) comms[rank] = std::move(*joined);
  });
  for (const auto& joined : comms)
    BOOST_REQUIRE(joined != nullptr);
  return comms;
}

comm_list make_device_comms(std::uint32_t world_size, std::chrono::milliseconds deadline) {
  const tests::fake_devices devices;
  auto hosts = gpu::make_thread_comms(world_size, deadline);
  comm_list comms(world_size);
  on_ranks(world_size, [&](std::uint32_t rank) {
    auto joined = gpu::join_devices(std::move(hosts[rank]), devices.links(), deadline);
    if (joined) comms[rank] = std::move(*joined);
  });
  for (const auto& joined : comms)
    BOOST_REQUIRE(joined != nullptr);
  return comms;
}

comm_list make_comms(transport kind, std::uint32_t world_size,
                     std::chrono::milliseconds deadline = patient) {
  if (kind == transport::threads) return gpu::make_thread_comms(world_size, deadline);
  if (kind == transport::devices) return make_device_comms(world_size, deadline);
  return make_listened_comms(kind, world_size, deadline);
}

/// Says so and is true when a case needs more GPUs than there are.
bool lacks_gpus(transport kind, std::uint32_t world_size) {
  if (kind != transport::gpus || world_size <= tests::num_gpu_ranks()) return false;
  BOOST_TEST_MESSAGE("skipped: it needs " << world_size << " GPUs, and there are "
                                          << tests::num_gpu_ranks());
  return true;
}

/// Numbers whose sum depends on the order in which they are added.
std::vector<float> rank_values(std::uint32_t rank, std::size_t count) {
  std::mt19937 random(rank + 1);
  std::uniform_real_distribution<float> exponent(-8.0F, 8.0F);
  std::vector<float> values(count);
  for (float& value : values)
    value = std::exp(exponent(random)) * (random() % 2 == 0 ? 1.0F : -1.0F);
  return values;
}

const auto transports = boost::unit_test::data::make(
    {transport::threads, transport::sockets, transport::devices, transport::gpus});
const auto world_sizes = boost::unit_test::data::make({1U, 2U, 3U, 4U});

BOOST_DATA_TEST_CASE(gather_keeps_rank_order, transports* world_sizes, kind, world_size) {
  if (lacks_gpus(kind, world_size)) return;
  auto comms = make_comms(kind, world_size);
  constexpr std::size_t count = 1001;
  std::vector<std::vector<float>> all(world_size, std::vector<float>(count * world_size));
  std::vector<int> ok(world_size, 0);
  on_ranks(world_size, [&](std::uint32_t rank) {
    const auto mine = rank_values(rank, count);
    ok[rank] = comms[rank]->all_gather(mine, all[rank]).has_value() ? 1 : 0;
  });
  for (std::uint32_t rank = 0; rank < world_size; ++rank) {
    BOOST_TEST(ok[rank] == 1);
    for (std::uint32_t from = 0; from < world_size; ++from) {
      const auto expected = rank_values(from, count);
      BOOST_TEST(std::equal(expected.begin(), expected.end(),
                            all[rank].begin() + static_cast<std::ptrdiff_t>(from * count)));
    }
  }
}

BOOST_DATA_TEST_CASE(scatter_sums_in_rank_order, transports* world_sizes, kind, world_size) {
  if (lacks_gpus(kind, world_size)) return;
  auto comms = make_comms(kind, world_size);
  // Larger than the kernel's socket buffers, so that both directions must move together.
  constexpr std::size_t part = 1'500'001;
  std::vector<std::vector<float>> sums(world_size, std::vector<float>(part));
  std::vector<int> ok(world_size, 0);
  on_ranks(world_size, [&](std::uint32_t rank) {
    const auto mine = rank_values(rank, part * world_size);
    ok[rank] = comms[rank]->reduce_scatter(mine, sums[rank]).has_value() ? 1 : 0;
  });
  std::vector<float> expected = rank_values(0, part * world_size);
  for (std::uint32_t rank = 1; rank < world_size; ++rank) {
    const auto add = rank_values(rank, part * world_size);
    for (std::size_t i = 0; i < add.size(); ++i)
      expected[i] += add[i];
  }
  for (std::uint32_t rank = 0; rank < world_size; ++rank) {
    BOOST_TEST(ok[rank] == 1);
    BOOST_TEST(std::equal(sums[rank].begin(), sums[rank].end(),
                          expected.begin() + static_cast<std::ptrdiff_t>(rank * part)));
  }
}

BOOST_DATA_TEST_CASE(reduce_gives_all_ranks_the_same_bits, transports* world_sizes, kind,
                     world_size) {
  if (lacks_gpus(kind, world_size)) return;
  auto comms = make_comms(kind, world_size);
  std::vector<std::vector<double>> values(world_size);
  std::vector<double> expected(5, 0.0);
  for (std::uint32_t rank = 0; rank < world_size; ++rank)
    for (const float value : rank_values(rank, 5))
      values[rank].push_back(static_cast<double>(value) / 3);
  expected = values[0];
  for (std::uint32_t rank = 1; rank < world_size; ++rank)
    for (std::size_t i = 0; i < expected.size(); ++i)
      expected[i] += values[rank][i];
  on_ranks(world_size, [&](std::uint32_t rank) {
    for (int repeat = 0; repeat < 50; ++repeat) {
      auto copy = values[rank];
      if (!comms[rank]->all_reduce(copy)) return;
      if (repeat == 49) values[rank] = copy;
    }
  });
  for (const auto& of_rank : values)
    BOOST_TEST(of_rank == expected, boost::test_tools::per_element());
}

BOOST_DATA_TEST_CASE(missing_rank_is_named, transports, kind) {
  if (lacks_gpus(kind, 3)) return;
  auto comms = make_comms(kind, 3, hasty_on(kind));
  std::vector<error> errors(3);
  on_ranks(3, [&](std::uint32_t rank) {
    if (rank == 1) return;
    std::vector<double> one{1.0};
    auto ok = comms[rank]->all_reduce(one);
    if (!ok) errors[rank] = ok.error();
  });
  // One of the two may give up a moment earlier; the other then sees it leave.
  bool is_named = false;
  for (const std::uint32_t rank : {0U, 2U}) {
    BOOST_TEST((errors[rank].code == errc::timeout || errors[rank].code == errc::peer_lost));
    is_named |=
        errors[rank].code == errc::timeout && errors[rank].what.starts_with("rank 1 did not come");
  }
  BOOST_TEST(is_named);
  std::vector<double> one{1.0};
  BOOST_TEST((comms[0]->all_reduce(one).error().code == errc::peer_lost));
}

BOOST_DATA_TEST_CASE(dead_peer_ends_the_call_at_once, transports, kind) {
  if (lacks_gpus(kind, 3)) return;
  auto comms = make_comms(kind, 3);
  comms[2].reset();
  const auto begin = std::chrono::steady_clock::now();
  std::vector<errc> codes(2, errc::none);
  on_ranks(2, [&](std::uint32_t rank) {
    std::vector<float> all(30'000);
    std::vector<float> mine(10'000);
    auto ok = comms[rank]->reduce_scatter(all, mine);
    if (!ok) codes[rank] = ok.error().code;
  });
  BOOST_TEST((codes[0] == errc::peer_lost));
  BOOST_TEST((codes[1] == errc::peer_lost));
  BOOST_TEST((std::chrono::steady_clock::now() - begin < patient / 2));
}

BOOST_DATA_TEST_CASE(a_rank_may_leave_after_its_last_call, transports, kind) {
  if (lacks_gpus(kind, 3)) return;
  // Joining GPUs takes seconds.
  const int repeats = kind == transport::gpus ? 3 : 50;
  for (int repeat = 0; repeat < repeats; ++repeat) {
    auto comms = make_comms(kind, 3);
    std::vector<errc> codes(3, errc::none);
    on_ranks(3, [&](std::uint32_t rank) {
      std::vector<double> values(4, 1.0);
      auto ok = comms[rank]->all_reduce(values);
      if (!ok) codes[rank] = ok.error().code;
      comms[rank].reset();
    });
    for (const errc code : codes)
      BOOST_TEST_REQUIRE((code == errc::none));
  }
}

BOOST_DATA_TEST_CASE(groups_of_ranks_meet_apart_and_together, transports, kind) {
  if (lacks_gpus(kind, 4)) return;
  auto comms = make_comms(kind, 4);
  std::vector<std::vector<float>> gathered(4, std::vector<float>(2));
  std::vector<double> sums(4, 0.0);
  std::vector<int> ok(4, 0);
  on_ranks(4, [&](std::uint32_t rank) {
    const std::uint32_t first = rank / 2 * 2;
    auto near = comms[rank]->subset(std::vector<std::uint32_t>{first, first + 1});
    auto far = comms[rank]->subset(std::vector<std::uint32_t>{rank % 2, rank % 2 + 2});
    if (!near || !far) return;
    for (int repeat = 0; repeat < 20; ++repeat) {
      const std::vector<float> mine{static_cast<float>(rank)};
      std::vector<double> one{static_cast<double>(rank)};
      if (!(*near)->all_gather(mine, gathered[rank])) return;
      if (!(*far)->all_reduce(one) || !comms[rank]->all_reduce(one)) return;
      sums[rank] = one[0];
    }
    ok[rank] = (*near)->rank() == rank % 2 && (*far)->rank() == rank / 2 ? 1 : 0;
  });
  for (std::uint32_t rank = 0; rank < 4; ++rank) {
    BOOST_TEST(ok[rank] == 1);
    const auto first = static_cast<float>(rank / 2 * 2);
    BOOST_TEST((gathered[rank] == std::vector<float>{first, first + 1}));
    BOOST_TEST(sums[rank] == 12.0);
  }
}

BOOST_DATA_TEST_CASE(a_group_that_breaks_breaks_all, transports, kind) {
  if (lacks_gpus(kind, 4)) return;
  auto comms = make_comms(kind, 4, hasty_on(kind));
  comm_list near;
  for (std::uint32_t rank = 0; rank < 4; ++rank) {
    const std::uint32_t first = rank / 2 * 2;
    near.push_back(std::move(*comms[rank]->subset(std::vector<std::uint32_t>{first, first + 1})));
  }
  // Rank 3 never comes.
  std::vector<double> one{1.0};
  const auto alone = near[2]->all_reduce(one);
  BOOST_TEST((alone.error().code == errc::timeout));
  BOOST_TEST(alone.error().what.starts_with("rank 3 did not come"));
  BOOST_TEST((comms[2]->all_reduce(one).error().code == errc::peer_lost));
  BOOST_TEST((comms[0]->all_reduce(one).error().code == errc::peer_lost));
}

BOOST_DATA_TEST_CASE(gathers_ahead_are_gathers, transports, kind) {
  if (lacks_gpus(kind, 3)) return;
  auto comms = make_comms(kind, 3);
  constexpr std::size_t count = 50'001;
  std::vector<int> ok(3, 0);
  on_ranks(3, [&](std::uint32_t rank) {
    gpu::gather_queue queue(*comms[rank]);
    std::vector<std::vector<float>> ahead(5, std::vector<float>(3 * count));
    std::vector<std::vector<float>> mine;
    for (std::uint32_t i = 0; i < 5; ++i)
      mine.push_back(rank_values(3 * i + rank, count));
    for (std::uint32_t i = 0; i < 5; ++i)
      queue.start(mine[i], ahead[i]);
    if (!queue.finish()) return;
    std::vector<float> direct(3 * count);
    for (std::uint32_t i = 0; i < 5; ++i)
      if (!comms[rank]->all_gather(mine[i], direct) || direct != ahead[i]) return;
    ok[rank] = 1;
  });
  BOOST_TEST((ok == std::vector<int>{1, 1, 1}));
}

BOOST_DATA_TEST_CASE(a_gather_ahead_names_who_is_missing, transports, kind) {
  if (lacks_gpus(kind, 2)) return;
  auto comms = make_comms(kind, 2, hasty_on(kind));
  const std::vector<float> mine(10);
  std::vector<float> all(20);
  gpu::gather_queue queue(*comms[0]);
  queue.start(mine, all);
  const auto done = queue.finish();
  BOOST_TEST((done.error().code == errc::timeout));
  BOOST_TEST(done.error().what.starts_with("rank 1 did not come"));
  queue.start(mine, all);
  BOOST_TEST((queue.finish().error().code == errc::timeout));
}

BOOST_DATA_TEST_CASE(a_queue_ends_with_a_gather_under_way, transports, kind) {
  if (lacks_gpus(kind, 2)) return;
  auto comms = make_comms(kind, 2);
  const std::vector<float> mine(10);
  std::vector<float> all(20);
  const auto begin = std::chrono::steady_clock::now();
  {
    gpu::gather_queue queue(*comms[0]);
    queue.start(mine, all);
  }
  BOOST_TEST((std::chrono::steady_clock::now() - begin < patient / 2));
  std::vector<double> one{1.0};
  BOOST_TEST((comms[0]->all_reduce(one).error().code == errc::peer_lost));
}

BOOST_DATA_TEST_CASE(abort_frees_a_waiting_rank, transports, kind) {
  if (lacks_gpus(kind, 2)) return;
  auto comms = make_comms(kind, 2);
  errc code = errc::none;
  {
    std::jthread waiting([&] {
      std::vector<double> one{1.0};
      auto ok = comms[0]->all_reduce(one);
      if (!ok) code = ok.error().code;
    });
    comms[0]->abort();
  }
  BOOST_TEST((code == errc::peer_lost));
  std::vector<double> one{1.0};
  BOOST_TEST((comms[0]->all_reduce(one).error().code == errc::peer_lost));
}

BOOST_DATA_TEST_CASE(different_calls_are_a_bug, transports, kind) {
  if (lacks_gpus(kind, 2)) return;
  auto comms = make_comms(kind, 2);
  std::vector<errc> codes(2, errc::none);
  on_ranks(2, [&](std::uint32_t rank) {
    std::vector<double> values(rank + 1, 1.0);
    auto ok = comms[rank]->all_reduce(values);
    if (!ok) codes[rank] = ok.error().code;
  });
  BOOST_TEST((codes[0] == errc::internal || codes[1] == errc::internal));
  BOOST_TEST((codes[0] != errc::none));
  BOOST_TEST((codes[1] != errc::none));
}

BOOST_AUTO_TEST_CASE(wrong_token_is_refused) {
  std::vector<std::unique_ptr<gpu::comm_listener>> listeners;
  std::vector<std::string> addresses;
  for (std::uint32_t rank = 0; rank < 2; ++rank) {
    gpu::socket_comm_options options;
    options.rank = rank;
    options.world_size = 2;
    options.token = rank == 0 ? "the token" : "the tokem";
    options.deadline = hasty;
    listeners.push_back(std::move(*gpu::listen_for_ranks(options)));
    addresses.push_back(listeners.back()->address());
  }
  std::vector<error> errors(2);
  on_ranks(2, [&](std::uint32_t rank) {
    auto joined = listeners[rank]->connect(addresses);
    if (!joined) errors[rank] = joined.error();
  });
  BOOST_TEST((errors[0].code == errc::timeout));
  BOOST_TEST(errors[0].what.starts_with("rank 1 did not meet rank 0"));
  BOOST_TEST((errors[1].code == errc::protocol));
}

BOOST_AUTO_TEST_CASE(bad_addresses_are_refused) {
  gpu::socket_comm_options options;
  options.rank = 1;
  options.world_size = 2;
  options.interface = "no.such.interface";
  BOOST_TEST((gpu::listen_for_ranks(options).error().code == errc::invalid_argument));
  options.interface = "127.0.0.1";
  auto listener = gpu::listen_for_ranks(options);
  BOOST_REQUIRE(listener.has_value());
  for (const char* const address : {"nowhere", "localhost:1", "127.0.0.1:port"}) {
    const auto joined = (*listener)->connect({address, (*listener)->address()});
    BOOST_TEST((joined.error().code == errc::invalid_argument));
  }
  options.rank = 2;
  BOOST_TEST((gpu::listen_for_ranks(options).error().code == errc::invalid_argument));
}

}  // namespace
