// Every order, repetition and loss of a small set of ops, against the one right answer.

#include "actors/logic/op_sequencer.hpp"

#include <algorithm>
#include <numeric>

#include <boost/test/unit_test.hpp>

#include "config/limits.hpp"

namespace troupe::logic {
namespace {

sequenced_op op(std::uint64_t seq_id, std::uint64_t epoch = 1, const std::string& digest = "") {
  sequenced_op out;
  out.op.seq_id = seq_id;
  out.op.client_epoch = epoch;
  out.body_digest = digest.empty() ? "d" + std::to_string(seq_id) : digest;
  out.bytes = 100;
  return out;
}

std::vector<std::uint64_t> released(op_sequencer& sequencer) {
  std::vector<std::uint64_t> out;
  for (const auto& taken : sequencer.take_released())
    out.push_back(taken.op.seq_id);
  return out;
}

errc code_of(const result<arrival>& answer) {
  return answer ? errc::none : answer.error().code;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(op_sequencer_test)

// SEQ-1, SEQ-2, SEQ-3 over all 5! orders, each op sent twice in every one of them.
BOOST_AUTO_TEST_CASE(every_order_is_released_once_and_in_order) {
  std::vector<std::uint64_t> order(5);
  std::iota(order.begin(), order.end(), 1U);
  std::size_t num_orders = 0;
  do {
    for (std::size_t repeat_at = 0; repeat_at < order.size(); ++repeat_at) {
      op_sequencer sequencer(1, 1);
      std::vector<std::uint64_t> out;
      const auto take = [&] {
        for (const auto seq_id : released(sequencer))
          out.push_back(seq_id);
      };
      for (std::size_t i = 0; i < order.size(); ++i) {
        BOOST_TEST((code_of(sequencer.offer(op(order[i]))) == errc::none));
        take();
        if (i == repeat_at) {
          for (std::size_t j = 0; j <= i; ++j) {
            BOOST_TEST((code_of(sequencer.offer(op(order[j]))) == errc::none));
            take();
          }
        }
      }
      const std::vector<std::uint64_t> expected{1, 2, 3, 4, 5};
      BOOST_TEST(out == expected, boost::test_tools::per_element());
      BOOST_TEST(sequencer.next_seq_id() == 6U);
      BOOST_TEST(sequencer.num_buffered() == 0U);
    }
    ++num_orders;
  } while (std::next_permutation(order.begin(), order.end()));
  BOOST_TEST(num_orders == 120U);
}

BOOST_AUTO_TEST_CASE(a_repeat_gets_the_stored_outcome) {
  op_sequencer sequencer(1, 1);
  BOOST_TEST((*sequencer.offer(op(1)) == arrival::released));
  BOOST_TEST((*sequencer.offer(op(1)) == arrival::pending));
  BOOST_TEST(sequencer.outcome(1) == nullptr);
  sequencer.finish(1, error{errc::not_finite, "NaN", "", ""});
  BOOST_TEST((*sequencer.offer(op(1)) == arrival::finished));
  BOOST_REQUIRE(sequencer.outcome(1) != nullptr);
  BOOST_TEST((std::get<error>(*sequencer.outcome(1)).code == errc::not_finite));
  sequencer.finish(1, op_reply{});
  BOOST_TEST((std::get<error>(*sequencer.outcome(1)).code == errc::not_finite));
}

BOOST_AUTO_TEST_CASE(another_body_under_a_used_number_is_refused) {
  op_sequencer sequencer(1, 1);
  (void)*sequencer.offer(op(1));
  (void)*sequencer.offer(op(3));
  BOOST_TEST((code_of(sequencer.offer(op(1, 1, "other"))) == errc::seq_reused));
  BOOST_TEST((code_of(sequencer.offer(op(3, 1, "other"))) == errc::seq_reused));
  BOOST_TEST(sequencer.next_seq_id() == 2U);
}

BOOST_AUTO_TEST_CASE(an_older_client_is_fenced_and_a_newer_one_unknown) {
  op_sequencer sequencer(1, 1);
  (void)*sequencer.offer(op(2));
  BOOST_TEST(sequencer.raise_epoch() == 2U);
  BOOST_TEST(sequencer.num_buffered() == 0U);
  BOOST_TEST((code_of(sequencer.offer(op(1, 1))) == errc::fenced));
  BOOST_TEST((code_of(sequencer.offer(op(1, 3))) == errc::invalid_argument));
  BOOST_TEST((*sequencer.offer(op(1, 2)) == arrival::released));
}

BOOST_AUTO_TEST_CASE(sequence_numbers_start_at_one) {
  op_sequencer sequencer(1, 1);
  BOOST_TEST((code_of(sequencer.offer(op(0))) == errc::invalid_argument));
}

BOOST_AUTO_TEST_CASE(the_buffer_is_bounded) {
  op_sequencer sequencer(1, 1);
  for (std::uint64_t i = 2; i <= limits::ops_buffered_max + 1; ++i) {
    BOOST_TEST((*sequencer.offer(op(i)) == arrival::buffered));
  }
  BOOST_TEST((code_of(sequencer.offer(op(limits::ops_buffered_max + 2))) == errc::busy));
  auto huge = op(3, 1, "x");
  op_sequencer small(1, 1);
  huge.bytes = limits::ops_buffered_bytes_max + 1;
  BOOST_TEST((code_of(small.offer(huge)) == errc::busy));
}

BOOST_AUTO_TEST_CASE(a_gap_that_never_closes_is_named) {
  op_sequencer sequencer(1, 1);
  BOOST_TEST(!sequencer.expire_gap().has_value());
  (void)*sequencer.offer(op(4));
  const auto gap = sequencer.expire_gap();
  BOOST_REQUIRE(gap.has_value());
  BOOST_TEST((gap->code == errc::seq_gap));
  BOOST_TEST(gap->what.find("seq_id 1") != std::string::npos);
  BOOST_TEST((*sequencer.offer(op(1)) == arrival::released));
  BOOST_TEST(released(sequencer).size() == 1U);
}

BOOST_AUTO_TEST_CASE(a_journal_restores_what_was_accepted) {
  op_sequencer sequencer(3, 1);
  sequencer.restore(1, "d1");
  sequencer.restore(2, "d2");
  sequencer.finish(1, op_reply{});
  BOOST_TEST(sequencer.next_seq_id() == 3U);
  BOOST_TEST((*sequencer.offer(op(1, 3)) == arrival::finished));
  BOOST_TEST((*sequencer.offer(op(2, 3)) == arrival::pending));
  BOOST_TEST(sequencer.take_released().empty());
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace troupe::logic
