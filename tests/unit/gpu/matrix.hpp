#pragma once

// Small matrices for tests of products.
//
// Shapes: row-major. Threading: pure functions.

#include <cstddef>
#include <random>
#include <vector>

namespace troupe::test {

struct matrix {
  std::size_t rows, columns;
  std::vector<float> values;

  float& at(std::size_t row, std::size_t column) { return values[row * columns + column]; }
  float at(std::size_t row, std::size_t column) const { return values[row * columns + column]; }
};

inline matrix zeros(std::size_t rows, std::size_t columns) {
  return {rows, columns, std::vector<float>(rows * columns)};
}

inline matrix normal_matrix(std::size_t rows, std::size_t columns, std::mt19937& random) {
  std::normal_distribution<float> normal;
  matrix m = zeros(rows, columns);
  for (float& value : m.values)
    value = normal(random);
  return m;
}

inline matrix transposed(const matrix& m) {
  matrix t = zeros(m.columns, m.rows);
  for (std::size_t row = 0; row < m.rows; ++row)
    for (std::size_t column = 0; column < m.columns; ++column)
      t.at(column, row) = m.at(row, column);
  return t;
}

}  // namespace troupe::test
