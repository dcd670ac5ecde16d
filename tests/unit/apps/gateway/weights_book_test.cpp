// Names of saved weights: who may read them, and what is left when they go.

#include "apps/gateway/weights_book.hpp"

#include <boost/test/unit_test.hpp>

#include "tests/support/scratch_folder.hpp"

using namespace troupe;
using namespace troupe::gateway;
using tinker::weights_kind;

namespace {

saved_weights entry(const std::string& model, const std::string& name, const std::string& id) {
  saved_weights out;
  out.path = {model, weights_kind::training, name};
  out.checkpoint.value = id;
  out.bytes = 5;
  out.created_unix_ms = 1000;
  out.user_metadata["a"] = "b";
  return out;
}

const std::string mine = "aaaaaaaa-s:train:0";
const std::string theirs = "bbbbbbbb-s:train:0";

}  // namespace

BOOST_AUTO_TEST_CASE(names_come_back_after_a_restart) {
  const tests::scratch_folder scratch;
  {
    weights_book book(scratch.path() + "/weights");
    BOOST_REQUIRE(book.put(entry(mine, "one", "id1")).has_value());
    auto second = entry(mine, "two", "id2");
    second.expires_unix_ms = 2000;
    second.readers = visibility::everybody;
    BOOST_REQUIRE(book.put(second).has_value());
  }
  const weights_book book(scratch.path() + "/weights");
  BOOST_REQUIRE(book.of_model(mine).size() == 2U);
  const auto* one = book.find({mine, weights_kind::training, "one"});
  BOOST_REQUIRE(one != nullptr);
  BOOST_TEST(one->checkpoint.value == "id1");
  BOOST_TEST(one->bytes == 5U);
  BOOST_TEST(one->user_metadata.at("a").as_string() == "b");
  BOOST_TEST((one->readers == visibility::owner));
  BOOST_TEST(book.expired(1999).empty());
  BOOST_REQUIRE(book.expired(2000).size() == 1U);
  BOOST_TEST(book.expired(2000)[0].name == "two");
  BOOST_TEST(book.find({mine, weights_kind::sampler, "one"}) == nullptr);
}

BOOST_AUTO_TEST_CASE(others_read_what_is_published) {
  const tests::scratch_folder scratch;
  weights_book book(scratch.path());
  auto own = entry(mine, "one", "id1");
  BOOST_REQUIRE(book.put(own).has_value());
  BOOST_TEST(book.readable("aaaaaaaa", own.path).has_value());
  BOOST_TEST(!book.readable("bbbbbbbb", own.path).has_value());
  own.readers = visibility::everybody;
  BOOST_REQUIRE(book.put(own).has_value());
  BOOST_TEST(book.readable("bbbbbbbb", own.path).has_value());
  BOOST_TEST(book.of_key("bbbbbbbb").empty());
  BOOST_TEST(book.of_key("aaaaaaaa").size() == 1U);
  BOOST_TEST(book.of_key("aaaa").empty());
}

BOOST_AUTO_TEST_CASE(a_checkpoint_goes_with_its_last_name) {
  const tests::scratch_folder scratch;
  weights_book book(scratch.path());
  BOOST_REQUIRE(book.put(entry(mine, "one", "id")).has_value());
  BOOST_REQUIRE(book.put(entry(theirs, "copy", "id")).has_value());
  BOOST_TEST(book.remove({mine, weights_kind::training, "one"})->empty());
  BOOST_TEST(!book.remove({mine, weights_kind::training, "one"}).has_value());
  BOOST_TEST(book.remove({theirs, weights_kind::training, "copy"})->value == "id");
}
