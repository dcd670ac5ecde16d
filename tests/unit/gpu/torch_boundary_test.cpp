// What people read when the maths library throws.

#include <new>
#include <stdexcept>

#include <boost/test/unit_test.hpp>
#include <c10/util/Exception.h>

#include "gpu/torch/boundary.hpp"

namespace {

using namespace troupe;

template <class Throw>
error error_of(const Throw& thrower) {
  return gpu::guarded("a pass",
                      [&]() -> result<void> {
                        thrower();
                        return {};
                      })
      .error();
}

BOOST_AUTO_TEST_CASE(a_full_gpu_is_called_full) {
  const error full = error_of([] {
    TORCH_CHECK_WITH(OutOfMemoryError, false,
                     "CUDA out of memory. Tried to allocate 20.00 MiB.\nmore of it");
  });
  BOOST_TEST((full.code == errc::engine));
  BOOST_TEST(full.what ==
             "the memory of the GPU is full in a pass: CUDA out of memory. Tried to allocate "
             "20.00 MiB.");
  BOOST_TEST(full.action.find("slots") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(other_failures_keep_their_own_words) {
  const error host = error_of([] { throw std::bad_alloc(); });
  BOOST_TEST(host.what == "memory ran out in a pass");
  const error bug = error_of([] { throw std::runtime_error("shapes differ\nat a line"); });
  BOOST_TEST(bug.what == "the maths library failed in a pass: shapes differ");
}

}  // namespace
