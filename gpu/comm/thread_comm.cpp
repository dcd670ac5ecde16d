#include "gpu/comm/thread_comm.hpp"

#include <algorithm>
#include <array>
#include <condition_variable>
#include <cstddef>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "gpu/comm/rank_names.hpp"

namespace troupe::gpu {
namespace {

enum class call_kind : std::uint8_t { gather, scatter, reduce };

struct contribution {
  call_kind kind{};
  std::vector<float> floats;
  std::vector<double> doubles;

  bool fits(const contribution& other) const {
    return kind == other.kind && floats.size() == other.floats.size() &&
           doubles.size() == other.doubles.size();
  }
};

using shared_contribution = std::shared_ptr<const contribution>;

/// A rank posts round g + 1 only after every rank posted round g, which each did after taking round
/// g - 1: so two slots per rank are enough.
class meeting_place {
 public:
  meeting_place(std::uint32_t world_size, std::chrono::milliseconds deadline)
      : deadline_(deadline), slots_(world_size) {}

  result<std::vector<shared_contribution>> meet(std::uint32_t rank, std::uint64_t round,
                                                contribution mine) {
    std::unique_lock lock(mutex_);
    if (broken_) return fail(*broken_);
    slots_[rank][round % 2] = {round, std::make_shared<const contribution>(std::move(mine))};
    changed_.notify_all();
    changed_.wait_for(lock, deadline_,
                      [&] { return broken_.has_value() || missing(round).empty(); });
    // A rank that has what it came for may leave before the others have woken up.
    if (!missing(round).empty()) {
      if (broken_) return fail(*broken_);
      return fail(time_out(round));
    }
    std::vector<shared_contribution> all;
    for (const auto& slot : slots_)
      all.push_back(slot[round % 2].value);
    return all;
  }

  void break_off(error reason) {
    const std::lock_guard lock(mutex_);
    if (!broken_) broken_ = std::move(reason);
    changed_.notify_all();
  }

 private:
  struct posting {
    std::uint64_t round = 0;
    shared_contribution value;
  };

  std::vector<std::uint32_t> missing(std::uint64_t round) const {
    std::vector<std::uint32_t> ranks;
    for (std::uint32_t rank = 0; rank < slots_.size(); ++rank)
      if (slots_[rank][round % 2].round != round) ranks.push_back(rank);
    return ranks;
  }

  error time_out(std::uint64_t round) {
    const std::string names = rank_names(missing(round));
    broken_ = error{errc::peer_lost, "a collective failed: " + names + " did not come", "", ""};
    changed_.notify_all();
    return {
        errc::timeout,
        names + " did not come to a collective within " + std::to_string(deadline_.count()) + " ms",
        "the rank is stuck, paused or was never started",
        "look at the log of that rank; the set is restarted without it"};
  }

  const std::chrono::milliseconds deadline_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<error> broken_;
  std::vector<std::array<posting, 2>> slots_;
};

class thread_comm final : public comm {
 public:
  thread_comm(std::uint32_t rank, std::uint32_t world_size, std::shared_ptr<meeting_place> place)
      : rank_(rank), world_size_(world_size), place_(std::move(place)) {}

  ~thread_comm() override {
    place_->break_off({errc::peer_lost, "rank " + std::to_string(rank_) + " went away",
                       "its process or thread ended", "start the set again"});
  }

  std::uint32_t rank() const override { return rank_; }
  std::uint32_t world_size() const override { return world_size_; }

  result<void> all_gather(std::span<const float> mine, std::span<float> all) override {
    auto met = meet({call_kind::gather, {mine.begin(), mine.end()}, {}});
    if (!met) return fail(std::move(met.error()));
    for (std::size_t rank = 0; rank < met->size(); ++rank)
      std::ranges::copy((*met)[rank]->floats, all.subspan(rank * mine.size()).begin());
    return {};
  }

  result<void> reduce_scatter(std::span<const float> all, std::span<float> mine) override {
    auto met = meet({call_kind::scatter, {all.begin(), all.end()}, {}});
    if (!met) return fail(std::move(met.error()));
    const std::size_t begin = rank_ * mine.size();
    std::copy_n(met->front()->floats.begin() + static_cast<std::ptrdiff_t>(begin), mine.size(),
                mine.begin());
    for (std::size_t rank = 1; rank < met->size(); ++rank)
      for (std::size_t i = 0; i < mine.size(); ++i)
        mine[i] += (*met)[rank]->floats[begin + i];
    return {};
  }

  result<void> all_reduce(std::span<double> values) override {
    auto met = meet({call_kind::reduce, {}, {values.begin(), values.end()}});
    if (!met) return fail(std::move(met.error()));
    std::ranges::copy(met->front()->doubles, values.begin());
    for (std::size_t rank = 1; rank < met->size(); ++rank)
      for (std::size_t i = 0; i < values.size(); ++i)
        values[i] += (*met)[rank]->doubles[i];
    return {};
  }

  void abort() override {
    place_->break_off({errc::peer_lost, "rank " + std::to_string(rank_) + " aborted the collective",
                       "the set is being stopped", ""});
  }

 private:
  result<std::vector<shared_contribution>> meet(contribution mine) {
    auto met = place_->meet(rank_, ++round_, std::move(mine));
    if (!met) return met;
    for (const auto& other : *met)
      if (!other->fits(*met->front())) {
        error mismatch{errc::internal, "ranks made different collective calls",
                       "the engine's order of calls depends on a rank's data", "report this bug"};
        place_->break_off(mismatch);
        return fail(std::move(mismatch));
      }
    return met;
  }

  std::uint32_t rank_;
  std::uint32_t world_size_;
  std::shared_ptr<meeting_place> place_;
  std::uint64_t round_ = 0;
};

}  // namespace

std::vector<std::unique_ptr<comm>> make_thread_comms(std::uint32_t world_size,
                                                     std::chrono::milliseconds deadline) {
  auto place = std::make_shared<meeting_place>(world_size, deadline);
  std::vector<std::unique_ptr<comm>> comms;
  for (std::uint32_t rank = 0; rank < world_size; ++rank)
    comms.push_back(std::make_unique<thread_comm>(rank, world_size, place));
  return comms;
}

}  // namespace troupe::gpu
