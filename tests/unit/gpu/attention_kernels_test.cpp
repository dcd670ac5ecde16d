// Every attention of a processor, and its gradients, against plain sums in double.

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include <boost/test/data/test_case.hpp>
#include <boost/test/unit_test.hpp>

#include "gpu/kernels/cpu_fp16.hpp"
#include "gpu/kernels/cpu_kernels.hpp"

namespace {

using namespace troupe::gpu;
using kernels::attention_task;

struct implementation {
  std::string name;
  void (*forward)(const attention_task& task);
  void (*backward)(const attention_task& task);
  std::size_t (*scratch)(std::size_t length, std::size_t head_dim);
  double tolerance;  ///< of a whole result, relative
};

std::vector<implementation> implementations() {
  std::vector<implementation> all;
  for (std::size_t i = 0; i < kernels::num_tables(); ++i) {
    const kernels::cpu_kernels& cpu = kernels::table(i);
    all.push_back(
        {cpu.name, cpu.attention, cpu.attention_backward, &kernels::attention_scratch, 3e-6});
  }
  if (const auto* const halves = kernels::fp16_for_this_cpu())
    all.push_back(
        {"fp16", halves->attention, halves->attention_backward, halves->attention_scratch, 5e-3});
  return all;
}

constexpr std::size_t num_heads = 2;
constexpr double gap = -7;  ///< what stands between rows, and has to stay

/// One key head and the query heads that share it, with room between rows.
struct sequence {
  std::size_t length, dim;
  std::vector<float> q, k, v, up;  ///< rows of `stride`
  std::vector<float> out, lse, q_gradient, k_gradient, v_gradient;

  std::size_t stride() const { return num_heads * dim + 3; }
};

sequence draw(std::size_t length, std::size_t dim, float size) {
  std::mt19937 random(static_cast<std::uint32_t>(length * 131 + dim));
  std::normal_distribution<float> normal;
  sequence s{length, dim, {}, {}, {}, {}, {}, {}, {}, {}, {}};
  const std::size_t count = length * s.stride();
  for (auto* const values : {&s.q, &s.k, &s.v, &s.up}) {
    values->resize(count);
    std::ranges::generate(*values, [&] { return normal(random); });
  }
  for (float& value : s.q)
    value *= size;
  for (auto* const values : {&s.out, &s.q_gradient, &s.k_gradient, &s.v_gradient})
    values->assign(count, static_cast<float>(gap));
  s.lse.resize(length * num_heads);
  return s;
}

void run(const implementation& cpu, sequence& s) {
  std::vector<float> scratch(cpu.scratch(s.length, s.dim));
  attention_task task;
  task.length = s.length;
  task.head_dim = s.dim;
  task.num_query_heads = num_heads;
  task.scale = 1 / std::sqrt(static_cast<float>(s.dim));
  task.q = s.q.data();
  task.k = s.k.data();
  task.v = s.v.data();
  task.q_stride = task.k_stride = task.v_stride = task.out_stride = task.gradient_stride =
      s.stride();
  task.out = s.out.data();
  task.lse = s.lse.data();
  task.lse_stride = num_heads;
  task.scratch = scratch.data();
  cpu.forward(task);
  task.out_gradient = s.up.data();
  task.q_gradient = s.q_gradient.data();
  task.k_gradient = s.k_gradient.data();
  task.v_gradient = s.v_gradient.data();
  cpu.backward(task);
}

/// What all of it should be, laid out likewise.
struct plain_results {
  std::vector<double> out, lse, q_gradient, k_gradient, v_gradient;
};

double wide(float x) {
  return static_cast<double>(x);
}

double dot(std::size_t count, const float* a, const float* b) {
  double sum = 0;
  for (std::size_t i = 0; i < count; ++i)
    sum += wide(a[i]) * wide(b[i]);
  return sum;
}

void add_row(const sequence& s, std::size_t row, std::size_t head, plain_results& to) {
  const std::size_t at = row * s.stride() + head * s.dim;
  const double scale = 1 / std::sqrt(static_cast<double>(s.dim));
  std::vector<double> p(row + 1);
  for (std::size_t key = 0; key <= row; ++key)
    p[key] = dot(s.dim, &s.q[at], &s.k[key * s.stride()]) * scale;
  const double most = *std::ranges::max_element(p);
  double sum = 0;
  for (double& score : p)
    sum += score = std::exp(score - most);
  to.lse[row * num_heads + head] = most + std::log(sum);
  double shared = 0;
  for (std::size_t key = 0; key <= row; ++key) {
    p[key] /= sum;
    shared += p[key] * dot(s.dim, &s.up[at], &s.v[key * s.stride()]);
  }
  for (std::size_t key = 0; key <= row; ++key) {
    const std::size_t of_key = key * s.stride();
    const double g = p[key] * (dot(s.dim, &s.up[at], &s.v[of_key]) - shared) * scale;
    for (std::size_t i = 0; i < s.dim; ++i) {
      to.out[at + i] += p[key] * wide(s.v[of_key + i]);
      to.q_gradient[at + i] += g * wide(s.k[of_key + i]);
      to.k_gradient[of_key + i] += g * wide(s.q[at + i]);
      to.v_gradient[of_key + i] += p[key] * wide(s.up[at + i]);
    }
  }
}

plain_results expected(const sequence& s) {
  const std::vector<double> none(s.q.size());
  plain_results all{none, std::vector<double>(s.lse.size()), none, none, none};
  for (std::size_t row = 0; row < s.length; ++row)
    for (std::size_t head = 0; head < num_heads; ++head)
      add_row(s, row, head, all);
  return all;
}

/// Distance of rows of `width`, relative to what is wanted; what stands between rows is as it was.
double distance(const sequence& s, std::size_t width, const std::vector<float>& actual,
                const std::vector<double>& wanted) {
  double off = 0;
  double all = 1e-12;
  for (std::size_t i = 0; i < actual.size(); ++i) {
    if (i % s.stride() >= width) {
      BOOST_REQUIRE(wide(actual[i]) == gap);
      continue;
    }
    off += std::pow(wide(actual[i]) - wanted[i], 2);
    all += wanted[i] * wanted[i];
  }
  return std::sqrt(off / all);
}

void check(const implementation& cpu, sequence s, double tolerance) {
  run(cpu, s);
  const plain_results wanted = expected(s);
  const std::size_t all_heads = num_heads * s.dim;
  BOOST_TEST_CONTEXT(cpu.name << ", length " << s.length << ", head_dim " << s.dim) {
    BOOST_TEST(distance(s, all_heads, s.out, wanted.out) < tolerance);
    BOOST_TEST(distance(s, all_heads, s.q_gradient, wanted.q_gradient) < tolerance);
    BOOST_TEST(distance(s, s.dim, s.k_gradient, wanted.k_gradient) < tolerance);
    BOOST_TEST(distance(s, s.dim, s.v_gradient, wanted.v_gradient) < tolerance);
    for (std::size_t i = 0; i < s.lse.size(); ++i)
      BOOST_REQUIRE(std::abs(wide(s.lse[i]) - wanted.lse[i]) < tolerance * 4);
  }
}

/// Lengths around tiles, blocks of sums and panels, and beyond the keys that are taken at a time.
const auto lengths = boost::unit_test::data::make({2, 12, 13, 31, 33, 96, 97, 130, 260, 1000});

BOOST_DATA_TEST_CASE(outputs_and_gradients_are_those_of_plain_sums, lengths, length) {
  for (const implementation& cpu : implementations())
    for (const std::size_t dim : {8U, 40U, 64U, 128U})
      if (length < 300 || dim < 40)
        check(cpu, draw(static_cast<std::size_t>(length), dim, 1), cpu.tolerance);
}

BOOST_AUTO_TEST_CASE(few_keys_may_have_all_of_the_weight) {
  for (const implementation& cpu : implementations())
    check(cpu, draw(150, 32, 8), cpu.tolerance * 8);
}

BOOST_AUTO_TEST_CASE(one_row_gives_its_value_and_no_gradient_of_scores) {
  for (const implementation& cpu : implementations()) {
    sequence s = draw(1, 64, 1);
    run(cpu, s);
    for (std::size_t i = 0; i < num_heads * s.dim; ++i) {
      BOOST_TEST(std::abs(s.out[i] - s.v[i % s.dim]) < 2e-3F);
      BOOST_TEST(std::abs(s.q_gradient[i]) < 5e-3F);
    }
  }
}

BOOST_AUTO_TEST_CASE(sizes_of_gradients_do_not_matter) {
  for (const implementation& cpu : implementations())
    for (const float size : {1e-12F, 1e12F}) {
      sequence s = draw(50, 32, 1);
      sequence scaled = s;
      for (float& value : scaled.up)
        value *= std::exp2(std::round(std::log2(size)));
      run(cpu, s);
      run(cpu, scaled);
      for (std::size_t i = 0; i < s.q.size(); ++i)
        if (i % s.stride() < num_heads * s.dim)
          BOOST_REQUIRE(scaled.q_gradient[i] ==
                        s.q_gradient[i] * std::exp2(std::round(std::log2(size))));
    }
}

BOOST_AUTO_TEST_CASE(what_is_no_number_reaches_those_who_see_it_alone) {
  for (const implementation& cpu : implementations()) {
    sequence s = draw(40, 16, 1);
    for (std::size_t i = 0; i < s.dim; ++i)
      s.k[20 * s.stride() + i] = std::numeric_limits<float>::quiet_NaN();
    run(cpu, s);
    for (std::size_t row = 0; row < s.length; ++row)
      BOOST_TEST(std::isnan(s.out[row * s.stride()]) == (row >= 20));
  }
}

}  // namespace
