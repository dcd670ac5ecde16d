// Streams and cancellation in a simulated cluster: chunks are the answer, a reader that stops or
// goes away leaves nothing behind, and kills end a stream in its whole answer or in one error.

#include <boost/test/unit_test.hpp>

#include "actors/logic/sequence_parts.hpp"
#include "actors/sampler.hpp"
#include "config/deadlines.hpp"
#include "config/limits.hpp"
#include "tests/simulation/served_run.hpp"
#include "tests/support/message_types.hpp"

namespace troupe {
namespace {

using tests::sim_cluster;

sample_request wanting(std::uint32_t num_samples, std::uint32_t num_tokens, std::uint64_t ticket) {
  sample_request request;
  request.deployment = deployment_id{"d"};
  request.prompt = {1, 2, 3};
  request.params.max_tokens = num_tokens;
  request.num_samples = num_samples;
  request.ticket = ticket;
  return request;
}

/// More than a sampler decodes ahead of a reader.
sample_request endless(std::uint64_t ticket) {
  return wanting(8, 1000, ticket);
}

struct reading {
  bool is_open = false;
  std::optional<error> failure;
  sample_reply whole;
  std::uint64_t num_chunks = 0;
  bool is_over = false;

  [[nodiscard]] bool has_ended() const { return is_over || failure; }
};

/// A client: opens a stream and reads up to `chunks_max` of it, then waits for its end.
struct reader_state {
  using actor_type = caf::stateful_actor<reader_state>;
  using outcome = std::shared_ptr<reading>;

  reader_state(actor_type* actor, actors::deployment_actor deployment, sample_request wanted,
               std::uint64_t reads, outcome to)
      : self(actor),
        source(std::move(deployment)),
        request(std::move(wanted)),
        chunks_max(reads),
        out(std::move(to)) {}

  caf::behavior make_behavior() {
    self->request(source, deadlines::sample, stream_sample_request{request})
        .then(
            [this](const done&) {
              out->is_open = true;
              read();
            },
            [this](const caf::error& e) { out->failure = actors::from_caf(e); });
    return {[this](int) { read_next(); }};
  }

  void read() {
    if (out->num_chunks < chunks_max) read_next();
  }

  void read_next() {
    self->request(source, deadlines::sample,
                  read_sample_request{request.deployment, request.ticket, out->num_chunks})
        .then(
            [this](const sample_chunk& chunk) {
              ++out->num_chunks;
              logic::append_chunk(out->whole, chunk);
              out->is_over = chunk.is_last;
              if (!chunk.is_last) read();
            },
            [this](const caf::error& e) { out->failure = actors::from_caf(e); });
  }

  actor_type* self;
  actors::deployment_actor source;
  sample_request request;
  std::uint64_t chunks_max;
  outcome out;
};

constexpr std::uint64_t all_chunks = 1'000'000;

struct served : tests::served_run {
  explicit served(std::uint64_t seed, std::uint32_t samplers = 1) : served_run(seed, samplers, 1) {}

  std::shared_ptr<reading> stream(const sample_request& request, std::uint64_t chunks_max) {
    auto out = std::make_shared<reading>();
    readers.push_back(
        cluster.system().spawn<reader_state::actor_type>(deployment, request, chunks_max, out));
    return out;
  }

  deployment_info status() {
    auto info =
        cluster.ask<deployment_info>(deployment, deployment_status_request{deployment_id{"d"}});
    BOOST_REQUIRE(info.has_value());
    return std::get<0>(*info);
  }

  void end_readers() {
    for (const caf::actor& reader : readers)
      caf::anon_send_exit(reader, caf::exit_reason::kill);
    readers.clear();
  }

  ~served() { end_readers(); }

  std::vector<caf::actor> readers;
};

/// One replica without a deployment, so that its own numbers can be asked for.
struct replica {
  sim_cluster cluster{7, 0, 0};
  actors::sampler_actor sampler;

  replica() {
    const actors::node_context context{node_id{"s"}, &cluster.engines(), &cluster.blobs(),
                                       actors::worker_threads::inline_scheduler};
    auto stager = actors::spawn_weight_stager(cluster.system(), context);
    auto opened = cluster.ask<actors::opened_engine>(
        stager, open_sampler_request{deployment_id{"d"}, {tests::tiny_model_directory()}});
    BOOST_REQUIRE(opened.has_value());
    sampler = actors::spawn_sampler(cluster.system(), context, std::get<0>(*opened), stager);
  }

  ~replica() { caf::anon_send_exit(sampler, caf::exit_reason::kill); }

  replica_status status() {
    auto now = cluster.ask<replica_status>(sampler, replica_status_request{deployment_id{"d"}});
    BOOST_REQUIRE(now.has_value());
    return std::get<0>(*now);
  }

  void check_empty() {
    const replica_status now = status();
    BOOST_TEST(now.active_sequences == 0U);
    BOOST_TEST(now.waiting_sequences == 0U);
    BOOST_TEST(now.held_sequences == 0U);
    BOOST_TEST(now.cache_pages == 0U);
  }
};

}  // namespace

BOOST_AUTO_TEST_CASE(chunks_put_together_are_the_whole_answer) {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    served s(seed);
    const auto whole = s.cluster.ask<sample_reply>(s.deployment, wanting(5, 300, 0));
    BOOST_REQUIRE(whole.has_value());
    const auto read = s.stream(wanting(5, 300, 1), all_chunks);
    while (!read->has_ended())
      s.cluster.settle_a_little();
    BOOST_TEST(!read->failure.has_value());
    BOOST_TEST((read->whole.sequences == std::get<0>(*whole).sequences));
    BOOST_TEST(read->num_chunks >= 2U);
    BOOST_TEST(s.status().active_sequences == 0U);
  }
}

BOOST_AUTO_TEST_CASE(a_stream_that_nobody_reads_is_held_then_ended) {
  served s(1);
  const auto read = s.stream(endless(1), 2);
  while (read->num_chunks < 2)
    s.cluster.settle_a_little();
  s.cluster.pass(deadlines::stream_silence / 2);
  BOOST_TEST(s.status().active_sequences == 1U);
  s.cluster.pass(deadlines::stream_silence);
  BOOST_TEST(s.status().active_sequences == 0U);
  // What waits behind it is decoded.
  BOOST_TEST(s.cluster.ask<sample_reply>(s.deployment, wanting(4, 50, 0)).has_value());
}

BOOST_AUTO_TEST_CASE(a_reader_that_comes_late_is_told_why_its_stream_ended) {
  served s(2);
  const auto out = s.stream(endless(1), 0);
  while (!out->is_open)
    s.cluster.settle_a_little();
  s.cluster.pass(deadlines::stream_silence * 3 / 2);
  caf::anon_send(s.readers.front(), 1);
  while (!out->failure)
    s.cluster.settle_a_little();
  BOOST_TEST((out->failure->code == errc::timeout));
}

BOOST_AUTO_TEST_CASE(a_replica_decodes_only_a_little_ahead) {
  replica r;
  auto opened = r.cluster.begin<done>(r.sampler, stream_sample_request{endless(1)});
  r.cluster.run(1'000'000);
  BOOST_TEST(opened->outcome.has_value());
  const replica_status now = r.status();
  BOOST_TEST(now.sampled_tokens >= limits::stream_ahead_tokens_max);
  BOOST_TEST(now.sampled_tokens <= limits::stream_ahead_tokens_max + 8);
  BOOST_TEST(now.held_sequences == now.active_sequences);
  BOOST_TEST(now.cache_pages > 0U);
  BOOST_REQUIRE(
      r.cluster.ask<done>(r.sampler, cancel_sample_request{deployment_id{"d"}, 1}).has_value());
  r.check_empty();
}

BOOST_AUTO_TEST_CASE(a_slow_reader_gets_everything) {
  replica r;
  BOOST_REQUIRE(r.cluster.ask<done>(r.sampler, stream_sample_request{endless(1)}).has_value());
  sample_reply whole;
  for (std::uint64_t chunk = 0;; ++chunk) {
    r.cluster.run(100'000);
    const auto part =
        r.cluster.ask<sample_chunk>(r.sampler, read_sample_request{deployment_id{"d"}, 1, chunk});
    BOOST_REQUIRE(part.has_value());
    logic::append_chunk(whole, std::get<0>(*part));
    if (std::get<0>(*part).is_last) break;
  }
  BOOST_REQUIRE(whole.sequences.size() == 8U);
  for (const sampled_sequence& sequence : whole.sequences)
    BOOST_TEST(sequence.tokens.size() == 1000U);
  r.check_empty();
}

BOOST_AUTO_TEST_CASE(what_is_cancelled_leaves_the_batch_within_a_step) {
  replica r;
  auto whole = r.cluster.begin<sample_reply>(r.sampler, endless(5));
  while (r.status().active_sequences == 0)
    r.cluster.settle_a_little();
  const auto before = r.status().sampled_tokens;
  BOOST_REQUIRE(
      r.cluster.ask<done>(r.sampler, cancel_sample_request{deployment_id{"d"}, 5}).has_value());
  r.cluster.run(100'000);
  BOOST_TEST((whole->outcome.error().code == errc::cancelled));
  r.check_empty();
  const auto after = r.status().sampled_tokens;
  BOOST_TEST(after - before < 200U);
  r.cluster.run(100'000);
  BOOST_TEST(r.status().sampled_tokens == after);
  // Once more, and one that never was.
  BOOST_TEST(
      r.cluster.ask<done>(r.sampler, cancel_sample_request{deployment_id{"d"}, 5}).has_value());
}

BOOST_AUTO_TEST_CASE(a_client_that_goes_away_cancels_its_requests) {
  served s(3);
  const auto waits = s.stream(endless(1), all_chunks);
  const auto stopped = s.stream(endless(1), 1);
  s.readers.push_back(
      s.cluster.system().spawn([to = s.deployment](caf::event_based_actor* self) -> caf::behavior {
        self->request(to, deadlines::sample, endless(9))
            .then([](const sample_reply&) {}, [](const caf::error&) {});
        return {[](int) {}};
      }));
  while (!waits->is_open || !stopped->is_open || s.status().active_sequences < 3)
    s.cluster.settle_a_little();
  s.end_readers();
  s.cluster.pass(deadlines::lease_renewal);
  BOOST_TEST(s.status().active_sequences == 0U);
  BOOST_TEST(s.status().waiting_requests == 0U);
}

BOOST_AUTO_TEST_CASE(kills_end_a_stream_in_its_answer_or_an_error) {
  std::size_t num_whole = 0;
  std::size_t num_lost = 0;
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    BOOST_TEST_CONTEXT("seed " << seed) {
      served s(seed, 2);
      const auto read = s.stream(wanting(3, 40, 1), all_chunks);
      s.cluster.run(s.cluster.random()() % 120);
      s.cluster.kill_node(node_role::sampler);
      s.cluster.add_node(node_role::sampler);
      while (!read->has_ended())
        s.cluster.settle_a_little();
      if (read->is_over) {
        ++num_whole;
        BOOST_REQUIRE(read->whole.sequences.size() == 3U);
        for (const sampled_sequence& sequence : read->whole.sequences)
          BOOST_TEST(sequence.tokens.size() == 40U);
      } else {
        ++num_lost;
        BOOST_TEST((read->failure->code == errc::peer_lost));
        BOOST_TEST(read->num_chunks > 0U);
      }
      s.cluster.run(100'000);
      BOOST_TEST(s.status().active_sequences == 0U);
    }
  }
  BOOST_TEST(num_whole > 0U);
  BOOST_TEST(num_lost > 0U);
}

BOOST_AUTO_TEST_CASE(requests_that_cannot_be_answered_are_refused) {
  served s(4);
  const auto code = [&](const sample_request& request) {
    const auto reply = s.cluster.ask<sample_reply>(s.deployment, request);
    const auto read = s.stream(request, all_chunks);
    while (!read->has_ended())
      s.cluster.settle_a_little();
    BOOST_REQUIRE(read->failure.has_value());
    BOOST_TEST((read->failure->code == reply.error().code));
    BOOST_TEST(!reply.error().what.empty());
    return reply.error().code;
  };
  auto too_long = wanting(1, 4, 1);
  too_long.prompt.assign(1025, 1);
  BOOST_TEST((code(too_long) == errc::invalid_argument));
  auto too_many = wanting(1, 1022, 2);
  BOOST_TEST((code(too_many) == errc::invalid_argument));
  auto newer = wanting(1, 4, 3);
  newer.min_version = 7;
  BOOST_TEST((code(newer) == errc::busy));
  BOOST_REQUIRE(
      s.cluster.ask<sync_reply>(s.deployment, sync_request{deployment_id{"d"}, s.next_weights("w")})
          .has_value());
  auto older = wanting(1, 4, 4);
  older.max_version = 0;
  BOOST_TEST((code(older) == errc::not_found));
  auto unknown = wanting(1, 4, 5);
  unknown.adapter.value = std::string(64, 'e');
  BOOST_TEST((code(unknown) == errc::not_found));
  auto no_adapter = wanting(1, 4, 6);
  no_adapter.adapter = s.next_weights("v");
  BOOST_TEST((code(no_adapter) == errc::invalid_argument));
  BOOST_TEST(s.status().active_sequences == 0U);
  BOOST_TEST(s.status().waiting_requests == 0U);
}

}  // namespace troupe
