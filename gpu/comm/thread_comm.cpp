#include "gpu/comm/thread_comm.hpp"

#include <algorithm>
#include <array>
#include <condition_variable>
#include <cstddef>
#include <map>
#include <mutex>
#include <numeric>
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

/// What all communicators of a set share: one that breaks, breaks the others.
struct common_fate {
  std::mutex mutex;
  std::condition_variable changed;
  std::optional<error> broken;
};

/// A rank posts round g + 1 only after every rank posted round g, which each did after taking round
/// g - 1: so two slots per rank are enough.
class meeting_place {
 public:
  /// `names` are the ranks' numbers in the whole set.
  meeting_place(std::vector<std::uint32_t> names, std::chrono::milliseconds deadline,
                std::shared_ptr<common_fate> fate)
      : names_(std::move(names)),
        deadline_(deadline),
        fate_(std::move(fate)),
        slots_(names_.size()) {}

  std::uint32_t num_ranks() const { return static_cast<std::uint32_t>(names_.size()); }
  std::uint32_t name_of(std::uint32_t rank) const { return names_[rank]; }

  /// The same place for all ranks that ask for the n-th one of these members.
  std::shared_ptr<meeting_place> subset(const std::vector<std::uint32_t>& members,
                                        std::uint32_t nth) {
    const std::lock_guard lock(fate_->mutex);
    auto& place = subsets_[{members, nth}];
    if (place) return place;
    std::vector<std::uint32_t> names;
    for (const std::uint32_t member : members)
      names.push_back(names_[member]);
    return place = std::make_shared<meeting_place>(std::move(names), deadline_, fate_);
  }

  result<std::vector<shared_contribution>> meet(std::uint32_t rank, std::uint64_t round,
                                                contribution mine) {
    std::unique_lock lock(fate_->mutex);
    std::optional<error>& broken = fate_->broken;
    if (broken) return fail(*broken);
    slots_[rank][round % 2] = {round, std::make_shared<const contribution>(std::move(mine))};
    fate_->changed.notify_all();
    fate_->changed.wait_for(lock, deadline_,
                            [&] { return broken.has_value() || missing(round).empty(); });
    // A rank that has what it came for may leave before the others have woken up.
    if (!missing(round).empty()) {
      if (broken) return fail(*broken);
      return fail(time_out(round));
    }
    std::vector<shared_contribution> all;
    for (const auto& slot : slots_)
      all.push_back(slot[round % 2].value);
    return all;
  }

  void break_off(error reason) {
    const std::lock_guard lock(fate_->mutex);
    if (!fate_->broken) fate_->broken = std::move(reason);
    fate_->changed.notify_all();
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
    std::vector<std::uint32_t> late = missing(round);
    for (std::uint32_t& rank : late)
      rank = names_[rank];
    const std::string names = rank_names(late);
    fate_->broken =
        error{errc::peer_lost, "a collective failed: " + names + " did not come", "", ""};
    fate_->changed.notify_all();
    return {
        errc::timeout,
        names + " did not come to a collective within " + std::to_string(deadline_.count()) + " ms",
        "the rank is stuck, paused or was never started",
        "look at the log of that rank; the set is restarted without it"};
  }

  const std::vector<std::uint32_t> names_;
  const std::chrono::milliseconds deadline_;
  const std::shared_ptr<common_fate> fate_;
  std::vector<std::array<posting, 2>> slots_;
  std::map<std::pair<std::vector<std::uint32_t>, std::uint32_t>, std::shared_ptr<meeting_place>>
      subsets_;
};

class thread_comm final : public comm {
 public:
  thread_comm(std::uint32_t rank, std::shared_ptr<meeting_place> place)
      : rank_(rank), place_(std::move(place)) {}

  ~thread_comm() override {
    place_->break_off({errc::peer_lost, "rank " + name() + " went away",
                       "its process or thread ended", "start the set again"});
  }

  std::uint32_t rank() const override { return rank_; }
  std::uint32_t world_size() const override { return place_->num_ranks(); }

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

  result<std::unique_ptr<comm>> subset(std::span<const std::uint32_t> members) override {
    const std::vector<std::uint32_t> key(members.begin(), members.end());
    const auto place = place_->subset(key, num_subsets_[key]++);
    const auto mine = std::ranges::find(key, rank_);
    return std::make_unique<thread_comm>(static_cast<std::uint32_t>(mine - key.begin()), place);
  }

  void abort() override {
    place_->break_off({errc::peer_lost, "rank " + name() + " aborted the collective",
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

  std::string name() const { return std::to_string(place_->name_of(rank_)); }

  std::uint32_t rank_;
  std::shared_ptr<meeting_place> place_;
  std::uint64_t round_ = 0;
  std::map<std::vector<std::uint32_t>, std::uint32_t> num_subsets_;
};

}  // namespace

std::vector<std::unique_ptr<comm>> make_thread_comms(std::uint32_t world_size,
                                                     std::chrono::milliseconds deadline) {
  std::vector<std::uint32_t> names(world_size);
  std::iota(names.begin(), names.end(), 0U);
  auto place =
      std::make_shared<meeting_place>(std::move(names), deadline, std::make_shared<common_fate>());
  std::vector<std::unique_ptr<comm>> comms;
  for (std::uint32_t rank = 0; rank < world_size; ++rank)
    comms.push_back(std::make_unique<thread_comm>(rank, place));
  return comms;
}

}  // namespace troupe::gpu
