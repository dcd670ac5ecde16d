// The heap of tensors: blocks are apart, freed ones serve any sizes, and no more than a bound stays
// with the process.

#include "gpu/reusing_heap.hpp"

#include <algorithm>
#include <array>
#include <cstdint>
#include <random>
#include <utility>
#include <vector>

#include <boost/test/unit_test.hpp>
#include <sys/mman.h>
#include <unistd.h>

#include "config/limits.hpp"

namespace {

using namespace troupe;
using limits::mebibyte;

struct filled_block {
  std::uint8_t* bytes;
  std::size_t size;
  std::uint8_t mark;

  bool is_intact() const {
    return std::all_of(bytes, bytes + size, [&](std::uint8_t byte) { return byte == mark; });
  }
};

/// What lies `offset` into a block.
std::uint8_t* within(void* block, std::size_t offset) {
  return static_cast<std::uint8_t*>(block) + offset;
}

BOOST_AUTO_TEST_CASE(blocks_are_apart_and_aligned) {
  gpu::reusing_heap heap(mebibyte);
  std::mt19937 random(1);
  std::vector<filled_block> blocks;
  for (unsigned round = 0; round < 3000; ++round) {
    if (blocks.size() < 40 && random() % 3 != 0) {
      const std::size_t size = 1 + random() % (std::size_t{1} << (random() % 20));
      blocks.push_back({within(heap.allocate(size), 0), size, static_cast<std::uint8_t>(round)});
      BOOST_TEST_REQUIRE(reinterpret_cast<std::uintptr_t>(blocks.back().bytes) % 64 == 0U);
      std::fill_n(blocks.back().bytes, size, blocks.back().mark);
    } else if (!blocks.empty()) {
      std::swap(blocks[random() % blocks.size()], blocks.back());
      BOOST_TEST_REQUIRE(blocks.back().is_intact());
      heap.free(blocks.back().bytes);
      blocks.pop_back();
    }
  }
  for (const filled_block& block : blocks) {
    BOOST_TEST(block.is_intact());
    heap.free(block.bytes);
  }
}

BOOST_AUTO_TEST_CASE(freed_neighbours_serve_other_sizes) {
  gpu::reusing_heap heap(64 * mebibyte);
  void* const first = heap.allocate(4 * mebibyte);
  void* const second = heap.allocate(4 * mebibyte);
  void* const guard = heap.allocate(4 * mebibyte);
  BOOST_TEST_REQUIRE(first < second);
  heap.free(first);
  heap.free(second);
  const std::array<void*, 3> others{heap.allocate(5 * mebibyte), heap.allocate(mebibyte),
                                    heap.allocate(mebibyte)};
  for (void* const other : others) {
    BOOST_TEST((other >= first && other < within(first, 8 * mebibyte)));
    heap.free(other);
  }
  heap.free(guard);
}

bool is_resident(const std::uint8_t* at) {
  const auto page = static_cast<std::uintptr_t>(sysconf(_SC_PAGESIZE));
  const std::uintptr_t begin = reinterpret_cast<std::uintptr_t>(at) / page * page;
  unsigned char answer = 0;
  BOOST_TEST_REQUIRE(mincore(reinterpret_cast<void*>(begin), 1, &answer) == 0);
  return (answer & 1U) != 0;
}

BOOST_AUTO_TEST_CASE(what_is_kept_has_a_bound) {
  constexpr std::size_t size = 16 * mebibyte;
  gpu::reusing_heap heap(5 * size / 2);
  std::array<void*, 3> blocks{heap.allocate(size), heap.allocate(size), heap.allocate(size)};
  const auto are_resident = [&] {
    std::array<bool, 3> answers{};
    std::ranges::transform(blocks, answers.begin(),
                           [](void* block) { return is_resident(within(block, size / 2)); });
    return answers;
  };
  for (void* const block : blocks)
    std::fill_n(within(block, 0), size, std::uint8_t{1});
  BOOST_TEST((are_resident() == std::array{true, true, true}));
  for (void* const block : blocks)
    heap.free(block);
  BOOST_TEST((are_resident() == std::array{true, true, false}));
  // What was taken again may be kept again.
  std::ranges::generate(blocks, [&] { return heap.allocate(size); });
  for (void* const block : blocks)
    std::fill_n(within(block, 0), size, std::uint8_t{1});
  heap.free(blocks[2]);
  BOOST_TEST((are_resident() == std::array{true, true, true}));
  heap.free(blocks[0]);
  heap.free(blocks[1]);
}

}  // namespace
