#include "gpu/device_ledger.hpp"

#include <algorithm>
#include <condition_variable>
#include <list>
#include <mutex>
#include <utility>

namespace troupe::gpu {

struct device_ledger::book {
  struct entry {
    device_demand demand;
    std::uint64_t granted = 0;
  };

  std::mutex mutex;
  std::condition_variable changed;
  std::list<entry> entries;

  [[nodiscard]] bool has_place(const device_demand& wanted, std::uint32_t num_slots) const {
    if (!wanted.shares) return entries.empty();
    return entries.size() < num_slots &&
           std::ranges::all_of(entries, [](const entry& e) { return e.demand.shares; });
  }

  /// Beside what is here.
  [[nodiscard]] device_room room_for(const device_demand& wanted) const {
    device_room room;
    room.states = wanted.state + wanted.base;
    for (auto at = entries.begin(); at != entries.end(); ++at) {
      room.states += at->demand.state;
      room.granted += at->granted;
      const auto has_its_base = [&](const device_demand& other) {
        return !other.base_name.empty() && other.base_name == at->demand.base_name;
      };
      const bool is_counted =
          has_its_base(wanted) || std::any_of(entries.begin(), at, [&](const entry& before) {
            return has_its_base(before.demand);
          });
      if (!is_counted) room.states += at->demand.base;
    }
    return room;
  }
};

device_ledger::device_ledger(std::uint32_t num_slots)
    : book_(std::make_shared<book>()), num_slots_(num_slots) {}

result<device_ledger::place> device_ledger::take(const device_demand& wanted,
                                                 const measurement& measure,
                                                 std::chrono::milliseconds patience) {
  if (wanted.shares && wanted.num_ranks > 1 && num_slots_ > 1)
    return fail(errc::unsupported,
                "an adapter run over " + std::to_string(wanted.num_ranks) +
                    " ranks cannot share its GPUs with other runs, and these have " +
                    std::to_string(num_slots_) + " slots",
                "devices that are joined for two runs at once may wait for each other for ever",
                "create the run with one rank, or set slots = 1 under [trainers]");
  std::unique_lock lock(book_->mutex);
  if (!book_->changed.wait_for(lock, patience,
                               [&] { return book_->has_place(wanted, num_slots_); }))
    return fail(errc::no_capacity,
                std::to_string(book_->entries.size()) + " engines still use the GPU after " +
                    std::to_string(patience.count()) + " ms",
                "what they compute for runs that were moved or replaced has not ended",
                "nothing: it is tried again; restart this trainer if it repeats");
  const auto bytes = measure();
  if (!bytes) return fail(bytes.error());
  device_room room = book_->room_for(wanted);
  room.bytes = *bytes;
  room.sharers = wanted.shares ? num_slots_ : 1;
  const auto budget = share_device(room);
  if (!budget) return fail(budget.error());
  const auto made = book_->entries.insert(book_->entries.end(), {wanted, budget->batch});
  const auto give_back = [book = book_, made](const void*) {
    const std::lock_guard locked(book->mutex);
    book->entries.erase(made);
    book->changed.notify_all();
  };
  return place{*budget, std::shared_ptr<const void>(&*made, give_back)};
}

}  // namespace troupe::gpu
