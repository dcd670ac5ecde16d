// What tokens say, and where a stop text ends a sequence.

#include "apps/gateway/token_texts.hpp"

#include <boost/test/unit_test.hpp>

using namespace troupe;
using namespace troupe::gateway;

namespace {

token_texts read(const std::string& json) {
  auto out = token_texts::parse(json);
  BOOST_REQUIRE(out.has_value());
  return std::move(*out);
}

}  // namespace

BOOST_AUTO_TEST_CASE(byte_level_pieces_are_bytes) {
  // U+0120 is a space, U+010A a line end, U+00C3 U+00A9 the two bytes of e with an accent.
  const auto texts = read(R"({"model":{"vocab":{"a":0,"\u0120b":1,"\u010a":2,"\u00c3\u00a9":3}},)"
                          R"("decoder":{"type":"ByteLevel"},)"
                          R"("added_tokens":[{"id":4,"content":"<|end|>"}]})");
  BOOST_TEST(texts.of(0) == "a");
  BOOST_TEST(texts.of(1) == " b");
  BOOST_TEST(texts.of(2) == "\n");
  BOOST_TEST(texts.of(3) == "\xc3\xa9");
  BOOST_TEST(texts.of(4) == "<|end|>");
  BOOST_TEST(texts.of(5) == "");
  BOOST_TEST(texts.of(-1) == "");
}

BOOST_AUTO_TEST_CASE(marked_pieces_and_bytes_are_text) {
  const auto texts = read(R"({"model":{"vocab":[["\u2581the",-1.0],["<0x0A>",-2.0],["x",-3]]},)"
                          R"("decoder":{"type":"Sequence","decoders":[{"type":"ByteFallback"}]}})");
  BOOST_TEST(texts.of(0) == " the");
  BOOST_TEST(texts.of(1) == "\n");
  BOOST_TEST(texts.of(2) == "x");
}

BOOST_AUTO_TEST_CASE(broken_vocabularies_do_no_harm) {
  for (const std::string json : {"", "[]", "{}", R"({"model":7})", R"({"model":{}})"})
    BOOST_TEST(!token_texts::parse(json).has_value());
  const auto texts = read(R"({"model":{"vocab":{"a":-1,"b":99999999999,"c":"d"}},)"
                          R"("added_tokens":[7,{"id":-5,"content":"x"},{"id":1}]})");
  BOOST_TEST(texts.size() == 0U);
}

BOOST_AUTO_TEST_CASE(a_sequence_ends_with_the_token_that_completes_a_stop) {
  const auto texts = read(R"({"model":{"vocab":{"ab":0,"c":1,"d":2}},)"
                          R"("decoder":{"type":"ByteLevel"}})");
  sampled_sequence sequence;
  sequence.tokens = {0, 1, 2, 0, 1};
  sequence.logprobs = {-1, -2, -3, -4, -5};
  sequence.topk = {1, {0, 1, 2, 0, 1}, {-1, -2, -3, -4, -5}};
  auto cut = sequence;
  cut_at_stop(texts, {"zzz", "bcd"}, cut);
  BOOST_TEST((cut.tokens == std::vector<token_id>{0, 1, 2}));
  BOOST_TEST(cut.logprobs.size() == 3U);
  BOOST_TEST(cut.topk.tokens.size() == 3U);
  BOOST_TEST((cut.reason == stop_reason::stop));
  cut = sequence;
  cut_at_stop(texts, {"b"}, cut);
  BOOST_TEST(cut.tokens.size() == 1U);
  cut = sequence;
  cut_at_stop(texts, {"cc"}, cut);
  BOOST_TEST((cut == sequence));
}
