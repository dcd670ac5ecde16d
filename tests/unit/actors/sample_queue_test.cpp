// Requests of several samples: order, completion, dropping, bounds.

#include "actors/logic/sample_queue.hpp"

#include <boost/test/unit_test.hpp>

#include "config/limits.hpp"

namespace troupe::logic {
namespace {

sample_request wanting(std::uint32_t num_samples) {
  sample_request request;
  request.prompt = {1, 2};
  request.num_samples = num_samples;
  return request;
}

scored_token of(token_id token, float logprob) {
  scored_token out;
  out.token = token;
  out.logprob = logprob;
  return out;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(sample_queue_test)

BOOST_AUTO_TEST_CASE(a_request_is_answered_when_its_last_sequence_ends) {
  sample_queue queue;
  const auto request = *queue.add(wanting(2), nullptr);
  const auto first = *queue.front();
  queue.pop_front();
  const auto second = *queue.front();
  queue.pop_front();
  BOOST_TEST(first.sample_index == 0U);
  BOOST_TEST(second.sample_index == 1U);
  BOOST_TEST(!queue.front().has_value());
  BOOST_TEST(!queue.add_token(second.sequence, of(8, -1.0F), 3, std::nullopt).has_value());
  BOOST_TEST(!queue.add_token(first.sequence, of(7, -0.5F), 3, stop_reason::stop).has_value());
  const auto done = queue.add_token(second.sequence, of(9, -2.0F), 4, stop_reason::length);
  BOOST_REQUIRE(done.has_value());
  BOOST_TEST(done->first == request);
  const auto& sequences = done->second.sequences;
  BOOST_TEST(sequences[0].tokens[0] == 7);
  BOOST_TEST((sequences[0].reason == stop_reason::stop));
  BOOST_TEST(sequences[1].tokens.size() == 2U);
  BOOST_TEST(sequences[1].first_version == 3U);
  BOOST_TEST(sequences[1].last_version == 4U);
}

BOOST_AUTO_TEST_CASE(sequences_start_in_order_of_arrival) {
  sample_queue queue;
  const auto a = *queue.add(wanting(1), nullptr);
  const auto b = *queue.add(wanting(1), nullptr);
  BOOST_TEST(queue.front()->request == a);
  queue.pop_front();
  BOOST_TEST(queue.front()->request == b);
}

BOOST_AUTO_TEST_CASE(a_dropped_request_leaves_nothing) {
  sample_queue queue;
  const auto dropped = *queue.add(wanting(3), nullptr);
  const auto kept = *queue.add(wanting(1), nullptr);
  const auto started = *queue.front();
  queue.pop_front();
  BOOST_TEST(queue.drop(dropped).size() == 3U);
  BOOST_TEST(queue.num_waiting() == 1U);
  BOOST_TEST(queue.front()->request == kept);
  BOOST_TEST(!queue.add_token(started.sequence, of(1, 0.0F), 1, stop_reason::stop).has_value());
}

BOOST_AUTO_TEST_CASE(the_queue_is_bounded) {
  sample_queue queue;
  const auto many = static_cast<std::uint32_t>(limits::samples_per_request_max);
  std::size_t accepted = 0;
  while (queue.add(wanting(many), nullptr))
    accepted += many;
  BOOST_TEST(accepted <= limits::sampler_waiting_max);
  BOOST_TEST((queue.add(wanting(many), nullptr).error().code == errc::busy));
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace troupe::logic
