#pragma once

// The links between the places of a simulated cluster: mail that crosses one may come late, twice,
// out of order or never, as the weather and its seed will. A place is the control node, the
// clients, or one worker node; links are directed.
//
// The model, against what carries the real mail (one TCP connection between two processes): loss
// and order are those of a connection that is given up and made anew, repetition that of a sender
// which could not know that its mail had arrived. Mail that a cut off place's link holds is
// delivered when the link heals, unless the connection was given up meanwhile (`drop`). Nobody is
// told of mail that is lost: requests run into their deadlines, nodes into their leases. The end of
// an actor is told over the link like other mail, but neither lost nor repeated, as the kernel does
// it; so is its being asked to end.
//
// Threading: one thread. Units: the cluster's own milliseconds.
// Invariants: NET-1 mail within a place is never touched. NET-2 in fair weather all mail passes at
// once and in order, behind what is under way.

#include <chrono>
#include <cstdint>
#include <map>
#include <random>
#include <set>
#include <vector>

#include <caf/all.hpp>

namespace troupe::tests {

/// Chances are one in so many pieces of mail; 0: never.
struct weather {
  std::uint32_t lose_one_in = 0;
  std::uint32_t repeat_one_in = 0;
  std::chrono::milliseconds delay_max{0};
  bool keeps_order = true;
};

class sim_network {
 public:
  using place = std::uint32_t;
  using time = std::chrono::milliseconds;
  static constexpr place control = 0;
  static constexpr place clients = 1;

  enum class way : std::uint8_t { both, in, out };

  explicit sim_network(std::uint64_t seed) : random_(seed) {}

  /// The next unused place, for a worker node.
  [[nodiscard]] place add_place() { return ++newest_; }
  /// Actors that nobody placed live in the control node.
  void settle(caf::actor_id actor, place where) { place_of_[actor] = where; }
  [[nodiscard]] place place_of(caf::actor_id actor) const;

  /// Fair again from `until` on.
  void set_weather(const weather& next, time until);
  /// All mail passes at once.
  [[nodiscard]] bool is_fair(time now) const;
  /// Nothing passes between the place and the others, that way, until `until`.
  void cut_off(place where, way which, time until);
  /// What is on its way to and from the place is lost, but for the news of actors that ended.
  void drop(place where);
  /// Fair weather; every link is whole. What was held arrives.
  void heal();

  /// To be called before the actor runs: takes out of its mailbox what has not come over yet.
  void inspect(caf::scheduled_actor& receiver, time now);
  /// Puts what has come over into its mailbox.
  void deliver(time now);

  [[nodiscard]] std::uint64_t num_lost() const { return num_lost_; }
  [[nodiscard]] std::uint64_t num_repeated() const { return num_repeated_; }
  [[nodiscard]] std::uint64_t num_held() const { return num_held_; }

 private:
  using link = std::pair<place, place>;
  /// Sender and number of mail that came over and has not been read.
  using stamp = std::pair<caf::actor_id, std::uint64_t>;
  struct in_flight {
    time due{0};
    link over;
    caf::strong_actor_ptr receiver;
    caf::mailbox_element_ptr mail;
    bool is_news = false;  ///< of an actor that ended or is to end
  };

  [[nodiscard]] bool passes_at_once(const link& over, time now) const;
  [[nodiscard]] bool is_cut(const link& over, time now) const;
  void clear_up(time now);
  [[nodiscard]] bool happens(std::uint32_t one_in);
  void take(const link& over, const caf::strong_actor_ptr& receiver, caf::mailbox_element_ptr mail,
            time now);
  void send(const link& over, const caf::strong_actor_ptr& receiver, caf::mailbox_element_ptr mail,
            bool is_news, time now);

  std::mt19937_64 random_;
  weather weather_;
  time weather_until_{0};
  place newest_ = clients;
  std::map<caf::actor_id, place> place_of_;
  std::map<link, time> cuts_;         ///< until when
  std::vector<in_flight> in_flight_;  ///< in order of sending
  std::map<caf::actor_id, std::multiset<stamp>> arrived_;
  std::uint64_t num_lost_ = 0;
  std::uint64_t num_repeated_ = 0;
  std::uint64_t num_held_ = 0;
};

}  // namespace troupe::tests
