#pragma once

// What ranks of one set exchange. Every collective is called by all ranks in the same order, has a
// deadline and names the rank that did not come. Sums are taken in rank order, so that they are the
// same bits on every rank and in every run.
//
// Units: elements of float. Threading: one thread at a time, except abort().
// Errors: errc::timeout (names the missing rank), errc::peer_lost (a rank went away or abort() was
// called). After an error every later call fails with errc::peer_lost.

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "messages/error.hpp"

namespace troupe::gpu {

/// What a device was given until some moment; null where nothing is given in advance.
using device_moment = std::shared_ptr<const void>;

class comm {
 public:
  virtual ~comm() = default;

  [[nodiscard]] virtual std::uint32_t rank() const = 0;
  [[nodiscard]] virtual std::uint32_t world_size() const = 0;

  /// all[r * mine.size() ...] becomes rank r's `mine`. all.size() == world_size * mine.size().
  virtual result<void> all_gather(std::span<const float> mine, std::span<float> all) = 0;

  /// What the calling thread gave this rank's device until now; callable from any thread.
  [[nodiscard]] virtual result<device_moment> now() { return device_moment{}; }

  /// The same gather, which begins behind `after` and not behind all that the device was given
  /// when it is called: by another thread, while the one that asked for it goes on.
  virtual result<void> all_gather_after(const device_moment&, std::span<const float> mine,
                                        std::span<float> all) {
    return all_gather(mine, all);
  }

  /// mine becomes the sum over ranks of their all[rank * mine.size() ...].
  virtual result<void> reduce_scatter(std::span<const float> all, std::span<float> mine) = 0;

  /// values become their sums over ranks, in double.
  virtual result<void> all_reduce(std::span<double> values) = 0;

  /// A communicator of some of the ranks: `members` ascending, this rank among them, which become
  /// 0, 1, ... in it. Its calls and those of this one form one order; an error in either breaks
  /// both. All members call it alike. This one must outlive it.
  virtual result<std::unique_ptr<comm>> subset(std::span<const std::uint32_t> members);

  /// Makes the pending and all later calls of this rank fail; callable from any thread.
  virtual void abort() = 0;
};

inline result<std::unique_ptr<comm>> comm::subset(std::span<const std::uint32_t>) {
  return fail(errc::unsupported, "this communicator forms no groups of its ranks", "",
              "leave shard_size out: all ranks then share one copy of the state");
}

/// The ranks of a model, and how many of them share one copy of its state; 0: all.
struct rank_set {
  /// Implicit, because most sets hold one copy.
  rank_set(std::unique_ptr<comm> ranks, std::uint32_t size = 0)
      : all(std::move(ranks)), shard_size(size) {}

  /// Ranks of one copy.
  [[nodiscard]] std::uint32_t group_size() const {
    return shard_size == 0 ? all->world_size() : shard_size;
  }
  /// Whether the ranks form whole groups.
  [[nodiscard]] bool is_even() const { return all->world_size() % group_size() == 0; }

  std::unique_ptr<comm> all;
  std::uint32_t shard_size;
};

/// A rank's side of forming a communicator: first it listens, then all addresses are known.
class comm_listener {
 public:
  virtual ~comm_listener() = default;

  /// host:port that peers reach; empty when no peer is needed.
  [[nodiscard]] virtual std::string address() const = 0;

  /// Meets all ranks within deadlines::collective. `addresses` by rank.
  virtual result<std::unique_ptr<comm>> connect(const std::vector<std::string>& addresses) = 0;
};

}  // namespace troupe::gpu
