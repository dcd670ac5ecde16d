// Ids that say by themselves who owns them.

#include "apps/gateway/names.hpp"

#include <boost/test/unit_test.hpp>

using namespace troupe;
using namespace troupe::gateway;

BOOST_AUTO_TEST_CASE(an_id_belongs_to_the_key_in_front) {
  const std::string session = new_session_id("0123abcd", std::string(64, 'f'));
  for (const std::string& id : {session, model_id_of(session, 3), sampler_id_of(session, 0)}) {
    BOOST_TEST(owns("0123abcd", id));
    BOOST_TEST(!owns("0123abce", id));
    BOOST_TEST(!owns("0123", id));
    BOOST_TEST(!owns("", id));
    BOOST_TEST(session_of(id) == session);
  }
  BOOST_TEST(!owns("0123abcd", "0123abcd"));
  BOOST_TEST(!owns("0123abcd", "0123abcd-../../x"));
}

BOOST_AUTO_TEST_CASE(only_models_have_runs) {
  BOOST_TEST(run_of("k-s:train:12")->value == "k-s.train.12");
  for (const std::string id :
       {"k-s", "k-s:sample:1", "k-s:train:", "k-s:train:a/b", "", ":train:1"}) {
    const auto run = run_of(id);
    BOOST_TEST((!run || is_valid_name(run->value)));
    BOOST_TEST((!run || id == "k-s:train:" || id == ":train:1"));
  }
  BOOST_TEST(!run_of("k-s:train:../up").has_value());
}
