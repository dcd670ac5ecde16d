// Splitting an op over ranks and merging the answers back.

#include "actors/logic/step_commit.hpp"

#include <boost/test/unit_test.hpp>

namespace troupe::logic {
namespace {

datum of_length(std::size_t n, token_id token) {
  datum d;
  d.tokens.assign(n, token);
  d.target_tokens = d.tokens;
  return d;
}

}  // namespace

BOOST_AUTO_TEST_SUITE(step_commit_test)

BOOST_AUTO_TEST_CASE(answers_return_to_the_order_of_the_batch) {
  const forward_op op{{of_length(3, 1), of_length(9, 2), of_length(4, 3), of_length(5, 4)},
                      retention::discard};
  for (std::uint32_t world = 1; world <= 5; ++world) {
    const auto work = split(op, world, 1, {});
    BOOST_REQUIRE(work.has_value());
    std::vector<shard_work_reply> ranks(world);
    for (std::uint32_t rank = 0; rank < world; ++rank) {
      ranks[rank].seq_id = 7;
      ranks[rank].metrics = {{"loss:sum", 1.0}, {"peak:max", double(rank)}, {"x:mean", 2.0}};
      ranks[rank].weights = {1, 2};
      for (const datum& d : std::get<shard_forward>(work->bodies[rank]).batch) {
        ranks[rank].logprobs.emplace_back(d.tokens.size(), static_cast<float>(d.tokens[0]));
        ranks[rank].details.push_back({{}, {static_cast<float>(d.tokens[0])}, {}});
      }
    }
    const auto merged = merge(ranks, work->plan, 7);
    BOOST_REQUIRE(merged.has_value());
    for (std::size_t i = 0; i < op.batch.size(); ++i) {
      BOOST_REQUIRE(merged->logprobs[i].size() == op.batch[i].tokens.size());
      BOOST_TEST(merged->logprobs[i][0] == static_cast<float>(op.batch[i].tokens[0]));
      BOOST_TEST(merged->details[i].entropies[0] == static_cast<float>(op.batch[i].tokens[0]));
    }
    BOOST_TEST(merged->metrics[0].second == world);
    BOOST_TEST(merged->metrics[1].second == world - 1);
    BOOST_TEST(merged->metrics[2].second == 2.0);
    BOOST_TEST(merged->weights.high == 2U * world);
  }
}

BOOST_AUTO_TEST_CASE(a_mean_is_of_the_ranks_that_know_it) {
  std::vector<shard_work_reply> ranks(4);
  ranks[1].metrics = {{"x:mean", 2.0}};
  ranks[3].metrics = {{"x:mean", 5.0}, {"y:mean", 1.0}};
  const auto merged = merge(ranks, batch_plan(4), 0);
  BOOST_REQUIRE(merged.has_value());
  BOOST_TEST(metric(merged->metrics, "x:mean") == 3.5);
  BOOST_TEST(metric(merged->metrics, "y:mean") == 1.0);
}

BOOST_AUTO_TEST_CASE(an_answer_for_another_op_is_refused) {
  std::vector<shard_work_reply> ranks(2);
  ranks[0].seq_id = 3;
  ranks[1].seq_id = 4;
  BOOST_TEST((merge(ranks, batch_plan(2), 3).error().code == errc::internal));
}

BOOST_AUTO_TEST_CASE(a_backward_follows_the_plan_of_its_forward) {
  const batch_plan plan{{1}, {0, 2}};
  backward_op op{9, {{1.0F}, {2.0F}, {3.0F}}};
  const auto work = split(op, 2, 1, plan);
  BOOST_REQUIRE(work.has_value());
  BOOST_TEST(std::get<shard_backward>(work->bodies[0]).logprob_gradients[0][0] == 2.0F);
  BOOST_TEST(std::get<shard_backward>(work->bodies[1]).logprob_gradients[1][0] == 3.0F);
  op.logprob_gradients.pop_back();
  BOOST_TEST((split(op, 2, 1, plan).error().code == errc::invalid_argument));
}

BOOST_AUTO_TEST_CASE(an_answer_that_no_frame_holds_is_refused_before_the_work) {
  model_config model;
  model.hidden_size = 1024;
  forward_op op{{of_length(600, 1), of_length(40, 2)}, retention::discard, {}};
  BOOST_TEST(check_answer(op, model).has_value());
  op.details.embedding = embedding_kind::per_token;
  BOOST_TEST((check_answer(op, model).error().code == errc::invalid_argument));
  op.details.embedding = embedding_kind::mean;
  BOOST_TEST(check_answer(op, model).has_value());
}

BOOST_AUTO_TEST_CASE(only_ops_that_change_state_are_replayed) {
  BOOST_TEST(!changes_state(forward_op{}));
  BOOST_TEST(changes_state(forward_op{{}, retention::keep_for_backward}));
  BOOST_TEST(changes_state(forward_backward_op{}));
  BOOST_TEST(changes_state(backward_op{}));
  BOOST_TEST(changes_state(optim_step_op{}));
  BOOST_TEST(changes_state(load_state_op{}));
  BOOST_TEST(!changes_state(save_state_op{}));
  BOOST_TEST(!changes_state(save_weights_op{}));
}

BOOST_AUTO_TEST_CASE(a_replay_that_differs_by_one_bit_is_seen) {
  const optim_step_result step{4, {1, 2}, {}};
  auto other = step;
  other.weights.low = 3;
  BOOST_TEST(same_outcome(step, step));
  BOOST_TEST(!same_outcome(step, other));
  BOOST_TEST(!same_outcome(forward_result{{{1.0F}}, {}}, forward_result{{{1.0000001F}}, {}}));
  BOOST_TEST(!same_outcome(step, forward_result{}));
}

BOOST_AUTO_TEST_SUITE_END()

}  // namespace troupe::logic
