#include "apps/loops/arithmetic_task.hpp"

#include <algorithm>

namespace troupe::loops {
namespace {

constexpr std::size_t num_digits = 4;
constexpr std::string_view opening = "max(";

/// FNV-1a: stable over machines and versions, unlike std::hash.
std::uint64_t stable_hash(std::string_view text) {
  std::uint64_t hash = 0xcbf29ce484222325ULL;
  for (const char c : text)
    hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
  return hash ^ (hash >> 32U);
}

}  // namespace

task_split split_of(std::string_view prompt) {
  return stable_hash(prompt) % 5 == 0 ? task_split::held_out : task_split::train;
}

std::uint64_t arithmetic_task::draw(std::uint64_t bound) {
  // splitmix64 (Steele, Lea, Flood 2014)
  state_ += 0x9e3779b97f4a7c15ULL;
  std::uint64_t x = state_;
  x = (x ^ (x >> 30U)) * 0xbf58476d1ce4e5b9ULL;
  x = (x ^ (x >> 27U)) * 0x94d049bb133111ebULL;
  return (x ^ (x >> 31U)) % bound;
}

question arithmetic_task::next() {
  for (;;) {
    std::string prompt(opening);
    char largest = '0';
    for (std::size_t i = 0; i < num_digits; ++i) {
      const char digit = static_cast<char>('0' + draw(10));
      largest = std::max(largest, digit);
      if (i > 0) prompt += ',';
      prompt += digit;
    }
    prompt += ")=";
    if (split_of(prompt) == split_) return {prompt, std::string(1, largest) + "\n"};
  }
}

std::string arithmetic_task::demonstration(const question& asked) {
  const std::size_t place = opening.size() + 2 * static_cast<std::size_t>(draw(num_digits));
  return std::string(1, asked.prompt[place]) + "\n";
}

double reward_of(const question& asked, std::string_view answer) {
  return asked.answer == answer ? 1.0 : 0.0;
}

}  // namespace troupe::loops
