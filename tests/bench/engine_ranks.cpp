#include "tests/bench/engine_ranks.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <limits>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "gpu/comm/socket_comm.hpp"
#include "gpu/torch/engine_resources.hpp"
#include "gpu/trainer_engine.hpp"
#include "tests/bench/engine_work.hpp"
#include "tests/bench/give_up.hpp"
#include "tests/conformance/engine_memory.hpp"

namespace troupe::bench {
namespace {

constexpr std::uint32_t num_ranks = 2;

/// The other rank's process, for the address that each has to tell.
class partner {
 public:
  explicit partner(int descriptor) : descriptor_(descriptor) {}

  std::string swap(const std::string& mine) {
    std::array<char, 64> text{};
    if (mine.size() >= text.size()) give_up("an address is too long");
    std::ranges::copy(mine, text.begin());
    constexpr auto whole = static_cast<ssize_t>(text.size());
    if (::send(descriptor_, text.data(), text.size(), MSG_NOSIGNAL) != whole ||
        ::recv(descriptor_, text.data(), text.size(), MSG_WAITALL) != whole)
      give_up("the ranks lost each other");
    return text.data();
  }

 private:
  int descriptor_;
};

std::unique_ptr<gpu::comm> meet(std::uint32_t rank, partner& other) {
  gpu::socket_comm_options options;
  options.rank = rank;
  options.world_size = num_ranks;
  options.token = "bench";
  auto listener = need(gpu::listen_for_ranks(options));
  std::vector<std::string> addresses(num_ranks);
  addresses[rank] = listener->address();
  addresses[1 - rank] = other.swap(addresses[rank]);
  return need(listener->connect(addresses));
}

struct timed_rank {
  std::unique_ptr<gpu::trainer_engine> trainer;
  double best = std::numeric_limits<double>::infinity();
  double exchanges = 0;

  void step(const work_files& work, bool counts) {
    const auto begin = std::chrono::steady_clock::now();
    const auto done = need(trainer->forward_backward(1, work.batch(), loss_fn::cross_entropy, {}));
    (void)need(trainer->optim_step(work.adam()));
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begin;
    if (!counts || taken.count() >= best) return;
    best = taken.count();
    exchanges = number_of(done.metrics, "exchange_seconds:max");
  }
};

rank_seconds run_rank(std::uint32_t rank, int descriptor, const std::string& folder,
                      std::uint32_t steps) {
  partner other(descriptor);
  work_files work(folder);
  std::array<timed_rank, 2> kinds;
  for (const auto how : {gpu::gathering::ahead, gpu::gathering::on_demand}) {
    gpu::engine_resources resources;
    resources.threads = std::make_shared<gpu::thread_pool>(1);
    resources.gathers = how;
    kinds[static_cast<std::size_t>(how)].trainer = test::make_loaded_trainer(
        work.model(), work, meet(rank, other), optimizer_state::reset, 0, resources);
  }
  for (std::uint32_t number = 0; number <= steps; ++number)
    for (timed_rank& each : kinds)
      each.step(work, number > 0);
  return {kinds[0].best, kinds[1].best, kinds[0].exchanges, kinds[1].exchanges};
}

}  // namespace

double number_of(const metric_list& metrics, std::string_view name) {
  for (const auto& [key, value] : metrics)
    if (key == name) return value;
  return 0;
}

rank_seconds measure_ranks(const std::string& folder, std::uint32_t steps) {
  std::array<int, 2> pair{};
  if (::socketpair(AF_UNIX, SOCK_STREAM, 0, pair.data()) != 0) give_up("no pair of sockets");
  const pid_t child = ::fork();
  if (child < 0) give_up("no second process");
  if (child == 0) {
    (void)run_rank(1, pair[1], folder, steps);
    ::_exit(0);
  }
  const rank_seconds out = run_rank(0, pair[0], folder, steps);
  int status = 0;
  if (::waitpid(child, &status, 0) != child || status != 0) give_up("the other rank failed");
  return out;
}

}  // namespace troupe::bench
