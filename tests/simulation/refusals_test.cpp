// What a deployment and its clients get wrong: every refusal says what happened, why and what to
// do, and leaves nothing behind.

#include <cmath>
#include <filesystem>
#include <functional>
#include <limits>

#include <boost/test/unit_test.hpp>

#include "config/limits.hpp"
#include "gpu/models/parameter_layout.hpp"
#include "storage/hf_directory.hpp"
#include "tests/simulation/served_run.hpp"
#include "tests/support/message_types.hpp"
#include "tests/support/scratch_folder.hpp"

namespace troupe {
namespace {

struct served : tests::served_run {
  explicit served(std::uint64_t seed) : served_run(seed, 1, 1) {}

  sample_request good() const {
    sample_request request;
    request.deployment = deployment_id{"d"};
    request.prompt = {1, 2, 3};
    request.params.max_tokens = 4;
    return request;
  }

  void check_untouched(std::uint64_t version) {
    const auto info =
        cluster.ask<deployment_info>(deployment, deployment_status_request{deployment_id{"d"}});
    BOOST_REQUIRE(info.has_value());
    BOOST_TEST(std::get<0>(*info).version == version);
    BOOST_TEST(std::get<0>(*info).active_sequences == 0U);
    BOOST_TEST(std::get<0>(*info).waiting_requests == 0U);
    const auto sampled = cluster.ask<sample_reply>(deployment, good());
    BOOST_REQUIRE(sampled.has_value());
    BOOST_TEST(std::get<0>(*sampled).sequences[0].last_version == version);
  }

  result<std::tuple<sync_reply>> sync(const checkpoint_id& checkpoint) {
    return cluster.ask<sync_reply>(deployment, sync_request{deployment_id{"d"}, checkpoint});
  }
};

void check_is_clear(const error& e) {
  BOOST_TEST(!e.what.empty());
  BOOST_TEST_CONTEXT(e.what) {
    BOOST_TEST(!e.cause.empty());
    BOOST_TEST(!e.action.empty());
  }
}

class zeros final : public storage::tensor_reader {
 public:
  result<void> read(std::uint32_t, std::uint64_t, std::span<float> out) override {
    std::fill(out.begin(), out.end(), 0.0F);
    return {};
  }
};

/// A directory of the tiny model with one layer more.
model_source larger_model(const std::string& folder) {
  storage::hf_export target;
  target.directory = folder + "/larger";
  target.config = storage::open_hf_directory(tests::tiny_model_directory()).value()->config();
  ++target.config.num_layers;
  target.type = dtype::f32;
  zeros values;
  BOOST_REQUIRE(storage::write_hf_directory(target, gpu::parameter_layout(target.config), values));
  return {target.directory};
}

struct bad_request {
  const char* what;
  std::function<void(sample_request&)> spoil;
  errc code;
};

const std::vector<bad_request>& bad_requests() {
  using request = sample_request&;
  constexpr auto bad = errc::invalid_argument;
  static const std::vector<bad_request> all{
      {"no prompt", [](request r) { r.prompt.clear(); }, bad},
      {"prompt beyond the context", [](request r) { r.prompt.assign(1025, 1); }, bad},
      {"answer beyond the context", [](request r) { r.params.max_tokens = 1022; }, bad},
      {"no tokens wanted", [](request r) { r.params.max_tokens = 0; }, bad},
      {"more tokens than any context",
       [](request r) { r.params.max_tokens = std::numeric_limits<std::uint32_t>::max(); }, bad},
      {"no samples", [](request r) { r.num_samples = 0; }, bad},
      {"too many samples", [](request r) { r.num_samples = limits::samples_per_request_max + 1; },
       bad},
      {"top-k of none", [](request r) { r.params.top_k = 0; }, bad},
      {"negative top-k", [](request r) { r.params.top_k = -2; }, bad},
      {"top-p of none", [](request r) { r.params.top_p = 0; }, bad},
      {"top-p above one", [](request r) { r.params.top_p = 1.5; }, bad},
      {"min-p above one", [](request r) { r.params.min_p = 1.5; }, bad},
      {"negative temperature", [](request r) { r.params.temperature = -1; }, bad},
      {"temperature that is no number", [](request r) { r.params.temperature = std::nan(""); },
       bad},
      {"too many likeliest tokens",
       [](request r) { r.params.topk_logprobs = limits::topk_logprobs_max + 1; }, bad},
      {"too many stop tokens",
       [](request r) { r.params.stop_tokens.assign(limits::stop_tokens_max + 1, 1); }, bad},
      {"a version to come", [](request r) { r.min_version = 9; }, errc::busy},
      {"a version that is gone", [](request r) { r.max_version = 0; }, errc::not_found},
      {"an unknown adapter", [](request r) { r.adapter.value = std::string(64, 'e'); },
       errc::not_found},
  };
  return all;
}

}  // namespace

BOOST_AUTO_TEST_CASE(bad_requests_are_refused_whole_and_as_streams) {
  served s(1);
  BOOST_REQUIRE(s.sync(s.next_weights("first")).has_value());
  std::uint64_t ticket = 0;
  for (const auto& [what, spoil, code] : bad_requests()) {
    BOOST_TEST_CONTEXT(what) {
      auto request = s.good();
      spoil(request);
      request.ticket = ++ticket;
      const auto whole = s.cluster.ask<sample_reply>(s.deployment, request);
      BOOST_REQUIRE(!whole);
      BOOST_TEST((whole.error().code == code));
      check_is_clear(whole.error());
      const auto stream = s.cluster.ask<done>(s.deployment, stream_sample_request{request});
      BOOST_REQUIRE(!stream);
      BOOST_TEST((stream.error() == whole.error()));
    }
  }
  s.check_untouched(1);
}

BOOST_AUTO_TEST_CASE(what_cannot_be_served_is_not_synced) {
  const tests::scratch_folder folder;
  served s(2);
  const auto first = s.next_weights("first");
  BOOST_REQUIRE(s.sync(first).has_value());
  const auto saved = std::get<checkpoint_result>(s.op(save_state_op{"state"}).output).checkpoint;
  s.cluster.add_node(node_role::trainer);
  const auto other = s.cluster.ask<run_info, actors::training_run_actor>(
      s.cluster.manager(), create_run_request{"other", larger_model(folder.path()), 1, 1, 0});
  BOOST_REQUIRE(other.has_value());
  const auto published = s.cluster.ask<op_reply>(
      std::get<1>(*other), op_request{run_id{"other"}, 1, 1, save_weights_op{"theirs"}, ""});
  BOOST_REQUIRE(published.has_value());
  const auto theirs = std::get<checkpoint_result>(std::get<0>(*published).output).checkpoint;
  const std::vector<std::pair<checkpoint_id, errc>> wrong{
      {checkpoint_id{std::string(64, 'a')}, errc::not_found},
      {saved, errc::invalid_argument},
      {theirs, errc::invalid_argument},
  };
  for (const auto& [checkpoint, code] : wrong) {
    const auto refused = s.sync(checkpoint);
    BOOST_REQUIRE(!refused);
    BOOST_TEST((refused.error().code == code));
    check_is_clear(refused.error());
    s.check_untouched(1);
  }
  // A chain that fits another model only is not doubted: its run publishes its next delta.
  const auto plan = s.cluster.ask<publish_plan>(s.cluster.store(), plan_publish_request{theirs});
  BOOST_REQUIRE(plan.has_value());
  BOOST_TEST((std::get<0>(*plan).advice == publish_advice::delta));
  const auto next = s.sync(s.next_weights("next"));
  BOOST_REQUIRE(next.has_value());
  BOOST_TEST(std::get<0>(*next).was_delta);
}

BOOST_AUTO_TEST_CASE(a_deployment_without_weights_is_not_made) {
  namespace fs = std::filesystem;
  const tests::scratch_folder folder;
  served s(3);
  s.cluster.add_node(node_role::sampler);
  const auto refused = [&](const std::string& directory, errc code) {
    const auto made = s.cluster.ask<deployment_info, actors::deployment_actor>(
        s.cluster.manager(), create_deployment_request{"new", {directory}, 1});
    BOOST_REQUIRE(!made);
    BOOST_TEST((made.error().code == code), to_string(made.error()));
    check_is_clear(made.error());
  };
  refused(folder.path() + "/nowhere", errc::not_found);
  const std::string model = folder.path() + "/model";
  fs::copy(tests::tiny_model_directory(), model);
  fs::rename(model + "/model.safetensors", folder.path() + "/kept");
  refused(model, errc::not_found);
  fs::copy_file(folder.path() + "/kept", model + "/model.safetensors");
  fs::resize_file(model + "/model.safetensors", 100);
  refused(model, errc::bad_model);
  fs::remove(model + "/model.safetensors");
  fs::rename(folder.path() + "/kept", model + "/model.safetensors");
  const auto made = s.cluster.ask<deployment_info, actors::deployment_actor>(
      s.cluster.manager(), create_deployment_request{"new", {model}, 1});
  BOOST_REQUIRE(made.has_value());
  s.check_untouched(0);
}

BOOST_AUTO_TEST_CASE(a_base_without_its_files_is_named) {
  served s(4);
  const auto base = s.next_weights("base");
  const auto chain = s.cluster.ask<checkpoint_list>(
      s.cluster.store(), checkpoint_chain_request{base, chain_form::complete});
  BOOST_REQUIRE(chain.has_value());
  BOOST_REQUIRE(
      s.cluster.blobs().remove(std::get<0>(*chain).records[0].manifest.files.front().blob));
  const auto refused = s.sync(base);
  BOOST_REQUIRE(!refused);
  check_is_clear(refused.error());
  s.check_untouched(0);
}

}  // namespace troupe
