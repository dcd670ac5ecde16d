// JSON requests: fields that must be there, bounds, and what newer clients may add.

#include "messages/tinker/requests.hpp"

#include <boost/test/unit_test.hpp>

#include "messages/tinker/checkpoint_path.hpp"
#include "messages/tinker/json_fields.hpp"

using namespace troupe;
using namespace troupe::tinker;

namespace {

boost::json::object object(std::string_view text) {
  auto out = parse_object(text);
  BOOST_REQUIRE(out.has_value());
  return std::move(*out);
}

}  // namespace

BOOST_AUTO_TEST_CASE(only_objects_of_bounded_depth_are_read) {
  BOOST_TEST(!parse_object("").has_value());
  BOOST_TEST(!parse_object("[1]").has_value());
  BOOST_TEST(!parse_object("{\"a\":1").has_value());
  BOOST_TEST(
      !parse_object("{\"a\":" + std::string(100, '[') + std::string(100, ']') + "}").has_value());
  BOOST_TEST(parse_object("{\"a\":[[1]]}").has_value());
}

BOOST_AUTO_TEST_CASE(create_model_takes_lora_and_ignores_what_is_new) {
  const auto made = decode_create_model(object(R"({"session_id":"s","model_seq_id":2,
      "base_model":"m","lora_config":{"rank":8,"train_mlp":false},"user_metadata":{"a":"b"},
      "optimizer_config":{"type":"adamw"},"from_the_future":[1]})"));
  BOOST_REQUIRE(made.has_value());
  BOOST_TEST(made->session_id == "s");
  BOOST_TEST(made->model_seq_id == 2U);
  BOOST_REQUIRE(made->lora.has_value());
  BOOST_TEST(made->lora->rank == 8U);
  BOOST_TEST(!made->lora->train_mlp);
  BOOST_TEST(made->lora->train_attn);
  BOOST_TEST(made->user_metadata.at("a").as_string() == "b");
}

BOOST_AUTO_TEST_CASE(create_model_names_the_field_that_is_wrong) {
  for (const auto& [text, word] : std::vector<std::pair<std::string, std::string>>{
           {R"({"model_seq_id":0,"base_model":"m"})", "session_id"},
           {R"({"session_id":"s","base_model":"m"})", "model_seq_id"},
           {R"({"session_id":"s","model_seq_id":-1,"base_model":"m"})", "model_seq_id"},
           {R"({"session_id":"s","model_seq_id":0,"base_model":7})", "base_model"},
           {R"({"session_id":"s","model_seq_id":0,"base_model":"m","lora_config":{"rank":99999}})",
            "rank"},
           {R"({"session_id":"s","model_seq_id":0,"base_model":"m",
               "optimizer_config":{"type":"dimuon"}})",
            "optimizer_config"}}) {
    const auto made = decode_create_model(object(text));
    BOOST_REQUIRE(!made.has_value());
    BOOST_TEST(made.error().what.find(word) != std::string::npos);
  }
}

BOOST_AUTO_TEST_CASE(optim_step_has_the_protocols_defaults) {
  const auto step =
      decode_optim_step(object(R"({"model_id":"m","seq_id":4,"adam_params":{"eps":1e-8}})"));
  BOOST_REQUIRE(step.has_value());
  adam_params wanted;
  wanted.eps = 1e-8;
  BOOST_TEST((step->adam == wanted));
  BOOST_TEST(!decode_optim_step(object(R"({"model_id":"m","seq_id":4})")).has_value());
  BOOST_TEST(!decode_optim_step(object(R"({"model_id":"m","seq_id":4,
      "adam_params":{"learning_rate":1e999}})"))
                  .has_value());
  // What clients make of NaN: not the default.
  BOOST_TEST(!decode_optim_step(object(R"({"model_id":"m","seq_id":4,
      "adam_params":{"learning_rate":null}})"))
                  .has_value());
}

BOOST_AUTO_TEST_CASE(weights_have_names_not_paths) {
  const auto save = [](const std::string& name) {
    return decode_save_weights(object(R"({"model_id":"m","seq_id":1,"path":")" + name + "\"}"));
  };
  BOOST_TEST(save("final-1").has_value());
  BOOST_TEST(!save("../../etc").has_value());
  BOOST_TEST(!save("a/b").has_value());
  BOOST_TEST(decode_save_weights(object(R"({"model_id":"m","seq_id":1})")).has_value());
  BOOST_TEST(!decode_save_for_sampler(object(R"({"model_id":"m","seq_id":1})")).has_value());
}

BOOST_AUTO_TEST_CASE(load_weights_means_an_old_model_or_a_new_one) {
  const auto old_one = decode_load_weights(
      object(R"({"model_id":"m","seq_id":1,"path":"tinker://a/weights/b","optimizer":true})"));
  BOOST_REQUIRE(old_one.has_value());
  BOOST_TEST((old_one->optimizer == optimizer_state::restore));
  const auto new_one = decode_load_weights(object(
      R"({"session_id":"s","model_seq_id":3,"path":"tinker://a/weights/b","optimizer":false})"));
  BOOST_REQUIRE(new_one.has_value());
  BOOST_TEST(new_one->model_id.empty());
  BOOST_TEST(new_one->model_seq_id == 3U);
  BOOST_TEST(!decode_load_weights(object(R"({"path":"x","optimizer":true})")).has_value());
}

BOOST_AUTO_TEST_CASE(paths_are_read_and_written_alike) {
  for (const std::string text :
       {"tinker://k-1:train:0/weights/final", "tinker://run/sampler_weights/a.b_c-d"}) {
    const auto path = parse_checkpoint_path(text);
    BOOST_REQUIRE(path.has_value());
    BOOST_TEST(to_string(*path) == text);
  }
  for (const std::string text :
       {"", "tinker://", "tinker:///weights/a", "tinker://r/weights", "tinker://r/weights/",
        "tinker://r/other/a", "tinker://r/weights/a/b", "tinker://r/weights/..", "/etc/passwd"}) {
    BOOST_TEST(!parse_checkpoint_path(text).has_value());
  }
}
