// Sampling between tenants, in virtual time: a sampler decodes one token of each of its sequences
// per step, at most so many at once, and takes new ones in order of arrival.

#include <algorithm>
#include <deque>
#include <map>

#include <boost/test/unit_test.hpp>

#include "apps/gateway/fair_queue.hpp"
#include "apps/gateway/shared_room.hpp"

using troupe::gateway::fair_queue;
using troupe::gateway::shared_room;

namespace {

constexpr std::uint64_t active_max = 8;
constexpr std::uint64_t window = 10;

class sampler {
 public:
  void add(const std::string& key, std::uint64_t sequences, std::uint64_t tokens) {
    const std::uint64_t number = ++last_;
    wanted_[number] = {sequences, tokens};
    asked_[number] = now_;
    queue_.add(key, {number, sequences, static_cast<double>(sequences * tokens)});
  }

  /// Until this many jobs have ended; gives the steps that each one waited and worked.
  std::map<std::uint64_t, std::uint64_t> run(std::size_t num_jobs) {
    while (took_.size() < num_jobs)
      step();
    return took_;
  }

  std::uint64_t last() const { return last_; }

 private:
  struct sequence {
    std::uint64_t job = 0;
    std::uint64_t left = 0;
  };

  void step() {
    for (const std::uint64_t number : queue_.next()) {
      for (std::uint64_t i = 0; i < wanted_[number].first; ++i)
        entered_.push_back({number, wanted_[number].second});
    }
    ++now_;
    const std::size_t count = std::min<std::size_t>(active_max, entered_.size());
    for (std::size_t i = 0; i < count; ++i)
      --entered_[i].left;
    for (std::size_t i = 0; i < count; ++i) {
      if (entered_[i].left == 0 && --wanted_[entered_[i].job].first == 0) {
        took_[entered_[i].job] = now_ - asked_[entered_[i].job];
        queue_.ended(entered_[i].job);
      }
    }
    std::erase_if(entered_, [](const sequence& s) { return s.left == 0; });
  }

  fair_queue queue_{window};
  std::map<std::uint64_t, std::pair<std::uint64_t, std::uint64_t>> wanted_;
  std::map<std::uint64_t, std::uint64_t> asked_;
  std::map<std::uint64_t, std::uint64_t> took_;
  std::deque<sequence> entered_;
  std::uint64_t last_ = 0;
  std::uint64_t now_ = 0;
};

}  // namespace

BOOST_AUTO_TEST_CASE(a_short_sample_does_not_wait_for_a_flood) {
  constexpr std::uint64_t flood = 2000;
  constexpr std::uint64_t long_answer = 100;
  sampler one;
  for (std::uint64_t i = 0; i < flood; ++i)
    one.add("greedy", 1, long_answer);
  one.add("modest", 1, 5);
  const std::uint64_t mine = one.last();
  const auto took = one.run(flood + 1);
  // It waits until one of those that are decoded ends, of some 25,000 steps of the whole flood.
  BOOST_TEST(took.at(mine) <= 2 * long_answer + 5);
  BOOST_TEST(took.at(mine - 1) > 20'000U);
}

BOOST_AUTO_TEST_CASE(tenants_share_by_tokens_not_by_requests) {
  sampler one;
  for (std::uint64_t i = 0; i < 40; ++i)
    one.add("greedy", 4, 50);
  std::vector<std::uint64_t> modest;
  for (std::uint64_t i = 0; i < 40; ++i) {
    one.add("modest", 1, 10);
    modest.push_back(one.last());
  }
  const auto took = one.run(80);
  std::uint64_t last = 0;
  for (const std::uint64_t number : modest)
    last = std::max(last, took.at(number));
  const std::uint64_t whole = std::max_element(took.begin(), took.end(), [](auto& a, auto& b) {
                                return a.second < b.second;
                              })->second;
  // 400 tokens of 8,400: twice their part of the time at most, as if it had half of the sampler.
  BOOST_TEST(last * 5 < whole);
}

BOOST_AUTO_TEST_CASE(jobs_of_a_key_keep_their_order_and_the_window_holds) {
  fair_queue queue(4);
  for (std::uint64_t i = 1; i <= 6; ++i)
    queue.add("a", {i, 2, 1});
  BOOST_TEST((queue.next() == std::vector<std::uint64_t>{1, 2}));
  queue.add("b", {7, 3, 1});
  queue.add("b", {8, 3, 1});
  // Beyond the window, because it is the only one of its key.
  BOOST_TEST((queue.next() == std::vector<std::uint64_t>{7}));
  queue.ended(1);
  queue.ended(2);
  BOOST_TEST(queue.next().empty() == false);
  BOOST_TEST(queue.num_waiting() == 4U);
}

BOOST_AUTO_TEST_CASE(silence_gives_no_credit) {
  fair_queue queue(1);
  queue.add("a", {1, 1, 1000});
  BOOST_TEST(queue.next().size() == 1U);
  queue.add("a", {2, 1, 1000});
  queue.add("b", {3, 1, 10});
  BOOST_TEST((queue.next() == std::vector<std::uint64_t>{3}));
  for (std::uint64_t i = 4; i < 9; ++i)
    queue.add("b", {i, 1, 1000});
  queue.ended(1);
  queue.ended(3);
  std::vector<std::uint64_t> order;
  for (int i = 0; i < 4; ++i) {
    const auto entered = queue.next();
    order.insert(order.end(), entered.begin(), entered.end());
    for (const std::uint64_t number : entered)
      queue.ended(number);
  }
  // Both keys are served; neither one's backlog goes first as a whole.
  BOOST_TEST((std::find(order.begin(), order.end(), 2U) - order.begin()) < 3);
  BOOST_TEST(std::count_if(order.begin(), order.end(), [](auto n) { return n >= 4; }) >= 2);
}

BOOST_AUTO_TEST_CASE(what_is_withdrawn_costs_its_key_nothing) {
  fair_queue queue(1);
  queue.add("c", {1, 1, 10});
  BOOST_TEST(queue.next().size() == 1U);
  queue.add("a", {2, 1, 10});
  queue.add("b", {3, 1, 10});
  BOOST_TEST((queue.next() == std::vector<std::uint64_t>{2, 3}));
  queue.add("a", {4, 1, 1000});
  queue.add("a", {5, 1, 10});
  queue.add("b", {6, 1, 100});
  queue.add("b", {7, 1, 10});
  BOOST_TEST(queue.withdraw("a", 4));
  BOOST_TEST(!queue.withdraw("a", 4));
  BOOST_TEST(!queue.withdraw("a", 2));
  BOOST_TEST(!queue.withdraw("nobody", 5));
  BOOST_TEST(queue.num_waiting() == 3U);
  std::vector<std::uint64_t> order;
  for (const std::uint64_t over : {1U, 2U, 3U, 5U, 6U, 7U}) {
    queue.ended(over);
    const auto entered = queue.next();
    order.insert(order.end(), entered.begin(), entered.end());
  }
  // Behind the thousand tokens that were taken back, 5 would have come last.
  BOOST_TEST((order == std::vector<std::uint64_t>{5, 6, 7}));
  BOOST_TEST(queue.num_waiting() == 0U);
}

BOOST_AUTO_TEST_CASE(no_key_fills_the_room_of_all) {
  shared_room room(900);
  std::size_t greedy = 0;
  while (room.has_room_for("greedy")) {
    room.take("greedy");
    ++greedy;
  }
  BOOST_TEST(greedy == 800U);
  std::size_t modest = 0;
  while (room.has_room_for("modest")) {
    room.take("modest");
    ++modest;
  }
  BOOST_TEST(modest >= 80U);
  BOOST_TEST(room.has_room_for("third"));
  room.give_back("greedy");
  BOOST_TEST(!room.has_room_for("greedy"));
  for (std::size_t i = 1; i < greedy; ++i)
    room.give_back("greedy");
  room.give_back("greedy");
  BOOST_TEST(room.num_taken() == modest);
}
