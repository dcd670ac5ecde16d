#include "gpu/device_choice.hpp"

#include <algorithm>
#include <string>

#include <boost/test/unit_test.hpp>

#include "gpu/activation_budget.hpp"
#include "gpu/models/parameter_layout.hpp"
#include "tests/support/small_model.hpp"

namespace {

using namespace troupe;
using tests::small_model;

BOOST_AUTO_TEST_CASE(devices_are_read) {
  using gpu::device_choice;
  using gpu::device_kind;
  BOOST_TEST((*gpu::parse_device("cpu") == device_choice{device_kind::cpu, 0}));
  BOOST_TEST((*gpu::parse_device("cuda") == device_choice{device_kind::cuda, 0}));
  BOOST_TEST((*gpu::parse_device("cuda:7") == device_choice{device_kind::cuda, 7}));
  BOOST_TEST((*gpu::parse_device("auto:63") == device_choice{device_kind::any, 63}));
  for (const char* const text : {"", "gpu", "cpu:0", "cuda:", "cuda:-1", "cuda:1x", "cuda:64",
                                 "cuda:99999999999", "auto 1"}) {
    const auto refused = gpu::parse_device(text);
    BOOST_TEST_REQUIRE(!refused.has_value(), text);
    BOOST_TEST((refused.error().code == errc::invalid_argument));
    BOOST_TEST(refused.error().what.find(text) != std::string::npos);
  }
}

BOOST_AUTO_TEST_CASE(only_auto_does_without_its_gpu) {
  using gpu::device_kind;
  BOOST_TEST(!gpu::choose_gpu({device_kind::cpu, 0}, 8)->has_value());
  BOOST_TEST((*gpu::choose_gpu({device_kind::cuda, 3}, 4) == 3U));
  BOOST_TEST((*gpu::choose_gpu({device_kind::any, 3}, 4) == 3U));
  BOOST_TEST(!gpu::choose_gpu({device_kind::any, 3}, 3)->has_value());
  const auto missing = gpu::choose_gpu({device_kind::cuda, 3}, 3);
  BOOST_TEST((missing.error().code == errc::engine_not_built));
  BOOST_TEST(missing.error().what == "there is no GPU 3, this process sees 3");
}

BOOST_AUTO_TEST_CASE(state_is_counted_as_it_is_made) {
  const model_config model = small_model();
  const std::uint64_t elements = gpu::num_parameters(model);
  const auto alone = gpu::make_sharding_plan(model, {1, 1});
  BOOST_TEST(gpu::trained_state_bytes(alone) == 16 * elements);
  BOOST_TEST(gpu::frozen_state_bytes(alone) == 4 * elements);
  // Each of two ranks has half of it, and whole copies of the root and of blocks under way.
  const auto shared = gpu::make_sharding_plan(model, {2, 1});
  const std::uint64_t root = shared.groups[0].shard_elements * 2;
  const std::uint64_t block = shared.groups[1].shard_elements * 2;
  const std::uint64_t half = root / 2 + block;
  const std::uint64_t largest = std::max(root, block) / 2;
  BOOST_TEST(gpu::frozen_state_bytes(shared) == 4 * (half + root + 2 * block));
  // And what both sent of the largest group, with its sum.
  const std::uint64_t received = 2 * largest + largest;
  BOOST_TEST(gpu::trained_state_bytes(shared, 0) ==
             4 * (4 * half + 2 * root + 3 * block + received));
  // The gradients of a small model stay whole.
  BOOST_TEST(gpu::trained_state_bytes(shared) ==
             4 * (4 * half + root + 2 * block + 2 * half + received));
  // Ranks with a copy each send each other shards, which are whole groups, for a half of the sum.
  const auto copied = gpu::make_sharding_plan(model, {1, 2});
  const std::uint64_t whole =
      std::max(copied.groups[0].shard_elements, copied.groups[1].shard_elements);
  const std::uint64_t all =
      copied.groups[0].shard_elements + model.num_layers * copied.groups[1].shard_elements;
  BOOST_TEST(gpu::trained_state_bytes(copied) == 4 * (4 * all + whole + whole / 2));
}

BOOST_AUTO_TEST_CASE(what_is_left_goes_to_batches) {
  const auto budget = gpu::share_device({.bytes = 1000, .states = 100});
  BOOST_REQUIRE(budget.has_value());
  BOOST_TEST(budget->batch == 800U);
  BOOST_TEST(budget->kept == 400U);
  BOOST_TEST(budget->logits == 100U);
}

BOOST_AUTO_TEST_CASE(a_state_that_does_not_fit_is_refused_with_its_size) {
  const auto refused = gpu::share_device({.bytes = 1000, .states = 900});
  BOOST_REQUIRE(!refused.has_value());
  BOOST_TEST((refused.error().code == errc::no_capacity));
  BOOST_TEST(refused.error().what.find("need 900 bytes") != std::string::npos);
  BOOST_TEST(refused.error().what.find("has 1000") != std::string::npos);
  BOOST_TEST(gpu::share_device({.bytes = 1000, .states = 899}).has_value());
}

BOOST_AUTO_TEST_CASE(sharers_get_equal_parts_of_what_is_left) {
  const auto first = gpu::share_device({.bytes = 1000, .states = 100, .sharers = 4});
  BOOST_TEST(first->batch == 200U);
  // A larger state of the second leaves less to it than its part.
  const auto second =
      gpu::share_device({.bytes = 1000, .states = 650, .granted = 200, .sharers = 4});
  BOOST_TEST(second->batch == 50U);
  BOOST_TEST(
      !gpu::share_device({.bytes = 1000, .states = 700, .granted = 200, .sharers = 4}).has_value());
}

}  // namespace
