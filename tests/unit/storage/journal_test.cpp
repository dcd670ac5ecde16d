#include "storage/journal.hpp"

#include <algorithm>
#include <limits>

#include <boost/test/unit_test.hpp>

#include "messages/wire/codec.hpp"
#include "storage/keys.hpp"
#include "storage/open_store.hpp"

using namespace troupe;
using namespace troupe::storage;

namespace {

/// A store whose writes can be made to fail.
class failing_store final : public key_value_store {
 public:
  bool fails = false;

  result<void> write(const write_batch& batch) override {
    if (fails) return fail(errc::storage, "the disk failed");
    return store_->write(batch);
  }
  result<std::optional<std::string>> get(column where, std::string_view key) override {
    return store_->get(where, key);
  }
  result<void> scan(column where, std::string_view first, std::string_view last,
                    const std::function<bool(std::string_view, std::string_view)>& visit) override {
    return store_->scan(where, first, last, visit);
  }

 private:
  std::unique_ptr<key_value_store> store_ = make_memory_key_value_store();
};

struct fixture {
  failing_store values;
  std::unique_ptr<blob_store> blobs = make_memory_blob_store();
  journal log{values, *blobs};

  std::vector<logged_op> all(const std::string& run = "r") {
    std::vector<logged_op> ops;
    read_log_reply page;
    while (!page.complete) {
      const std::uint64_t after = ops.empty() ? 0 : ops.back().op.seq_id;
      page = log.read({run_id{run}, after, 3}).value();
      ops.insert(ops.end(), page.ops.begin(), page.ops.end());
    }
    return ops;
  }
};

append_op_request small_op(std::uint64_t seq_id, const std::string& run = "r", char digest = 'd') {
  op_request op;
  op.run.value = run;
  op.client_epoch = 1;
  op.seq_id = seq_id;
  op.body = optim_step_op{};
  op.cursor = std::string("c\0", 2) + std::to_string(seq_id);
  return {op, blob_id{std::string(64, digest)}};
}

append_op_request batch_op(std::uint64_t seq_id, std::size_t tokens) {
  auto request = small_op(seq_id);
  datum example;
  example.tokens.assign(tokens, 1);
  example.target_tokens.assign(tokens, 2);
  example.weights.assign(tokens, 0.5F);
  request.op.body = forward_backward_op{{example}, loss_fn::cross_entropy, {{"k", 1.0}}};
  return request;
}

finish_op_request end_of(std::uint64_t seq_id, std::size_t logprobs = 0,
                         const std::string& run = "r") {
  finish_op_request end;
  end.run.value = run;
  end.seq_id = seq_id;
  end.step = 10 * seq_id;
  end.weights = {seq_id, 7};
  op_reply reply;
  reply.seq_id = seq_id;
  forward_result result;
  result.logprobs.emplace_back(logprobs, -0.25F);
  result.metrics = {{"loss:sum", 1.5}};
  reply.output = result;
  end.outcome = reply;
  return end;
}

constexpr std::size_t large_tokens = 10'000;

}  // namespace

BOOST_AUTO_TEST_CASE(keys_sort_as_numbers_count) {
  const std::vector<std::uint64_t> numbers = {0, 1, 255, 256, 65535, 1ULL << 32, ~0ULL};
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    BOOST_TEST(from_big_endian(big_endian(numbers[i])) == numbers[i]);
    for (std::size_t j = 0; j < i; ++j)
      BOOST_TEST((big_endian(numbers[j]) < big_endian(numbers[i])));
  }
  BOOST_TEST((ended("run") < ended("run1")));
  BOOST_TEST((behind("run") < ended("run1")));
}

BOOST_FIXTURE_TEST_CASE(ops_come_back_in_order_with_their_ends, fixture) {
  // LOG-3, across inline and blob values and a page size that does not divide the count.
  std::vector<logged_op> expected;
  for (const std::uint64_t seq : {300U, 2U, 1U, 256U, 255U, 70000U, 3U}) {
    const auto request = seq == 256 ? batch_op(seq, large_tokens) : small_op(seq);
    BOOST_REQUIRE(log.append(request));
    const auto end = end_of(seq, seq == 255 ? 2 * large_tokens : 1);
    const bool finished = seq != 3;
    if (finished) BOOST_REQUIRE(log.finish(end));
    logged_op op{request.op, request.body_digest, finished, 0, {}, {}};
    if (finished) {
      op.step = end.step;
      op.weights = end.weights;
      op.outcome = end.outcome;
    }
    expected.push_back(op);
  }
  BOOST_REQUIRE(log.append(small_op(9, "r1")));
  BOOST_REQUIRE(log.append(small_op(9, "q")));
  BOOST_REQUIRE(log.flush());
  std::sort(expected.begin(), expected.end(),
            [](const auto& a, const auto& b) { return a.op.seq_id < b.op.seq_id; });
  BOOST_TEST((all() == expected));
  BOOST_TEST(all("r1").size() == 1U);
  BOOST_TEST(all("none").empty());
  BOOST_TEST(blobs->list().value().size() == 2U);
  const auto none = std::numeric_limits<std::uint64_t>::max();
  BOOST_TEST(log.read({run_id{"r"}, none, 5}).value().complete);
  BOOST_TEST((log.read({run_id{"r"}, 0, 0}).error().code == errc::invalid_argument));
}

BOOST_FIXTURE_TEST_CASE(nothing_counts_before_flush_or_after_a_failed_one, fixture) {
  // LOG-1 and its reverse.
  BOOST_REQUIRE(log.append(small_op(1)));
  BOOST_TEST(all().empty());
  values.fails = true;
  BOOST_TEST(!log.flush().has_value());
  values.fails = false;
  BOOST_TEST(all().empty());
  BOOST_REQUIRE(log.flush());
  BOOST_TEST(all().empty());
  BOOST_REQUIRE(log.append(small_op(1, "r", 'e')));
  BOOST_REQUIRE(log.flush());
  BOOST_TEST(all().size() == 1U);
}

BOOST_FIXTURE_TEST_CASE(a_repeat_is_harmless_and_a_reuse_is_not, fixture) {
  BOOST_REQUIRE(log.append(batch_op(1, large_tokens)));
  for (int durable = 0; durable < 2; ++durable) {
    BOOST_TEST(log.append(batch_op(1, large_tokens)).has_value());
    auto reused = small_op(1, "r", 'f');
    BOOST_TEST((log.append(reused).error().code == errc::seq_reused));
    BOOST_REQUIRE(log.flush());
  }
  BOOST_TEST(all().size() == 1U);
}

BOOST_FIXTURE_TEST_CASE(the_first_end_stays, fixture) {
  // LOG-2
  BOOST_REQUIRE(log.append(small_op(1)));
  BOOST_REQUIRE(log.finish(end_of(1)));
  auto other = end_of(1);
  other.outcome = error{errc::aborted, "gave up", "", ""};
  for (int durable = 0; durable < 2; ++durable) {
    BOOST_TEST(log.finish(other).has_value());
    BOOST_REQUIRE(log.flush());
  }
  BOOST_TEST((all()[0].outcome == end_of(1).outcome));
  BOOST_TEST((log.finish(end_of(2)).error().code == errc::not_found));
}

BOOST_FIXTURE_TEST_CASE(trim_drops_payloads_and_keeps_the_rest, fixture) {
  BOOST_REQUIRE(log.append(batch_op(1, large_tokens)));
  BOOST_REQUIRE(log.append(batch_op(2, 10)));
  BOOST_REQUIRE(log.append(small_op(3)));
  BOOST_REQUIRE(log.append(batch_op(4, large_tokens + 1)));
  for (const std::uint64_t seq : {1U, 2U, 3U, 4U})
    BOOST_REQUIRE(log.finish(end_of(seq)));
  BOOST_REQUIRE(log.flush());
  BOOST_REQUIRE(log.trim({run_id{"r"}, 3}));
  const auto ops = all();
  BOOST_REQUIRE(ops.size() == 4U);
  for (const std::size_t i : {0U, 1U}) {
    const auto& body = std::get<forward_backward_op>(ops[i].op.body);
    BOOST_TEST(body.batch.empty());
    BOOST_TEST(ops[i].op.cursor == batch_op(i + 1, 1).op.cursor);
    BOOST_TEST((ops[i].outcome == end_of(i + 1).outcome));
  }
  BOOST_TEST((ops[2].op == small_op(3).op));
  BOOST_TEST((ops[3].op == batch_op(4, large_tokens + 1).op));
  BOOST_TEST(blobs->list().value().size() == 1U);
  BOOST_TEST(log.append(batch_op(1, large_tokens)).has_value());
  BOOST_REQUIRE(log.trim({run_id{"r"}, 4}));
  BOOST_TEST(blobs->list().value().empty());
  BOOST_REQUIRE(log.trim({run_id{"r"}, std::numeric_limits<std::uint64_t>::max()}));
  BOOST_TEST(all().size() == 4U);
}

BOOST_FIXTURE_TEST_CASE(trim_spares_pending_ops_until_they_end, fixture) {
  // LOG-4
  for (const std::uint64_t seq : {1U, 2U, 3U})
    BOOST_REQUIRE(log.append(batch_op(seq, large_tokens)));
  BOOST_REQUIRE(log.finish(end_of(1)));
  BOOST_REQUIRE(log.finish(end_of(3)));
  BOOST_REQUIRE(log.flush());
  BOOST_REQUIRE(log.trim({run_id{"r"}, 3}));
  BOOST_TEST((all()[1].op == batch_op(2, large_tokens).op));
  BOOST_TEST(blobs->list().value().size() == 1U);
  BOOST_REQUIRE(log.finish(end_of(2)));
  BOOST_REQUIRE(log.flush());
  BOOST_REQUIRE(log.trim({run_id{"r"}, 3}));
  BOOST_TEST(blobs->list().value().empty());
}

BOOST_FIXTURE_TEST_CASE(trim_works_through_a_long_log, fixture) {
  constexpr std::uint64_t ops = 300;
  for (std::uint64_t seq = 1; seq <= ops; ++seq) {
    BOOST_REQUIRE(log.append(batch_op(seq, 4)));
    if (seq != 200) BOOST_REQUIRE(log.finish(end_of(seq)));
  }
  BOOST_REQUIRE(log.flush());
  BOOST_REQUIRE(log.trim({run_id{"r"}, ops - 1}));
  for (const logged_op& op : all()) {
    const bool kept = op.op.seq_id == 200 || op.op.seq_id == ops;
    BOOST_TEST(std::get<forward_backward_op>(op.op.body).batch.empty() == !kept);
  }
}

BOOST_FIXTURE_TEST_CASE(a_page_stays_within_a_frame, fixture) {
  constexpr std::size_t tokens = 250'000;
  for (const std::uint64_t seq : {1U, 2U, 3U, 4U}) {
    BOOST_REQUIRE(log.append(batch_op(seq, tokens)));
    BOOST_REQUIRE(log.finish(end_of(seq, tokens)));
  }
  BOOST_REQUIRE(log.flush());
  const auto page = log.read({run_id{"r"}, 0, 64}).value();
  BOOST_TEST(page.ops.size() == 2U);
  BOOST_TEST(!page.complete);
  BOOST_TEST(wire::encode(page).has_value());
  BOOST_TEST(all().size() == 4U);
}

BOOST_FIXTURE_TEST_CASE(a_lost_payload_is_corrupt, fixture) {
  BOOST_REQUIRE(log.append(batch_op(1, large_tokens)));
  BOOST_REQUIRE(log.flush());
  BOOST_REQUIRE(blobs->remove(blobs->list().value()[0].blob));
  BOOST_TEST((log.read({run_id{"r"}, 0, 1}).error().code == errc::corrupt));
}
