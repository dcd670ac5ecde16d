// A cluster of real processes: training over the wire, a killed rank, refusals that people see.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <set>
#include <string>
#include <thread>
#include <utility>

#include <boost/test/unit_test.hpp>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "apps/client/service_client.hpp"
#include "apps/support/cluster_endpoint.hpp"
#include "apps/troupe/launcher.hpp"
#include "config/deadlines.hpp"

using namespace troupe;
using namespace troupe::apps;

namespace {

int run_program(const std::string& words) {
  const int status =
      ::system((std::string(TROUPE_PROGRAM) + " " + words + " > /dev/null 2>&1").c_str());
  return WEXITSTATUS(status);
}

std::string text_of(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

template <class T>
std::string reason_of(const result<T>& outcome) {
  return outcome ? std::string() : to_string(outcome.error());
}

std::vector<datum> small_batch() {
  datum row;
  row.tokens = {'a', 'b', 'c'};
  row.target_tokens = {'b', 'c', 'd'};
  row.weights = {1, 1, 1};
  datum other = row;
  other.tokens = {'x', 'y', 'z'};
  return {row, other, row, other};
}

/// Folder, model and a running cluster of two trainers and one sampler.
struct live_cluster {
  std::string folder = "/tmp/troupe-process-XXXXXX";
  std::unique_ptr<launcher> processes;
  std::thread watcher;

  live_cluster() {
    BOOST_REQUIRE(::mkdtemp(folder.data()) != nullptr);
    BOOST_REQUIRE(run_program("model create --hidden 32 --layers 2 " + folder + "/model") == 0);
    config::cluster_config cluster;
    cluster.name = "process";
    processes = std::make_unique<launcher>(
        plan_cluster(cluster, folder + "/data", TROUPE_NODE_PROGRAM), [](const std::string&) {});
    const auto started = processes->start();
    BOOST_REQUIRE_MESSAGE(started.has_value(), reason_of(started));
    watcher = std::thread([this] { processes->run(); });
  }

  ~live_cluster() {
    processes->request_stop();
    if (watcher.joinable()) watcher.join();
    processes->stop();
    std::filesystem::remove_all(folder);
  }

  [[nodiscard]] client::service_client connect() const {
    const auto endpoint = read_cluster_endpoint(folder + "/data");
    BOOST_REQUIRE(endpoint.has_value());
    auto service = client::service_client::connect(*endpoint);
    BOOST_REQUIRE(service.has_value());
    return *service;
  }

  [[nodiscard]] create_run_request request(const std::string& name) const {
    create_run_request out;
    out.name = name;
    out.model.directory = folder + "/model";
    out.world_size = 2;
    return out;
  }
};

std::string train(client::training_client& training, int steps) {
  std::string digest;
  for (int i = 0; i < steps; ++i) {
    const auto passed =
        training.forward_backward(small_batch(), loss_fn::cross_entropy, {}).get(deadlines::op);
    BOOST_REQUIRE_MESSAGE(passed.has_value(), reason_of(passed));
    const auto stepped = training.optim_step({}, "").get(deadlines::op);
    BOOST_REQUIRE_MESSAGE(stepped.has_value(), reason_of(stepped));
    digest = to_hex(stepped->weights);
  }
  return digest;
}

void kill_a_rank(client::service_client& service) {
  const auto now = service.status();
  BOOST_REQUIRE(now.has_value());
  for (const node_status& node : now->nodes) {
    if (node.hosting.empty()) continue;
    ::kill(static_cast<pid_t>(node.process_id), SIGKILL);
    return;
  }
  BOOST_FAIL("no node hosts a rank");
}

std::string digest_of_ten_steps(bool is_killed, const std::optional<lora_config>& lora = {}) {
  const live_cluster cluster;
  auto service = cluster.connect();
  auto request = cluster.request("run");
  request.lora = lora;
  auto training = service.create_training_run(request);
  BOOST_REQUIRE_MESSAGE(training.has_value(), reason_of(training));
  train(*training, 5);
  if (is_killed) kill_a_rank(service);
  const std::string digest = train(*training, 5);
  const auto events = training->events(0);
  BOOST_REQUIRE(events.has_value());
  const bool has_resumed = std::any_of(events->begin(), events->end(), [](const run_event& e) {
    return e.kind == run_event_kind::resumed && e.bit_exact;
  });
  BOOST_TEST(has_resumed == is_killed);
  return digest;
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_killed_rank_changes_nothing) {
  BOOST_TEST(digest_of_ten_steps(true) == digest_of_ten_steps(false));
}

BOOST_AUTO_TEST_CASE(a_killed_rank_changes_no_adapter) {
  const lora_config lora{.rank = 4, .alpha = 8, .seed = 5, .train_unembed = false};
  const std::string undisturbed = digest_of_ten_steps(false, lora);
  BOOST_TEST(digest_of_ten_steps(true, lora) == undisturbed);
  BOOST_TEST(undisturbed != digest_of_ten_steps(false));
}

/// d(loss)/d(logprob) of a loss that grows with its number.
client::custom_loss_value some_loss(const std::vector<std::vector<float>>& logprobs, int number) {
  client::custom_loss_value value;
  for (const auto& of_datum : logprobs) {
    value.gradients.emplace_back();
    for (const float logprob : of_datum)
      value.gradients.back().push_back(logprob * static_cast<float>(number));
  }
  return value;
}

/// Whether the cluster has done `count` operations of a run, within a while.
bool has_done(client::service_client& service, const run_id& run, std::uint64_t count) {
  const auto limit = std::chrono::steady_clock::now() + deadlines::op;
  while (std::chrono::steady_clock::now() < limit) {
    const auto now = service.status();
    if (!now) return false;
    for (const run_info& info : now->runs)
      if (info.run == run && info.committed_seq_id >= count) return true;
  }
  return false;
}

BOOST_FIXTURE_TEST_CASE(a_forward_runs_while_a_loss_is_computed, live_cluster) {
  auto service = connect();
  auto watching = connect();
  const auto digest_after = [&](client::training_client& training) {
    const auto stepped = training.optim_step({}, "").get(deadlines::op);
    BOOST_REQUIRE_MESSAGE(stepped.has_value(), reason_of(stepped));
    return to_hex(stepped->weights);
  };
  auto overlapping = service.create_training_run(request("overlapping"));
  BOOST_REQUIRE_MESSAGE(overlapping.has_value(), reason_of(overlapping));
  const run_id run = overlapping->info().run;
  std::atomic<int> num_met = 0;
  std::vector<client::future<client::custom_loss_result>> passes;
  for (int pass = 1; pass <= 4; ++pass)
    passes.push_back(overlapping->forward_backward_custom(
        small_batch(), [&, pass](const auto& logprobs) -> result<client::custom_loss_value> {
          // Of forward 1, forward 2, backward 1, backward 2, forward 3, ... one more than answered.
          constexpr std::uint64_t done[] = {2, 3, 6, 7};
          if (has_done(watching, run, done[pass - 1])) ++num_met;
          return some_loss(logprobs, pass);
        }));
  for (const auto& pass : passes)
    BOOST_TEST(pass.get(deadlines::op).has_value());
  BOOST_TEST(num_met == 4);
  const std::string digest = digest_after(*overlapping);
  BOOST_REQUIRE(overlapping->park().has_value());

  auto waiting = service.create_training_run(request("waiting"));
  BOOST_REQUIRE_MESSAGE(waiting.has_value(), reason_of(waiting));
  for (int pass = 1; pass <= 4; ++pass) {
    const auto kept = waiting->forward_kept(small_batch()).get(deadlines::op);
    BOOST_REQUIRE_MESSAGE(kept.has_value(), reason_of(kept));
    const auto gradients = some_loss(kept->output.logprobs, pass).gradients;
    BOOST_REQUIRE(waiting->backward(kept->handle, gradients).get(deadlines::op).has_value());
    const auto again = waiting->backward(kept->handle, gradients).get(deadlines::op);
    BOOST_TEST((again.error().code == errc::not_found));
  }
  BOOST_TEST(digest_after(*waiting) == digest);
}

BOOST_AUTO_TEST_CASE(a_killed_rank_keeps_the_targets_that_were_named) {
  using enum lora_target;
  lora_config lora{.rank = 4, .alpha = 8, .seed = 5, .train_unembed = false};
  const std::string on_all = digest_of_ten_steps(false, lora);
  lora.targets = {v_proj, down_proj};
  const std::string undisturbed = digest_of_ten_steps(false, lora);
  BOOST_TEST(digest_of_ten_steps(true, lora) == undisturbed);
  BOOST_TEST(undisturbed != on_all);
}

BOOST_FIXTURE_TEST_CASE(named_targets_survive_the_store, live_cluster) {
  using enum lora_target;
  auto service = connect();
  auto wanted = request("chosen");
  wanted.lora = lora_config{.rank = 4, .targets = std::set{q_proj, up_proj}};
  auto training = service.create_training_run(wanted);
  BOOST_REQUIRE_MESSAGE(training.has_value(), reason_of(training));
  train(*training, 2);
  const auto saved = training->save_state("adapters").get(deadlines::op);
  BOOST_REQUIRE_MESSAGE(saved.has_value(), reason_of(saved));
  const std::string trained = train(*training, 1);
  const auto loaded =
      training->load_state(saved->checkpoint, optimizer_state::restore).get(deadlines::op);
  BOOST_REQUIRE_MESSAGE(loaded.has_value(), reason_of(loaded));
  BOOST_TEST(train(*training, 1) == trained);
  const std::string target = folder + "/exported";
  BOOST_TEST(run_program("checkpoint export " + saved->checkpoint.value + " " + target +
                         " --data-folder " + folder + "/data") == 0);
  const auto config = text_of(target + "/adapter_config.json");
  const std::size_t modules = config.find("\"target_modules\"");
  BOOST_REQUIRE(modules != std::string::npos);
  const std::string listed = config.substr(modules, config.find(']', modules) - modules);
  for (const lora_target each : {q_proj, k_proj, v_proj, o_proj, gate_proj, up_proj, down_proj}) {
    const bool is_listed = listed.find(std::string(to_string(each))) != std::string::npos;
    BOOST_TEST(is_listed == wanted.lora->targets->contains(each));
  }

  // Adapters of other targets are another state.
  BOOST_REQUIRE(training->park().has_value());
  wanted.name = "others";
  wanted.lora->targets = {q_proj, up_proj, down_proj};
  auto others = service.create_training_run(wanted);
  BOOST_REQUIRE_MESSAGE(others.has_value(), reason_of(others));
  const auto refused =
      others->load_state(saved->checkpoint, optimizer_state::restore).get(deadlines::op);
  BOOST_TEST((refused.error().code == errc::invalid_argument), reason_of(refused));

  wanted.name = "refused";
  wanted.lora->train_mlp = false;
  const auto contradictory = service.create_training_run(wanted);
  BOOST_REQUIRE(!contradictory.has_value());
  BOOST_TEST(contradictory.error().what.find("up_proj contradicts train_mlp") != std::string::npos);
}

BOOST_FIXTURE_TEST_CASE(what_no_cluster_can_read_is_refused_at_once, live_cluster) {
  auto service = connect();
  const auto refusal = [](const auto& outcome) {
    BOOST_REQUIRE(!outcome.has_value());
    return outcome.error().what;
  };
  auto wanted = request("refused");
  wanted.lora = lora_config{.rank = 2000};
  BOOST_TEST(refusal(service.create_training_run(wanted)).find("lora.rank") != std::string::npos);
  wanted.lora = lora_config{.rank = 4, .targets = std::set<lora_target>{}};
  BOOST_TEST(refusal(service.create_training_run(wanted)).find("lora.targets") !=
             std::string::npos);
  const auto unnamed = service.create_deployment({"no name", wanted.model, 1});
  BOOST_TEST(refusal(unnamed).find("deployment") != std::string::npos);
}

BOOST_FIXTURE_TEST_CASE(adapters_are_saved_published_and_exported, live_cluster) {
  auto service = connect();
  auto wanted = request("adapters");
  wanted.lora = lora_config{.rank = 4, .train_unembed = false};
  auto training = service.create_training_run(wanted);
  BOOST_REQUIRE_MESSAGE(training.has_value(), reason_of(training));
  train(*training, 2);
  const auto saved = training->save_state("adapters").get(deadlines::op);
  BOOST_REQUIRE_MESSAGE(saved.has_value(), reason_of(saved));
  const auto published =
      training->save_weights_for_sampler("merged", publish_kind::base).get(deadlines::op);
  BOOST_REQUIRE_MESSAGE(published.has_value(), reason_of(published));
  // Adapters alone, without their optimizer's moments.
  BOOST_TEST(published->bytes < saved->bytes);
  for (const auto& [checkpoint, file] : {std::pair{saved->checkpoint.value, "adapter_config.json"},
                                         std::pair{published->checkpoint.value, "config.json"}}) {
    const std::string target = folder + "/" + checkpoint.substr(0, 8);
    BOOST_TEST(run_program("checkpoint export " + checkpoint + " " + target + " --data-folder " +
                           folder + "/data") == 0);
    BOOST_TEST(std::filesystem::exists(target + "/" + file));
  }
  wanted.name = "refused";
  wanted.lora->rank = 1000;
  const auto refused = service.create_training_run(wanted);
  BOOST_REQUIRE(!refused.has_value());
  BOOST_TEST((refused.error().code == errc::invalid_argument));
}

BOOST_FIXTURE_TEST_CASE(one_deployment_serves_many_adapters, live_cluster) {
  auto service = connect();
  auto wanted = request("adapters");
  wanted.lora = lora_config{.rank = 4, .train_unembed = false};
  auto training = service.create_training_run(wanted);
  BOOST_REQUIRE_MESSAGE(training.has_value(), reason_of(training));
  auto deployment = service.create_deployment({"shared", wanted.model, 1});
  BOOST_REQUIRE_MESSAGE(deployment.has_value(), reason_of(deployment));
  const auto publish = [&](int steps) {
    for (int i = 0; i < steps; ++i) {
      (void)training->forward_backward(small_batch(), loss_fn::cross_entropy, {});
      const auto done = training->optim_step({.learning_rate = 0.05}, "").get(deadlines::op);
      BOOST_REQUIRE_MESSAGE(done.has_value(), reason_of(done));
    }
    const auto made =
        training->save_weights_for_sampler("", publish_kind::automatic).get(deadlines::op);
    BOOST_REQUIRE_MESSAGE(made.has_value(), reason_of(made));
    return made->checkpoint;
  };
  const checkpoint_id first = publish(3);
  const checkpoint_id second = publish(3);
  const auto ask_for = [](const checkpoint_id& adapter) {
    sample_request out;
    out.prompt = {'a', 'b'};
    out.params.max_tokens = 24;
    out.params.temperature = 0;
    out.adapter = adapter;
    return out;
  };
  std::vector<client::open_sample> open;
  for (const checkpoint_id& adapter : {first, second, checkpoint_id{}})
    open.push_back(deployment->begin(ask_for(adapter)));
  std::vector<sampled_sequence> answers;
  for (const auto& each : open) {
    const auto reply = each.answer().get(deadlines::sample);
    BOOST_REQUIRE_MESSAGE(reply.has_value(), reason_of(reply));
    answers.push_back(reply->sequences.front());
  }
  BOOST_TEST((answers[0].logprobs != answers[1].logprobs));
  BOOST_TEST((answers[0].logprobs != answers[2].logprobs));
  // Deployed for all, an adapter is the same as asked for; others still stand on the same base.
  const auto synced = deployment->sync(first).get(deadlines::sync);
  BOOST_REQUIRE_MESSAGE(synced.has_value(), reason_of(synced));
  BOOST_TEST(synced->logprob_gap_max < 0.05);
  const auto again = deployment->begin(ask_for({})).answer().get(deadlines::sample);
  BOOST_REQUIRE_MESSAGE(again.has_value(), reason_of(again));
  BOOST_TEST((again->sequences.front().tokens == answers[0].tokens));
  BOOST_TEST((again->sequences.front().logprobs == answers[0].logprobs));
  BOOST_TEST(again->sequences.front().last_version == 1U);
  auto stream = deployment->stream(ask_for(second));
  BOOST_REQUIRE_MESSAGE(stream.has_value(), reason_of(stream));
  std::vector<token_id> streamed;
  while (!stream->is_over()) {
    const auto chunk = stream->next();
    BOOST_REQUIRE_MESSAGE(chunk.has_value(), reason_of(chunk));
    const auto& part = chunk->part.sequences.front().tokens;
    streamed.insert(streamed.end(), part.begin(), part.end());
  }
  BOOST_TEST(streamed == answers[1].tokens, boost::test_tools::per_element());
  auto impossible = ask_for({});
  impossible.params.top_k = 0;
  const auto refused = deployment->begin(impossible).answer().get(deadlines::control);
  BOOST_TEST((refused.error().code == errc::invalid_argument));
  impossible = ask_for({});
  impossible.num_samples = 0;
  BOOST_TEST((deployment->stream(impossible).error().code == errc::invalid_argument));
}

BOOST_AUTO_TEST_CASE(wrong_use_is_refused_with_its_exit_status) {
  BOOST_TEST(run_program("nonsense") == 2);
  BOOST_TEST(run_program("status --data-folder /nonexistent") == 1);
  BOOST_TEST(run_program("model create") == 2);
}

BOOST_FIXTURE_TEST_CASE(a_second_cluster_on_the_folder_is_refused, live_cluster) {
  config::cluster_config cluster;
  cluster.name = "process";
  launcher second(plan_cluster(cluster, folder + "/data", TROUPE_NODE_PROGRAM),
                  [](const std::string&) {});
  const auto started = second.start();
  BOOST_REQUIRE(!started.has_value());
  BOOST_TEST(started.error().what.find("in use") != std::string::npos);
  BOOST_TEST(connect().status().has_value());
}
