#pragma once

// Tells CAF of every message type before the first actor system of a test program is made. To be
// included by one file of the program.
//
// Threading: before the first test.

#include <boost/test/unit_test.hpp>
#include <caf/all.hpp>

#include "actors/protocol/type_ids.hpp"

struct meta_objects {
  meta_objects() {
    caf::init_global_meta_objects<caf::id_block::troupe>();
    caf::core::init_global_meta_objects();
  }
};
BOOST_TEST_GLOBAL_FIXTURE(meta_objects);
