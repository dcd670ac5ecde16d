#include "apps/support/checkpoint_diff.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <utility>

namespace troupe::apps {
namespace {

/// Elements compared at once.
constexpr std::uint64_t piece_elements = 1024 * 1024;

struct sums {
  double difference = 0;
  double first = 0;
};

void add_piece(std::span<const float> a, std::span<const float> b, tensor_difference& out,
               sums& squares) {
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (std::bit_cast<std::uint32_t>(a[i]) != std::bit_cast<std::uint32_t>(b[i])) ++out.changed;
    const double distance = static_cast<double>(b[i]) - static_cast<double>(a[i]);
    out.largest = std::max(out.largest, std::abs(distance));
    squares.difference += distance * distance;
    squares.first += static_cast<double>(a[i]) * static_cast<double>(a[i]);
  }
}

}  // namespace

result<std::vector<tensor_difference>> compare_checkpoints(checkpoint_tensors& a,
                                                           checkpoint_tensors& b) {
  const auto same = [](const parameter_spec& x, const parameter_spec& y) {
    return x.name == y.name && x.shape == y.shape;
  };
  if (!std::ranges::equal(a.layout(), b.layout(), same))
    return fail(errc::invalid_argument, "the checkpoints hold different parameters",
                "they are of different models, or one holds adapters only",
                "compare two checkpoints of one model and one kind of training");
  std::vector<tensor_difference> all;
  std::vector<float> left, right;
  for (std::uint32_t p = 0; p < a.layout().size(); ++p) {
    tensor_difference out;
    out.parameter = a.layout()[p].name;
    out.elements = a.layout()[p].num_elements();
    sums squares;
    for (std::uint64_t begin = 0; begin < out.elements; begin += piece_elements) {
      const auto size = static_cast<std::size_t>(std::min(piece_elements, out.elements - begin));
      left.resize(size);
      right.resize(size);
      if (auto got = a.read(p, begin, left); !got) return fail(got.error());
      if (auto got = b.read(p, begin, right); !got) return fail(got.error());
      add_piece(left, right, out, squares);
    }
    if (squares.first > 0) out.relative = std::sqrt(squares.difference / squares.first);
    all.push_back(std::move(out));
  }
  return all;
}

}  // namespace troupe::apps
