// What a gateway that was killed must find again, and what it must not.

#include "apps/gateway/request_log.hpp"

#include <filesystem>
#include <fstream>

#include <boost/test/unit_test.hpp>

#include "tests/support/scratch_folder.hpp"

using namespace troupe;
using namespace troupe::gateway;

namespace {

logged_request request(const std::string& id, const std::string& body) {
  logged_request out;
  out.request_id = id;
  out.key_id = "key";
  out.repeat_key = "op/" + id;
  out.digest = "digest";
  out.path = "/api/v1/optim_step";
  out.content_type = "application/json";
  out.acknowledgement = "{}";
  out.body = body;
  return out;
}

std::vector<logged_request> reopened(const std::string& folder) {
  request_log log(folder);
  auto found = log.open();
  BOOST_REQUIRE(found.has_value());
  return *found;
}

}  // namespace

BOOST_AUTO_TEST_CASE(open_requests_come_back_whole_and_in_order) {
  const tests::scratch_folder scratch;
  const std::string folder = scratch.path() + "/requests";
  std::string body = "line\nline";
  body.push_back('\0');
  {
    request_log log(folder);
    BOOST_REQUIRE(log.open()->empty());
    for (const char* id : {"b", "a", "c"})
      BOOST_REQUIRE(log.taken(request(id, body)).has_value());
    auto expected = request("d", body);
    expected.run_seq = 4;
    BOOST_REQUIRE(log.taken(expected).has_value());
    BOOST_TEST(log.place_of("d").run_seq == 4U);
    log.placed("a", 7);
    log.placed("a", 8);
    log.place_of("c").placed(9);
    log.forget("c");
  }
  const auto found = reopened(folder);
  BOOST_REQUIRE(found.size() == 3U);
  BOOST_TEST(found[2].run_seq == 4U);
  BOOST_TEST(found[0].request_id == "b");
  BOOST_TEST(found[0].run_seq == 0U);
  BOOST_TEST(found[1].run_seq == 8U);
  BOOST_TEST(found[1].body == body);
  BOOST_TEST(found[1].path == "/api/v1/optim_step");
  BOOST_TEST(!found[1].outcome.has_value());
}

BOOST_AUTO_TEST_CASE(results_replace_their_requests) {
  const tests::scratch_folder scratch;
  const std::string folder = scratch.path() + "/requests";
  {
    request_log log(folder);
    BOOST_REQUIRE(log.open().has_value());
    BOOST_REQUIRE(log.taken(request("a", "body")).has_value());
    BOOST_TEST(!log.resolved("a", {200, "application/x-protobuf", "result"}).empty());
    BOOST_TEST(log.resolved("a", {200, "application/x-protobuf", "other"}).empty());
    log.settled("a");
    log.placed("a", 3);
  }
  auto found = reopened(folder);
  BOOST_REQUIRE(found.size() == 1U);
  BOOST_REQUIRE(found[0].outcome.has_value());
  BOOST_TEST(found[0].outcome->body == "result");
  BOOST_TEST(found[0].outcome->content_type == "application/x-protobuf");
  BOOST_TEST(found[0].body.empty());
}

BOOST_AUTO_TEST_CASE(a_death_between_result_and_removal_leaves_the_result) {
  const tests::scratch_folder scratch;
  const std::string folder = scratch.path() + "/requests";
  {
    request_log log(folder);
    BOOST_REQUIRE(log.open().has_value());
    BOOST_REQUIRE(log.taken(request("a", "body")).has_value());
  }
  std::string name;
  for (const auto& file : std::filesystem::directory_iterator(folder))
    name = file.path().string();
  {
    request_log log(folder);
    BOOST_REQUIRE(log.open().has_value());
    BOOST_TEST(!log.resolved("a", {200, "application/json", "{}"}).empty());
    // Only a durable result takes its request's place.
    BOOST_TEST(std::filesystem::exists(name));
    log.settled("a");
  }
  BOOST_TEST(!std::filesystem::exists(name));
  std::ofstream(name) << "{\"key_id\":\"key\"}\nbody";
  const auto found = reopened(folder);
  BOOST_REQUIRE(found.size() == 1U);
  BOOST_TEST(found[0].outcome.has_value());
}

BOOST_AUTO_TEST_CASE(a_result_that_power_loss_cut_short_is_asked_for_again) {
  const tests::scratch_folder scratch;
  const std::string folder = scratch.path() + "/requests";
  std::string path;
  {
    request_log log(folder);
    BOOST_REQUIRE(log.open().has_value());
    BOOST_REQUIRE(log.taken(request("a", "body")).has_value());
    log.placed("a", 5);
    path = log.resolved("a", {200, "application/json", "a result"});
  }
  std::filesystem::resize_file(path, std::filesystem::file_size(path) - 3);
  const auto found = reopened(folder);
  BOOST_REQUIRE(found.size() == 1U);
  BOOST_TEST(!found[0].outcome.has_value());
  BOOST_TEST(found[0].run_seq == 5U);
  BOOST_TEST(found[0].body == "body");
  BOOST_TEST(!std::filesystem::exists(path));
}

BOOST_AUTO_TEST_CASE(strange_and_torn_files_are_dropped) {
  const tests::scratch_folder scratch;
  const std::string folder = scratch.path() + "/requests";
  std::filesystem::create_directories(folder);
  for (const char* name : {"x", "0000000000000001-a.0.open.part", "0000000000000002-b.open",
                           "-.done", "0000000000000003-c.0.open"})
    std::ofstream(folder + "/" + name) << "not json";
  BOOST_TEST(reopened(folder).empty());
  BOOST_TEST(std::filesystem::is_empty(folder));
}
