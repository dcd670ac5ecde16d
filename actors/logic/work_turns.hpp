#pragma once

// Who may work on trainer nodes that several runs share. Ops of different runs of one process run
// beside each other and the machine divides its cores evenly between them, so a long op never
// stands before a short one; but a tenant with many runs would get as many parts. So on machines
// where tenants meet, each of them has one op at a time on a node, and its others wait in order of
// arrival; a tenant alone on its machines is not limited. It is the machine that counts, because
// nodes beside each other divide its cores, too.
//
// A tenant meets those that had an op within `memory_s`: between two ops of a loop its client
// thinks.
//
// Threading: a plain value, one owner. Units: seconds of the owner's clock, which never goes back.
// Invariants: TURN-1 on a machine where tenants meet, no op of a tenant starts while another one of
// it works on the same node. TURN-2 of one tenant's ops that share a node, none overtakes an
// earlier one that waits. TURN-3 no op waits for another tenant's.

#include <deque>
#include <map>
#include <string>
#include <vector>

#include "messages/ids.hpp"

namespace troupe::logic {

class work_turns {
 public:
  static constexpr double memory_s = 2;

  struct place {
    node_id node;
    std::string machine;
  };
  struct turn {
    std::string holder;  ///< has at most one turn
    std::string tenant;  ///< empty: the holder stands for itself
    std::vector<place> places;
  };

  /// True: it works now. Else `end` will name it. An earlier turn of the holder is over.
  [[nodiscard]] bool take(turn wanted, double now_s);

  /// The holder works no more, and waits no more; gives those that work now.
  [[nodiscard]] std::vector<std::string> end(const std::string& holder, double now_s);

  [[nodiscard]] std::size_t num_waiting() const { return waiting_.size(); }

 private:
  struct use {
    std::size_t num_working = 0;
    double last_s = 0;
  };
  using uses = std::map<std::string, use>;  ///< by tenant

  [[nodiscard]] bool is_met(const std::string& machine, const std::string& tenant,
                            double now_s) const;
  [[nodiscard]] bool may_work(const turn& wanted, double now_s) const;
  void begin(turn wanted, double now_s);
  void leave(const turn& working, double now_s);

  std::map<node_id, std::map<std::string, std::size_t>> working_on_;  ///< ops, by tenant
  std::map<std::string, uses> machines_;
  std::map<std::string, turn> working_;  ///< by holder
  std::deque<turn> waiting_;
};

}  // namespace troupe::logic
