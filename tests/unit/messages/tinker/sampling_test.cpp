// Sample requests in JSON and their results in protobuf.

#include <cmath>
#include <cstring>

#include <boost/test/unit_test.hpp>

#include "messages/tinker/detail_tensors.hpp"
#include "messages/tinker/json_fields.hpp"
#include "messages/tinker/sample_call.hpp"
#include "messages/tinker/sample_output.hpp"
#include "messages/tinker/tinker_public.pb.h"

using namespace troupe;
using namespace troupe::tinker;

namespace {

sample_call decode(const std::string& params, const std::string& more = "") {
  const auto object = parse_object(
      R"({"sampling_session_id":"s:sample:0","seq_id":4,"num_samples":2,"prompt":{"chunks":[)"
      R"({"type":"encoded_text","tokens":[1,2]},{"type":"encoded_text","tokens":[3]}]},)"
      R"("sampling_params":)" +
      params + more + "}");
  BOOST_REQUIRE(object.has_value());
  auto call = decode_sample_call(*object);
  BOOST_REQUIRE(call.has_value());
  return std::move(*call);
}

sampled_sequence sequence(std::vector<token_id> tokens, std::vector<float> logprobs,
                          stop_reason reason) {
  sampled_sequence out;
  out.tokens = std::move(tokens);
  out.logprobs = std::move(logprobs);
  out.reason = reason;
  return out;
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_whole_request_is_read) {
  const auto call =
      decode(R"({"max_tokens":7,"seed":5,"temperature":0.5,"top_k":3,"top_p":0.9,"stop":[9]})");
  BOOST_TEST(call.seq_id == 4U);
  BOOST_TEST(call.num_samples == 2U);
  BOOST_REQUIRE(call.body.has_value());
  const sample_request& request = call.body->request;
  BOOST_TEST((request.prompt == std::vector<token_id>{1, 2, 3}));
  sampling_params wanted{7, 0.5, 3, 0.9, 5, {9}};
  BOOST_TEST((request.params == wanted));
  BOOST_TEST((call.body->stop == stop_rule::listed));
}

BOOST_AUTO_TEST_CASE(no_stop_is_the_models_end_and_an_empty_one_is_none) {
  BOOST_TEST((decode("{}").body->stop == stop_rule::end_of_text));
  BOOST_TEST((decode(R"({"stop":null})").body->stop == stop_rule::end_of_text));
  const auto none = decode(R"({"stop":[]})");
  BOOST_TEST((none.body->stop == stop_rule::listed));
  BOOST_TEST(none.body->request.params.stop_tokens.empty());
}

BOOST_AUTO_TEST_CASE(what_would_change_the_answer_is_not_ignored) {
  for (const std::string params :
       {R"({"top_p":0})", R"({"top_p":1.5})", R"({"temperature":-1})", R"({"top_k":-2})",
        R"({"max_tokens":0})", R"({"max_tokens":99999999})", R"({"stop":""})", R"({"stop":[-1]})",
        R"({"stop":[["word"]]})", R"({"stop":[1.5]})", R"({"temperature":null})"}) {
    BOOST_TEST(!decode(params).body.has_value());
  }
  for (const std::string more :
       {R"(,"topk_prompt_logprobs":-1)", R"(,"topk_sample_logprobs":1000)",
        R"(,"prompt_logprobs_last_n":1)", R"(,"prompt_logprobs":true,"prompt_logprobs_last_n":3)",
        R"(,"prompt_alt_tokens_k":2)", R"(,"target_prompt_logprobs":{})",
        R"(,"record_stability_info":true)"}) {
    BOOST_TEST(!decode("{}", more).body.has_value());
  }
  BOOST_TEST(decode("{}", R"(,"prompt_logprobs":false,"topk_prompt_logprobs":0)").body.has_value());
}

BOOST_AUTO_TEST_CASE(stops_are_texts_or_tokens) {
  const auto one = decode(R"({"stop":"word"})");
  BOOST_TEST((one.body->stop_texts == std::vector<std::string>{"word"}));
  const auto both = decode(R"({"stop":["a",7,"b"]})");
  BOOST_TEST((both.body->stop_texts == std::vector<std::string>{"a", "b"}));
  BOOST_TEST((both.body->request.params.stop_tokens == std::vector<token_id>{7}));
}

BOOST_AUTO_TEST_CASE(scores_are_asked_for_by_name) {
  const auto call = decode("{}", R"(,"prompt_logprobs":true,"prompt_logprobs_last_n":2,)"
                                 R"("topk_prompt_logprobs":3,"topk_sample_logprobs":4)");
  BOOST_REQUIRE(call.body.has_value());
  BOOST_TEST(call.body->request.prompt_logprobs);
  BOOST_TEST(call.body->prompt_logprobs_last == 2U);
  BOOST_TEST(call.body->request.topk_prompt_logprobs == 3U);
  BOOST_TEST(call.body->request.params.topk_logprobs == 4U);
}

BOOST_AUTO_TEST_CASE(targets_of_a_prompt_are_packed_and_put_back) {
  const auto targets = [](const std::string& tensor) {
    return decode("{}", R"(,"target_prompt_logprobs":{"dtype":"int64",)" + tensor + "}").body;
  };
  const auto dense = targets(R"("shape":[2,3],"data":[-1,5,6,7,-1,-1])");
  BOOST_REQUIRE(dense.has_value());
  BOOST_TEST((dense->request.prompt_targets == std::vector<token_id>{5, 6, 7, 0}));
  tinker_public::Tensor out;
  fill_tensor(out, *dense->targets, {-1.0F, -2.0F, -3.0F, -4.0F});
  BOOST_TEST(out.dense() == detail::bytes_of<float>({0, -1, -2, -3, 0, 0}));
  BOOST_TEST(out.shape(1) == 3);
  const auto sparse = targets(R"("shape":[2,99999],"data":[8,9],"sparse_crow_indices":[0,0,2],)"
                              R"("sparse_col_indices":[4,70000])");
  BOOST_REQUIRE(sparse.has_value());
  BOOST_TEST((sparse->request.prompt_targets == std::vector<token_id>{0, 0, 8, 9}));
  out.Clear();
  fill_tensor(out, *sparse->targets, {-9.0F, -9.0F, -1.0F, -2.0F});
  BOOST_TEST(out.sparse_csr().values() == detail::bytes_of<float>({-1, -2}));
  BOOST_TEST(out.sparse_csr().col_indices() == detail::bytes_of<std::int64_t>({4, 70000}));
  const auto none = targets(R"("shape":[2,1],"data":[-1,-1])");
  BOOST_REQUIRE(none.has_value());
  BOOST_TEST(none->request.prompt_targets.empty());
  for (const std::string bad :
       {R"("shape":[3,1],"data":[1,2,3])", R"("shape":[2,2],"data":[1,2,3])",
        R"("shape":[2],"data":[1,2])", R"("shape":[2,1],"data":[1,-2])",
        R"("shape":[2,1],"data":[1,1.5])", R"("shape":[2,0],"data":[])",
        R"("shape":[2,1],"data":[1,99999999999])", R"("shape":[2,9223372036854775807],"data":[])",
        R"("shape":[2,3],"data":[1],"sparse_crow_indices":[0,2,1],"sparse_col_indices":[0])",
        R"("shape":[2,3],"data":[1],"sparse_crow_indices":[0,1],"sparse_col_indices":[0])",
        R"("shape":[2,3],"data":[1],"sparse_crow_indices":[0,1,1],"sparse_col_indices":[3])",
        R"("shape":[2,3],"data":[1],"sparse_crow_indices":[-1,1,1],"sparse_col_indices":[0])"}) {
    BOOST_TEST(!targets(bad).has_value(), bad);
  }
}

BOOST_AUTO_TEST_CASE(prompts_are_text) {
  const auto broken = [](const std::string& prompt) {
    const auto object = parse_object(
        R"({"sampling_session_id":"s","seq_id":0,"sampling_params":{},"prompt":)" + prompt + "}");
    return !decode_sample_call(*object)->body.has_value();
  };
  for (const std::string prompt :
       {"null", "{}", R"({"chunks":[]})", R"({"chunks":[7]})",
        R"({"chunks":[{"type":"image","data":""}]})",
        R"({"chunks":[{"type":"encoded_text","tokens":[-1]}]})",
        R"({"chunks":[{"type":"encoded_text","tokens":[1.5]}]})",
        R"({"chunks":[{"type":"encoded_text","tokens":[99999999999]}]})"}) {
    BOOST_TEST(broken(prompt));
  }
}

BOOST_AUTO_TEST_CASE(results_keep_tokens_and_logprobs) {
  sample_reply reply;
  reply.sequences.push_back(sequence({5, 6}, {-0.5F, -1.5F}, stop_reason::stop));
  reply.sequences.push_back(sequence({7}, {-2.0F}, stop_reason::length));
  tinker_public::SampleResponse out;
  BOOST_REQUIRE(out.ParseFromString(encode_sample_output(reply, {3, 0})));
  BOOST_REQUIRE(out.sequences_size() == 2);
  BOOST_TEST(out.sequences(0).stop_reason() == tinker_public::STOP_REASON_STOP);
  BOOST_TEST(out.sequences(1).stop_reason() == tinker_public::STOP_REASON_LENGTH);
  BOOST_TEST(out.sequences(0).tokens().size() == 8U);
  BOOST_TEST(out.sequences(1).logprobs().size() == 4U);
  BOOST_TEST(!out.has_prompt_logprobs());
}

BOOST_AUTO_TEST_CASE(scores_of_the_prompt_stand_at_their_positions) {
  sample_reply reply;
  reply.sequences.push_back(sequence({5}, {-0.5F}, stop_reason::stop));
  reply.sequences[0].topk = {2, {5, 6}, {-0.5F, -1.0F}};
  reply.prompt_logprobs = {-1.0F, -2.0F, -3.0F};
  reply.prompt_topk = {1, {7, 8, 9}, {-1.0F, -2.0F, -3.0F}};
  const auto floats = [](const std::string& bytes) {
    std::vector<float> out(bytes.size() / sizeof(float));
    std::memcpy(out.data(), bytes.data(), bytes.size());
    return out;
  };
  tinker_public::SampleResponse out;
  BOOST_REQUIRE(out.ParseFromString(encode_sample_output(reply, {4, 0})));
  auto shown = floats(out.prompt_logprobs());
  BOOST_REQUIRE(shown.size() == 4U);
  BOOST_TEST(std::isnan(shown[0]));
  BOOST_TEST(shown[1] == -1.0F);
  BOOST_TEST(shown[3] == -3.0F);
  BOOST_TEST(out.topk_prompt_logprobs().k() == 1U);
  BOOST_TEST(out.topk_prompt_logprobs().length() == 4U);
  BOOST_TEST(floats(out.topk_prompt_logprobs().logprobs())[0] == -99999.0F);
  BOOST_TEST(floats(out.topk_prompt_logprobs().logprobs())[3] == -3.0F);
  BOOST_TEST(out.sequences(0).topk_sampled_logprobs().k() == 2U);
  BOOST_REQUIRE(out.ParseFromString(encode_sample_output(reply, {4, 1})));
  shown = floats(out.prompt_logprobs());
  BOOST_TEST(std::isnan(shown[2]));
  BOOST_TEST(shown[3] == -3.0F);
  BOOST_TEST(floats(out.topk_prompt_logprobs().logprobs())[2] == -99999.0F);
}
