// Training requests in protobuf: what a client may send, and what must be refused before it costs
// anything.

#include <cmath>
#include <cstring>
#include <limits>

#include <boost/test/unit_test.hpp>

#include "messages/tinker/tinker_public.pb.h"
#include "messages/tinker/training_call.hpp"
#include "messages/tinker/training_output.hpp"

using namespace troupe;

namespace {

template <class T>
std::string bytes(const std::vector<T>& values) {
  return std::string(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(T));
}

tinker_public::Tensor floats(const std::vector<float>& values) {
  tinker_public::Tensor out;
  out.set_dense(bytes(values));
  out.set_dtype(tinker_public::DTYPE_FLOAT32);
  out.add_shape(static_cast<std::int64_t>(values.size()));
  return out;
}

tinker_public::Tensor integers(const std::vector<std::int64_t>& values) {
  tinker_public::Tensor out;
  out.set_dense(bytes(values));
  out.set_dtype(tinker_public::DTYPE_INT64);
  out.add_shape(static_cast<std::int64_t>(values.size()));
  return out;
}

tinker_public::ForwardBackwardRequest request() {
  tinker_public::ForwardBackwardRequest out;
  out.set_model_id("s:train:0");
  out.set_seq_id(3);
  out.set_loss_fn("cross_entropy");
  auto* row = out.add_data();
  row->add_model_input()->mutable_encoded_text()->set_tokens(bytes<std::int32_t>({1, 2}));
  row->add_model_input()->mutable_encoded_text()->set_tokens(bytes<std::int32_t>({3}));
  (*row->mutable_loss_fn_inputs())["target_tokens"] = integers({2, 3, 4});
  (*row->mutable_loss_fn_inputs())["weights"] = floats({0.5F, -1.0F, 0.0F});
  return out;
}

result<op_body> body_of(const tinker_public::ForwardBackwardRequest& in) {
  auto call = tinker::decode_training_call(in.SerializeAsString());
  BOOST_REQUIRE(call.has_value());
  return std::move(call->body);
}

errc code_of(const tinker_public::ForwardBackwardRequest& in) {
  const auto body = body_of(in);
  return body ? errc::none : body.error().code;
}

}  // namespace

BOOST_AUTO_TEST_CASE(a_whole_request_is_read) {
  const auto call = tinker::decode_training_call(request().SerializeAsString());
  BOOST_REQUIRE(call.has_value());
  BOOST_TEST(call->model_id == "s:train:0");
  BOOST_TEST(call->seq_id == 3);
  BOOST_REQUIRE(call->body.has_value());
  const auto& op = std::get<forward_backward_op>(*call->body);
  datum wanted;
  wanted.tokens = {1, 2, 3};
  wanted.target_tokens = {2, 3, 4};
  wanted.weights = {0.5F, -1.0F, 0.0F};
  BOOST_TEST((op.batch == std::vector<datum>{wanted}));
}

BOOST_AUTO_TEST_CASE(a_forward_may_ask_for_likeliest_tokens_and_entropy) {
  auto in = request();
  in.set_forward_only(true);
  (*in.mutable_loss_fn_config())["top_k"] = 2;
  (*in.mutable_loss_fn_config())["entropy"] = 1;
  const auto body = body_of(in);
  BOOST_REQUIRE(body.has_value());
  const auto& op = std::get<forward_op>(*body);
  BOOST_TEST((op.details == forward_details{2, true, embedding_kind::none}));
  for (const double wrong : {-1.0, 0.5, 129.0, std::nan("")}) {
    (*in.mutable_loss_fn_config())["top_k"] = static_cast<float>(wrong);
    BOOST_TEST((code_of(in) == errc::invalid_argument));
  }
}

BOOST_AUTO_TEST_CASE(details_stand_beside_logprobs) {
  forward_result output{{{-1, -2}, {-3}}, {}, {}};
  output.details = {{{2, {5, 6, 7, 8}, {-0.5F, -1, -0.25F, -2}}, {0.75F, 0.5F}, {}},
                    {{2, {9, 1}, {-0.125F, -3}}, {0.25F}, {}}};
  tinker_public::ForwardBackwardOutput out;
  BOOST_REQUIRE(out.ParseFromString(tinker::encode_training_output(output, {})));
  BOOST_REQUIRE(out.loss_fn_outputs_size() == 1);
  const auto& fields = out.loss_fn_outputs(0).fields();
  BOOST_TEST(fields.at("top_k_logprobs").data() ==
             bytes<float>({-0.5F, -1, -0.25F, -2, -0.125F, -3}));
  BOOST_TEST(fields.at("top_k_indices").data() == bytes<std::int64_t>({5, 6, 7, 8, 9, 1}));
  BOOST_TEST(fields.at("top_k_indices").offsets() == bytes<std::int64_t>({0, 32, 48}));
  BOOST_TEST(fields.at("top_k_indices").trailing_shape(0) == 2);
  BOOST_TEST(fields.at("entropy").data() == bytes<float>({0.75F, 0.5F, 0.25F}));
}

BOOST_AUTO_TEST_CASE(missing_weights_are_ones_and_forward_only_keeps_nothing) {
  auto in = request();
  in.mutable_data(0)->mutable_loss_fn_inputs()->erase("weights");
  in.set_forward_only(true);
  const auto body = body_of(in);
  BOOST_REQUIRE(body.has_value());
  const auto& op = std::get<forward_op>(*body);
  BOOST_TEST((op.keep == retention::discard));
  BOOST_TEST((op.batch.at(0).weights == std::vector<float>{1, 1, 1}));
}

BOOST_AUTO_TEST_CASE(options_come_sorted_and_from_the_newer_field) {
  auto in = request();
  auto* inputs = in.mutable_data(0)->mutable_loss_fn_inputs();
  inputs->erase("weights");
  (*inputs)["logprobs"] = floats({-1, -1, -1});
  (*inputs)["advantages"] = floats({1, 1, 1});
  in.set_loss_fn("ppo");
  (*in.mutable_loss_fn_config())["clip_low_threshold"] = 0.1;
  (*in.mutable_loss_fn_config_v2())["clip_low_threshold"].set_number(0.8);
  (*in.mutable_loss_fn_config_v2())["clip_high_threshold"].set_number(1.2);
  const auto body = body_of(in);
  BOOST_REQUIRE(body.has_value());
  const loss_fn_config wanted{{"clip_high_threshold", 1.2}, {"clip_low_threshold", 0.8}};
  BOOST_TEST((std::get<forward_backward_op>(*body).config == wanted));
}

BOOST_AUTO_TEST_CASE(broken_envelopes_are_no_requests) {
  const std::string good = request().SerializeAsString();
  BOOST_TEST(!tinker::decode_training_call(good.substr(0, good.size() - 3)).has_value());
  auto in = request();
  in.set_seq_id(0);
  BOOST_TEST(!tinker::decode_training_call(in.SerializeAsString()).has_value());
}

BOOST_AUTO_TEST_CASE(shapes_that_lie_are_refused) {
  const auto with = [](const char* key, tinker_public::Tensor tensor) {
    auto in = request();
    (*in.mutable_data(0)->mutable_loss_fn_inputs())[key] = std::move(tensor);
    return code_of(in);
  };
  auto huge = floats({1, 1, 1});
  huge.set_shape(0, std::numeric_limits<std::int64_t>::max());
  BOOST_TEST((with("weights", huge) == errc::invalid_argument));
  auto negative = floats({1, 1, 1});
  negative.set_shape(0, -3);
  BOOST_TEST((with("weights", negative) == errc::invalid_argument));
  auto torn = floats({1, 1, 1});
  torn.set_dense(torn.dense().substr(1));
  BOOST_TEST((with("weights", torn) == errc::invalid_argument));
  auto wide = integers({1, 2, 3, 4, 5, 6});
  wide.set_shape(0, 3);
  wide.add_shape(2);
  // Weights of one dimension do not fit targets of two.
  BOOST_TEST((with("target_tokens", wide) == errc::invalid_argument));
  auto flat = integers({1, 2, 3, 4, 5, 6});
  BOOST_TEST((with("target_tokens", flat) == errc::invalid_argument));
  auto wider = integers(std::vector<std::int64_t>(3 * 257, 1));
  wider.set_shape(0, 3);
  wider.add_shape(257);
  BOOST_TEST((with("target_tokens", wider) == errc::unsupported));
  wide.add_shape(1);
  BOOST_TEST((with("target_tokens", wide) == errc::invalid_argument));
  BOOST_TEST((with("target_tokens", floats({1, 2, 3})) == errc::invalid_argument));
  BOOST_TEST((with("weights", floats({1, NAN, 1})) == errc::not_finite));
  BOOST_TEST((with("target_tokens", integers({1, -1, 2})) == errc::invalid_argument));
  BOOST_TEST((with("weights", tinker_public::Tensor()) == errc::invalid_argument));
}

BOOST_AUTO_TEST_CASE(sparse_tensors_fill_their_rows) {
  auto in = request();
  auto& tensor = (*in.mutable_data(0)->mutable_loss_fn_inputs())["weights"];
  tensor.Clear();
  tensor.set_dtype(tinker_public::DTYPE_FLOAT32);
  tensor.add_shape(3);
  tensor.add_shape(1);
  auto* csr = tensor.mutable_sparse_csr();
  csr->set_values(bytes<float>({7}));
  csr->set_crow_indices(bytes<std::int64_t>({0, 0, 1, 1}));
  csr->set_col_indices(bytes<std::int64_t>({0}));
  const auto body = body_of(in);
  BOOST_REQUIRE(body.has_value());
  BOOST_TEST(
      (std::get<forward_backward_op>(*body).batch[0].weights == std::vector<float>{0, 7, 0}));
  for (const std::vector<std::int64_t>& rows :
       {std::vector<std::int64_t>{0, 5, 1, 1}, {0, 1, 0, 1}, {1, 1, 1, 1}, {0, 0, 0, 9}}) {
    csr->set_crow_indices(bytes(rows));
    BOOST_TEST((code_of(in) == errc::invalid_argument));
  }
}

BOOST_AUTO_TEST_CASE(a_position_has_several_targets_dense_or_sparse) {
  auto in = request();
  auto& inputs = *in.mutable_data(0)->mutable_loss_fn_inputs();
  auto targets = integers({1, 2, 3, 4, 5, 0});
  targets.set_shape(0, 3);
  targets.add_shape(2);
  inputs["target_tokens"] = targets;
  tinker_public::Tensor weights;
  weights.set_dtype(tinker_public::DTYPE_FLOAT32);
  weights.add_shape(3);
  weights.add_shape(2);
  auto* csr = weights.mutable_sparse_csr();
  csr->set_values(bytes<float>({7, 8, 9}));
  csr->set_crow_indices(bytes<std::int64_t>({0, 2, 3, 3}));
  csr->set_col_indices(bytes<std::int64_t>({0, 1, 1}));
  inputs["weights"] = weights;
  const auto call = tinker::decode_training_call(in.SerializeAsString());
  BOOST_REQUIRE(call.has_value());
  BOOST_REQUIRE(call->body.has_value());
  BOOST_TEST((call->columns == std::vector<std::size_t>{2}));
  const datum& row = std::get<forward_backward_op>(*call->body).batch.at(0);
  BOOST_TEST((row.target_tokens == std::vector<token_id>{1, 2, 3, 4, 5, 0}));
  BOOST_TEST((row.weights == std::vector<float>{7, 8, 0, 9, 0, 0}));
  inputs.erase("weights");
  const auto unweighted = body_of(in);
  BOOST_REQUIRE(unweighted.has_value());
  BOOST_TEST(std::get<forward_backward_op>(*unweighted).batch.at(0).weights.size() == 6U);
  inputs["weights"] = weights;
  for (const std::vector<std::int64_t>& columns :
       {std::vector<std::int64_t>{0, 2, 1}, {-1, 0, 1}, {0, 1}}) {
    inputs["weights"].mutable_sparse_csr()->set_col_indices(bytes(columns));
    BOOST_TEST((code_of(in) == errc::invalid_argument));
  }
}

BOOST_AUTO_TEST_CASE(thresholds_of_single_tokens_are_read) {
  auto in = request();
  auto& inputs = *in.mutable_data(0)->mutable_loss_fn_inputs();
  inputs.erase("weights");
  inputs["logprobs"] = floats({-1, -1, -1});
  inputs["advantages"] = floats({1, 1, 1});
  inputs["clip_high_threshold"] = floats({1.5F, 2, 3});
  in.set_loss_fn("ppo");
  const auto body = body_of(in);
  BOOST_REQUIRE(body.has_value());
  const datum& row = std::get<forward_backward_op>(*body).batch.at(0);
  BOOST_TEST((row.clip_high_thresholds == std::vector<float>{1.5F, 2, 3}));
  BOOST_TEST(row.clip_low_thresholds.empty());
  inputs["clip_high_threshold"] = floats({1.5F, 2});
  BOOST_TEST((code_of(in) == errc::invalid_argument));
}

BOOST_AUTO_TEST_CASE(results_keep_their_rows_and_lose_what_clients_choke_on) {
  forward_result output;
  output.logprobs = {{-1.0F, -2.0F}, {-3.0F}};
  output.metrics = {{"loss:sum", 6.0}, {"bad", 1.0}, {"a:b:c", 1.0}, {"nan:sum", NAN}};
  tinker_public::ForwardBackwardOutput out;
  BOOST_REQUIRE(out.ParseFromString(tinker::encode_training_output(output, {0, 0})));
  BOOST_TEST(out.metrics().size() == 1U);
  BOOST_TEST(out.metrics().at("loss:sum") == 6.0);
  BOOST_REQUIRE(out.loss_fn_outputs_size() == 1);
  const auto& record = out.loss_fn_outputs(0);
  BOOST_TEST(record.num_datums() == 2);
  BOOST_TEST(record.fields().at("logprobs").data() == bytes<float>({-1, -2, -3}));
  BOOST_TEST(record.fields().at("logprobs").offsets() == bytes<std::int64_t>({0, 8, 12}));
}

BOOST_AUTO_TEST_CASE(datums_of_other_shapes_stand_in_other_records) {
  forward_result output;
  output.logprobs = {{-1.0F, -2.0F}, {-3.0F, -4.0F}, {-5.0F, -6.0F, -7.0F, -8.0F}};
  tinker_public::ForwardBackwardOutput out;
  BOOST_REQUIRE(out.ParseFromString(tinker::encode_training_output(output, {0, 2, 2})));
  BOOST_REQUIRE(out.loss_fn_outputs_size() == 2);
  BOOST_TEST(out.loss_fn_outputs(0).fields().at("logprobs").trailing_shape_size() == 0);
  const auto& wide = out.loss_fn_outputs(1).fields().at("logprobs");
  BOOST_REQUIRE(wide.trailing_shape_size() == 1);
  BOOST_TEST(wide.trailing_shape(0) == 2);
  BOOST_TEST(wide.offsets() == bytes<std::int64_t>({0, 8, 24}));
  BOOST_TEST(out.loss_fn_outputs(1).num_datums() == 2);
}
