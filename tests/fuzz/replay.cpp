#include <random>

#include <boost/test/unit_test.hpp>

#include "tests/fuzz/fuzz_target.hpp"

using troupe::fuzz::input;

namespace {

// std::mt19937_64 gives the same numbers everywhere, which its distributions do not.
void mutate(input& bytes, std::mt19937_64& random) {
  const std::size_t at = random() % bytes.size();
  switch (random() % 4) {
    case 0:
      bytes[at] = static_cast<std::uint8_t>(bytes[at] ^ (1U << (random() % 8)));
      break;
    case 1:
      bytes[at] = static_cast<std::uint8_t>(random());
      break;
    case 2:
      bytes.resize(1 + at);
      break;
    default:
      bytes.insert(bytes.begin() + static_cast<std::ptrdiff_t>(at), 8, bytes[at]);
      break;
  }
}

}  // namespace

BOOST_AUTO_TEST_CASE(seeds_do_no_harm) {
  const auto seeds = troupe::fuzz::seed_inputs();
  BOOST_TEST(!seeds.empty());
  for (const input& seed : seeds)
    BOOST_TEST(LLVMFuzzerTestOneInput(seed.data(), seed.size()) == 0);
}

BOOST_AUTO_TEST_CASE(mutated_seeds_do_no_harm) {
  std::mt19937_64 random(1);
  for (input bytes : troupe::fuzz::seed_inputs()) {
    for (int round = 0; round < 8; ++round) {
      mutate(bytes, random);
      BOOST_TEST(LLVMFuzzerTestOneInput(bytes.data(), bytes.size()) == 0);
    }
  }
}
