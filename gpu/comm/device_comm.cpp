#include "gpu/comm/device_comm.hpp"

#include <condition_variable>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace troupe::gpu {
namespace {

using namespace std::chrono_literals;
using time_point = std::chrono::steady_clock::time_point;

enum class call_kind : std::uint64_t { gather = 1, scatter = 2 };

/// A call as a number that a double holds exactly.
double numbered(call_kind kind, std::size_t elements) {
  constexpr std::uint64_t kind_shift = 50;
  return static_cast<double>((static_cast<std::uint64_t>(kind) << kind_shift) + elements);
}

class device_comm final : public comm {
 public:
  device_comm(std::unique_ptr<comm> hosts, link_maker open, std::chrono::milliseconds deadline)
      : hosts_(std::move(hosts)), open_(std::move(open)), deadline_(deadline) {}

  /// Before all else; joins nobody.
  result<void> open() {
    auto opened = open_();
    if (!opened) return break_off(std::move(opened.error()));
    link_ = std::move(*opened);
    return {};
  }

  /// All ranks call it alike, once.
  result<void> join() {
    has_joined_ = true;
    link_id id{};
    if (rank() == 0) {
      auto made = link_->make_id();
      if (!made) return break_off(std::move(made.error()));
      id = *made;
    }
    if (auto ok = share(id); !ok) return break_off(std::move(ok.error()));
    return run("joining the devices",
               [&] { return link_->start_joining(id, rank(), world_size()); });
  }

  std::uint32_t rank() const override { return hosts_->rank(); }
  std::uint32_t world_size() const override { return hosts_->world_size(); }

  result<device_moment> now() override { return link_->now(); }

  result<void> all_gather(std::span<const float> mine, std::span<float> all) override {
    return all_gather_after({}, mine, all);
  }

  result<void> all_gather_after(const device_moment& after, std::span<const float> mine,
                                std::span<float> all) override {
    if (all.size() != mine.size() * world_size()) return refuse_sizes(mine.size(), all.size());
    return collective(call_kind::gather, mine.size(), "a gather",
                      [&] { return link_->start_gather(after, mine, all); });
  }

  result<void> reduce_scatter(std::span<const float> all, std::span<float> mine) override {
    if (all.size() != mine.size() * world_size()) return refuse_sizes(mine.size(), all.size());
    return collective(call_kind::scatter, mine.size(), "a reduction",
                      [&] { return link_->start_scatter(all, mine); });
  }

  result<void> all_reduce(std::span<double> values) override {
    if (broken_) return fail(gone());
    auto ok = hosts_->all_reduce(values);
    return ok ? ok : break_off(std::move(ok.error()));
  }

  result<std::unique_ptr<comm>> subset(std::span<const std::uint32_t> members) override {
    if (broken_) return fail(gone());
    auto hosts = hosts_->subset(members);
    if (!hosts) return fail(std::move(hosts.error()));
    auto part = std::make_unique<device_comm>(std::move(*hosts), open_, deadline_);
    if (auto ok = part->open(); !ok) return fail(std::move(ok.error()));
    return part;
  }

  void abort() override {
    {
      const std::lock_guard lock(mutex_);
      aborted_ = true;
    }
    changed_.notify_all();
    hosts_->abort();
  }

 private:
  template <class Start>
  result<void> collective(call_kind kind, std::size_t elements, const char* doing,
                          const Start& start) {
    if (broken_) return fail(gone());
    if (auto ok = meet(numbered(kind, elements)); !ok) return break_off(std::move(ok.error()));
    if (elements == 0) return {};
    if (!has_joined_)
      if (auto ok = join(); !ok) return ok;
    return run(doing, start);
  }

  /// Every rank is here, and about to make the same call.
  result<void> meet(double call) {
    std::vector<double> calls(world_size(), 0.0);
    calls[rank()] = call;
    if (auto ok = hosts_->all_reduce(calls); !ok) return ok;
    for (std::size_t other = 0; other < calls.size(); ++other)
      if (calls[other] != call)
        return fail(errc::internal,
                    "rank " + std::to_string(other) + " made another collective call than rank " +
                        std::to_string(rank()),
                    "the engine's order of calls depends on a rank's data", "report this bug");
    return {};
  }

  /// Rank 0's id on every rank: a byte is a small number, and sums of one number are exact.
  result<void> share(link_id& id) {
    std::vector<double> bytes(id.size(), 0.0);
    for (std::size_t i = 0; rank() == 0 && i < id.size(); ++i)
      bytes[i] = std::to_integer<int>(id[i]);
    if (auto ok = hosts_->all_reduce(bytes); !ok) return ok;
    for (std::size_t i = 0; i < id.size(); ++i)
      id[i] = static_cast<std::byte>(static_cast<unsigned char>(bytes[i]));
    return {};
  }

  template <class Start>
  result<void> run(const char* doing, const Start& start) {
    const time_point begin = std::chrono::steady_clock::now();
    if (auto ok = start(); !ok) return break_off(std::move(ok.error()));
    for (;;) {
      const auto done = link_->is_done();
      if (!done) return break_off(done.error());
      if (*done) break;
      if (std::chrono::steady_clock::now() - begin >= deadline_) return break_off(time_out(doing));
      if (is_aborted_after_pause(begin)) return break_off(stopped());
    }
    auto ok = link_->finish();
    return ok ? ok : break_off(std::move(ok.error()));
  }

  /// Devices tell nobody that they are done, so they are asked again and again: at once while it
  /// may be a small transfer, which takes tens of microseconds, and with pauses after that.
  bool is_aborted_after_pause(time_point begin) {
    std::unique_lock lock(mutex_);
    if (std::chrono::steady_clock::now() - begin < 200us) return aborted_;
    return changed_.wait_for(lock, 50us, [&] { return aborted_; });
  }

  result<void> break_off(error reason) {
    broken_ = true;
    hosts_->abort();
    if (!link_) return fail(std::move(reason));
    auto ended = link_->abort();
    return fail(ended ? std::move(reason) : std::move(ended.error()));
  }

  error gone() const {
    return {errc::peer_lost, "the set of rank " + std::to_string(rank()) + " is broken",
            "an earlier collective failed", "start the set again"};
  }

  error stopped() const {
    return {errc::peer_lost, "rank " + std::to_string(rank()) + " aborted the collective",
            "the set is being stopped", ""};
  }

  error time_out(const char* doing) const {
    return {errc::timeout,
            std::string(doing) + " did not end on the device of rank " + std::to_string(rank()) +
                " within " + std::to_string(deadline_.count()) + " ms, though all " +
                std::to_string(world_size()) + " ranks came to it",
            "a device of the set hangs, or the link between two of them is down",
            "look at the devices of all ranks with nvidia-smi; the set is restarted"};
  }

  result<void> refuse_sizes(std::size_t mine, std::size_t all) const {
    return fail(errc::invalid_argument,
                std::to_string(mine) + " elements of each of " + std::to_string(world_size()) +
                    " ranks do not make " + std::to_string(all),
                "", "report this bug");
  }

  const std::unique_ptr<comm> hosts_;
  const link_maker open_;
  std::unique_ptr<device_link> link_;
  bool has_joined_ = false;
  const std::chrono::milliseconds deadline_;
  std::mutex mutex_;
  std::condition_variable changed_;
  bool aborted_ = false;
  bool broken_ = false;
};

}  // namespace

result<std::unique_ptr<comm>> join_devices(std::unique_ptr<comm> hosts, link_maker open,
                                           std::chrono::milliseconds deadline) {
  auto joined = std::make_unique<device_comm>(std::move(hosts), std::move(open), deadline);
  if (auto ok = joined->open(); !ok) return fail(std::move(ok.error()));
  if (auto ok = joined->join(); !ok) return fail(std::move(ok.error()));
  return joined;
}

}  // namespace troupe::gpu
