#pragma once

// Deterministic values that fill every field of a message with something that is valid, not a
// default and different from its neighbours, so that a swapped or forgotten field shows.
//
// Threading: one object, one thread. Invariants: equal seeds give equal values on every machine.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "messages/ids.hpp"
#include "messages/model.hpp"

namespace troupe::test {

class value_source {
 public:
  explicit value_source(std::uint64_t seed) : seed_(seed), state_(seed + 1) {}

  /// What was given; picks the variant of a message that has several.
  [[nodiscard]] std::uint64_t seed() const { return seed_; }

  std::uint64_t word();
  std::uint64_t below(std::uint64_t limit) { return word() % limit; }
  std::uint32_t small() { return static_cast<std::uint32_t>(1 + below(60)); }
  bool flag() { return (word() & 1U) != 0; }
  /// In [0.001, 1), exact in a float.
  double fraction();
  float real() { return static_cast<float>(fraction()) * (flag() ? 8.0F : -8.0F); }

  template <class Enum>
  Enum pick(Enum last) {
    return static_cast<Enum>(below(static_cast<std::uint64_t>(last) + 1));
  }

  std::string name();
  std::string hash();
  std::string prose();
  std::string path();
  std::string bytes(std::size_t count);
  std::vector<token_id> tokens(std::size_t count);
  std::vector<float> reals(std::size_t count);
  std::vector<std::vector<float>> real_lists(std::size_t count);
  std::vector<std::pair<std::string, double>> numbers(std::size_t count);
  state_digest digest() { return {word(), word()}; }
  model_config model();
  lora_config lora();

 private:
  std::uint64_t seed_;
  std::uint64_t state_;
};

}  // namespace troupe::test
