#include <algorithm>
#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include <boost/test/unit_test.hpp>

#include "config/limits.hpp"
#include "messages/journal.hpp"
#include "messages/sampling.hpp"
#include "messages/shard.hpp"
#include "messages/status.hpp"
#include "messages/weight_sync.hpp"
#include "messages/wire/codec.hpp"
#include "tests/unit/messages/samples.hpp"

// Each documented bound, one step beyond it: the message is refused, and the error names the field.

using namespace troupe;

namespace {

constexpr float nan_float = std::numeric_limits<float>::quiet_NaN();
constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double nan_double = std::numeric_limits<double>::quiet_NaN();

template <class T>
void refuses(std::uint64_t seed, errc code, std::string_view field,
             const std::function<void(T&)>& spoil) {
  T value = test::sample<T>(seed);
  spoil(value);
  const auto frame = wire::encode(value);
  BOOST_TEST_REQUIRE(frame.has_value());
  const auto decoded = wire::decode<T>(frame->words());
  BOOST_TEST_REQUIRE(!decoded.has_value(), field << " out of bounds was accepted");
  BOOST_TEST((decoded.error().code == code), to_string(decoded.error()));
  BOOST_TEST(decoded.error().what.find(field) != std::string::npos, to_string(decoded.error()));
  BOOST_TEST(!decoded.error().action.empty());
}

template <class Op>
void refuses_op(std::uint64_t seed, errc code, std::string_view field,
                const std::function<void(Op&)>& spoil) {
  refuses<op_request>(seed, code, field, [&](op_request& op) { spoil(std::get<Op>(op.body)); });
}

template <class T>
void encode_refuses(T value, errc code, std::string_view field) {
  const auto frame = wire::encode(value);
  BOOST_TEST_REQUIRE(!frame.has_value());
  BOOST_TEST((frame.error().code == code), to_string(frame.error()));
  BOOST_TEST(frame.error().what.find(field) != std::string::npos, to_string(frame.error()));
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_datum_has_one_length) {
  const auto spoil = [](std::string_view field, const std::function<void(datum&)>& change) {
    refuses_op<forward_backward_op>(1, errc::invalid_argument, field,
                                    [&](forward_backward_op& op) { change(op.batch[0]); });
  };
  spoil("target_tokens", [](datum& d) { d.target_tokens.push_back(1); });
  spoil("weights", [](datum& d) { d.weights.assign(d.tokens.size() + 1, 1.0F); });
  spoil("logprobs", [](datum& d) {
    d.logprobs.pop_back(), d.logprobs.push_back(0.0F), d.logprobs.push_back(0.0F);
  });
  spoil("advantages", [](datum& d) { d.advantages.push_back(0.0F); });
  spoil("target_tokens", [](datum& d) {
    d.target_tokens.assign(d.tokens.size() * (limits::targets_per_position_max + 1), 1);
  });
  spoil("target_tokens", [](datum& d) { d.target_tokens.clear(); });
  spoil("tokens", [](datum& d) { d = datum{}; });
  spoil("tokens", [](datum& d) { d.tokens[0] = -1; });
  spoil("target_tokens", [](datum& d) { d.target_tokens[0] = -1; });
}

BOOST_AUTO_TEST_CASE(a_position_may_have_several_targets) {
  datum several;
  several.tokens = {3, 4};
  several.target_tokens = {4, 5, 6, 7, 8, 9};
  several.weights.assign(6, 0.5F);
  op_request request = test::sample<op_request>(1);
  request.body = forward_backward_op{{several}, loss_fn::cross_entropy, {}};
  const auto encoded = wire::encode(request);
  BOOST_REQUIRE(encoded.has_value());
  BOOST_TEST((wire::decode<op_request>(encoded->words()).value() == request));
  several.weights.pop_back();
  request.body = forward_backward_op{{several}, loss_fn::cross_entropy, {}};
  BOOST_TEST((wire::validate(request).error().code == errc::invalid_argument));
  // The op itself would fit, with its reply it would not.
  several.tokens.assign(4000, 3);
  several.target_tokens.assign(several.tokens.size() * 60, 4);
  several.weights.clear();
  request.body = forward_op{std::vector<datum>(3, several)};
  BOOST_TEST((wire::validate(request).error().code == errc::invalid_argument));
  request.body = forward_op{std::vector<datum>(2, several)};
  BOOST_TEST(wire::validate(request).has_value());
}

BOOST_AUTO_TEST_CASE(details_of_a_forward_fit_into_its_reply) {
  datum one;
  one.tokens.assign(7990, 3);
  one.target_tokens.assign(7990, 4);
  op_request request = test::sample<op_request>(1);
  const auto asks = [&](const forward_details& details) {
    request.body = forward_op{{one}, retention::discard, details};
    return wire::validate(request);
  };
  BOOST_TEST(asks({40, true, embedding_kind::mean}).has_value());
  BOOST_TEST((asks({41, true, embedding_kind::mean}).error().code == errc::invalid_argument));
  refuses_op<forward_op>(0, errc::invalid_argument, "topk_logprobs", [](forward_op& op) {
    op.details.topk_logprobs = limits::topk_logprobs_max + 1;
  });
  refuses<op_reply>(0, errc::not_finite, "entropies", [](op_reply& reply) {
    std::get<forward_result>(reply.output).details[0].entropies[0] = nan_float;
  });
  refuses<op_reply>(0, errc::not_finite, "embedding", [](op_reply& reply) {
    std::get<forward_result>(reply.output).details[0].embedding[0] = nan_float;
  });
}

BOOST_AUTO_TEST_CASE(training_data_is_finite) {
  const auto spoil = [](std::string_view field, const std::function<void(datum&)>& change) {
    refuses_op<forward_backward_op>(1, errc::not_finite, field,
                                    [&](forward_backward_op& op) { change(op.batch[0]); });
  };
  spoil("weights", [](datum& d) { d.weights.assign(d.tokens.size(), nan_float); });
  spoil("logprobs", [](datum& d) { d.logprobs[0] = -std::numeric_limits<float>::infinity(); });
  spoil("advantages", [](datum& d) { d.advantages[0] = nan_float; });
  refuses_op<backward_op>(2, errc::not_finite, "logprob_gradients",
                          [](backward_op& op) { op.logprob_gradients[1][0] = nan_float; });
  refuses<op_reply>(0, errc::not_finite, "logprobs", [](op_reply& reply) {
    std::get<forward_result>(reply.output).logprobs[0][0] = nan_float;
  });
  refuses<sample_reply>(0, errc::not_finite, "logprobs", [](sample_reply& reply) {
    reply.sequences[0].tokens = {1};
    reply.sequences[0].logprobs = {nan_float};
  });
  refuses<shard_work_reply>(0, errc::not_finite, "logprobs",
                            [](shard_work_reply& reply) { reply.logprobs[0][0] = nan_float; });
}

BOOST_AUTO_TEST_CASE(an_op_has_its_data_and_its_number) {
  refuses_op<forward_op>(0, errc::invalid_argument, "batch",
                         [](forward_op& op) { op.batch.clear(); });
  refuses_op<forward_backward_op>(1, errc::invalid_argument, "batch",
                                  [](forward_backward_op& op) { op.batch.clear(); });
  refuses_op<forward_backward_op>(1, errc::invalid_argument, "loss_fn_config.clip",
                                  [](forward_backward_op& op) {
                                    op.config.assign(1, {"clip", nan_double});
                                  });
  refuses_op<backward_op>(2, errc::invalid_argument, "logprob_gradients",
                          [](backward_op& op) { op.logprob_gradients.clear(); });
  refuses_op<backward_op>(2, errc::invalid_argument, "forward_seq_id",
                          [](backward_op& op) { op.forward_seq_id = 0; });
  refuses<op_request>(1, errc::invalid_argument, "seq_id", [](op_request& op) { op.seq_id = 0; });
  refuses<op_request>(1, errc::invalid_argument, "op.run",
                      [](op_request& op) { op.run.value.clear(); });
  refuses<op_request>(1, errc::invalid_argument, "op.cursor",
                      [](op_request& op) { op.cursor.assign(limits::cursor_bytes_max + 1, 'c'); });
  refuses<append_op_request>(1, errc::invalid_argument, "batch", [](append_op_request& request) {
    std::get<forward_backward_op>(request.op.body).batch.clear();
  });
}

BOOST_AUTO_TEST_CASE(a_logged_op_may_have_lost_its_data) {
  logged_op op = test::sample<logged_op>(0);
  std::get<forward_op>(op.op.body).batch.clear();
  const auto decoded = wire::decode<logged_op>(wire::encode(op)->words());
  BOOST_TEST_REQUIRE(decoded.has_value());
  BOOST_TEST((*decoded == op));
}

BOOST_AUTO_TEST_CASE(a_pending_op_has_no_outcome) {
  logged_op op = test::sample<logged_op>(0);
  op.finished = false;
  op.outcome = op_reply{};
  const auto decoded = wire::decode<logged_op>(wire::encode(op)->words());
  BOOST_TEST_REQUIRE(decoded.has_value());
  BOOST_TEST((*decoded == op));
}

BOOST_AUTO_TEST_CASE(optimizer_settings_make_sense) {
  const auto spoil = [](std::string_view field, const std::function<void(adam_params&)>& change) {
    refuses_op<optim_step_op>(3, errc::invalid_argument, field,
                              [&](optim_step_op& op) { change(op.adam); });
  };
  spoil("learning_rate", [](adam_params& p) { p.learning_rate = infinity; });
  spoil("learning_rate", [](adam_params& p) { p.learning_rate = -1.0; });
  spoil("beta1", [](adam_params& p) { p.beta1 = 1.0; });
  spoil("beta1", [](adam_params& p) { p.beta1 = -0.1; });
  spoil("beta2", [](adam_params& p) { p.beta2 = nan_double; });
  spoil("eps", [](adam_params& p) { p.eps = -1e-9; });
  spoil("weight_decay", [](adam_params& p) { p.weight_decay = nan_double; });
  spoil("grad_clip_norm", [](adam_params& p) { p.grad_clip_norm = -1.0; });
}

BOOST_AUTO_TEST_CASE(sampling_settings_make_sense) {
  const auto spoil = [](std::string_view field,
                        const std::function<void(sample_request&)>& change) {
    refuses<sample_request>(0, errc::invalid_argument, field, change);
  };
  spoil("temperature", [](sample_request& r) { r.params.temperature = -0.5; });
  spoil("temperature", [](sample_request& r) { r.params.temperature = infinity; });
  spoil("top_p", [](sample_request& r) { r.params.top_p = 0.0; });
  spoil("top_p", [](sample_request& r) { r.params.top_p = 1.01; });
  spoil("top_p", [](sample_request& r) { r.params.top_p = nan_double; });
  spoil("top_k", [](sample_request& r) { r.params.top_k = 0; });
  spoil("max_tokens", [](sample_request& r) { r.params.max_tokens = 0; });
  spoil("max_tokens",
        [](sample_request& r) { r.params.max_tokens = limits::sample_tokens_max + 1; });
  spoil("num_samples", [](sample_request& r) { r.num_samples = 0; });
  spoil("num_samples",
        [](sample_request& r) { r.num_samples = limits::samples_per_request_max + 1; });
  spoil("prompt", [](sample_request& r) { r.prompt.clear(); });
  spoil("prompt", [](sample_request& r) { r.prompt[0] = -7; });
  spoil("stop_tokens", [](sample_request& r) { r.params.stop_tokens[0] = -7; });
  spoil("deployment", [](sample_request& r) { r.deployment.value = "a b"; });
  refuses<sample_reply>(0, errc::invalid_argument, "logprobs",
                        [](sample_reply& reply) { reply.sequences[0].logprobs.push_back(0.0F); });
}

BOOST_AUTO_TEST_CASE(names_digests_and_paths_are_what_they_say) {
  refuses<attach_run_request>(0, errc::invalid_argument, "run",
                              [](attach_run_request& r) { r.run.value = ".."; });
  refuses<attach_run_request>(0, errc::invalid_argument, "run",
                              [](attach_run_request& r) { r.run.value.assign(129, 'x'); });
  refuses<sync_request>(0, errc::invalid_argument, "checkpoint",
                        [](sync_request& r) { r.checkpoint.value.pop_back(); });
  refuses<sync_request>(0, errc::invalid_argument, "checkpoint",
                        [](sync_request& r) { r.checkpoint.value[5] = 'A'; });
  refuses<get_checkpoint_request>(0, errc::invalid_argument, "checkpoint",
                                  [](get_checkpoint_request& r) { r.checkpoint.value = "12345"; });
  refuses<create_run_request>(0, errc::invalid_argument, "model.directory",
                              [](create_run_request& r) { r.model.directory = "models/x"; });
  refuses<renew_lease_request>(0, errc::invalid_argument, "node",
                               [](renew_lease_request& r) { r.node.value = "host:1"; });
}

/// The frame of a run whose adapters stand on v, o, gate and up, with `list` for that list: four
/// numbers of 16 bits, the first one lowest.
result<create_run_request> with_targets(std::uint64_t list) {
  constexpr std::uint64_t ascending = 0x0005'0004'0003'0002;
  auto request = test::sample<create_run_request>(0);
  request.lora->targets = {lora_target::v_proj, lora_target::o_proj, lora_target::gate_proj,
                           lora_target::up_proj};
  const auto frame = wire::encode(request);
  BOOST_REQUIRE(frame.has_value());
  std::vector<std::uint64_t> words(frame->words().begin(), frame->words().end());
  BOOST_REQUIRE(std::ranges::count(words, ascending) == 1);
  *std::ranges::find(words, ascending) = list;
  return wire::decode<create_run_request>(words);
}

BOOST_AUTO_TEST_CASE(adapters_stand_on_each_target_once) {
  BOOST_TEST(with_targets(0x0005'0004'0003'0002).has_value());
  for (const std::uint64_t list : {0x0004'0005'0003'0002U, 0x0005'0003'0003'0002U}) {
    const auto refused = with_targets(list);
    BOOST_REQUIRE(!refused.has_value());
    BOOST_TEST((refused.error().code == errc::invalid_argument));
    BOOST_TEST(refused.error().what.find("lora.targets") != std::string::npos);
  }
  auto request = test::sample<create_run_request>(0);
  request.lora->targets.reset();
  const auto frame = wire::encode(request);
  BOOST_REQUIRE(frame.has_value());
  BOOST_TEST((wire::decode<create_run_request>(frame->words()) == request));
}

BOOST_AUTO_TEST_CASE(ranks_and_sizes_fit) {
  refuses<close_shard_request>(0, errc::invalid_argument, "identity.rank",
                               [](close_shard_request& r) { r.identity.rank = 64; });
  refuses<create_run_request>(0, errc::invalid_argument, "world_size",
                              [](create_run_request& r) { r.world_size = 65; });
  refuses<create_run_request>(0, errc::invalid_argument, "world_size",
                              [](create_run_request& r) { r.world_size = 0; });
  refuses<create_run_request>(0, errc::invalid_argument, "shard_size", [](create_run_request& r) {
    r.world_size = 4;
    r.shard_size = 3;
  });
  refuses<create_run_request>(0, errc::invalid_argument, "lora.rank",
                              [](create_run_request& r) { r.lora->rank = 0; });
  refuses<create_run_request>(0, errc::invalid_argument, "lora.rank",
                              [](create_run_request& r) { r.lora->rank = 1025; });
  refuses<create_run_request>(0, errc::invalid_argument, "lora.alpha",
                              [](create_run_request& r) { r.lora->alpha = 0; });
  refuses<create_run_request>(0, errc::invalid_argument, "lora.targets",
                              [](create_run_request& r) { r.lora->targets.emplace(); });
  refuses<create_run_request>(0, errc::protocol, "lora.targets", [](create_run_request& r) {
    r.lora->targets = {lora_target::q_proj, static_cast<lora_target>(8)};
  });
  refuses<start_shard_request>(0, errc::invalid_argument, "comm_addresses",
                               [](start_shard_request& r) { r.comm_addresses.pop_back(); });
  refuses<checkpoint_manifest>(0, errc::invalid_argument, "manifest.depth",
                               [](checkpoint_manifest& m) { m.depth = 33; });
  refuses<checkpoint_manifest>(0, errc::invalid_argument, "model.vocab_size",
                               [](checkpoint_manifest& m) { m.model.vocab_size = 0xffffffff; });
  refuses<checkpoint_list>(0, errc::invalid_argument, "records[1]: manifest.files[0]: file.rank",
                           [](checkpoint_list& l) { l.records[1].manifest.files[0].rank = 64; });
  refuses<read_log_request>(0, errc::invalid_argument, "max_ops",
                            [](read_log_request& r) { r.max_ops = 0; });
}

BOOST_AUTO_TEST_CASE(a_sender_hears_what_its_receiver_would_say) {
  op_request op = test::sample<op_request>(1);
  BOOST_TEST(wire::validate(op).has_value());
  std::get<forward_backward_op>(op.body).batch[0].advantages[0] = nan_float;
  const auto verdict = wire::validate(op);
  BOOST_TEST_REQUIRE(!verdict.has_value());
  BOOST_TEST((verdict.error().code == errc::not_finite));
  BOOST_TEST(verdict.error().what == "batch[0]: advantages holds a NaN or an infinite number");
}

BOOST_AUTO_TEST_CASE(unknown_enumerators_are_refused) {
  refuses<run_info>(0, errc::protocol, "run.phase",
                    [](run_info& info) { info.phase = static_cast<run_phase>(9); });
  refuses<error>(0, errc::protocol, "error.code", [](error& e) { e.code = static_cast<errc>(99); });
}

BOOST_AUTO_TEST_CASE(a_list_over_its_limit_is_not_sent) {
  sample_request request = test::sample<sample_request>(0);
  request.params.stop_tokens.assign(limits::stop_tokens_max + 1, 1);
  encode_refuses(request, errc::invalid_argument, "stop_tokens has 257 elements");
  op_request op = test::sample<op_request>(0);
  std::get<forward_op>(op.body).batch.resize(limits::batch_datums_max + 1, {{1}, {1}, {}, {}, {}});
  encode_refuses(op, errc::invalid_argument, "batch has 1025 elements");
}

BOOST_AUTO_TEST_CASE(an_op_that_fills_a_frame_is_not_sent_and_says_how_to_split) {
  op_request op = test::sample<op_request>(0);
  const std::vector<token_id> tokens(limits::datum_tokens_max, 1);
  std::get<forward_op>(op.body).batch.assign(3, {tokens, tokens, {}, {}, {}});
  encode_refuses(op, errc::frame_too_large, "bytes");
  BOOST_TEST(wire::encode(op).error().action.find("split the batch") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(the_largest_op_and_its_reply_fit_into_the_log) {
  logged_op logged = test::sample<logged_op>(0);
  logged.op.cursor.assign(limits::cursor_bytes_max, 'c');
  auto& batch = std::get<forward_op>(logged.op.body).batch;
  const std::size_t length = limits::op_bytes_max / limits::batch_datums_max / 8 - 24;
  const std::vector<token_id> tokens(length, 1);
  batch.assign(limits::batch_datums_max, {tokens, tokens, {}, {}, {}});
  logged.outcome =
      op_reply{1, forward_result{{batch.size(), std::vector<float>(length, -1.0F)}, {}}};
  BOOST_TEST(wire::encode(logged.op).has_value());
  BOOST_TEST(wire::encode(logged).has_value());
}

BOOST_AUTO_TEST_CASE(a_long_explanation_is_cut_between_characters) {
  error e = test::sample<error>(0);
  e.what.assign(limits::error_text_bytes_max - 1, 'x');
  e.what += "\xe2\x82\xac";
  const auto decoded = wire::decode<error>(wire::encode(e)->words());
  BOOST_TEST_REQUIRE(decoded.has_value());
  BOOST_TEST(decoded->what == std::string(limits::error_text_bytes_max - 1, 'x'));
}
