#pragma once

// A golden case and the weights that it begins with, as its model directory has them; and what any
// model directory has.
//
// Threading: of the running test, whose checks these are.

#include <filesystem>
#include <string>
#include <utility>

#include <boost/test/unit_test.hpp>

#include "gpu/models/parameter_layout.hpp"
#include "storage/hf_directory.hpp"
#include "tests/conformance/engine_memory.hpp"
#include "tests/conformance/golden_case.hpp"

namespace troupe::test {

struct golden_model {
  golden_case golden;
  model_config model;
  model_memory weights;
};

struct directory_model {
  model_config model;
  model_memory weights;
};

inline directory_model read_model_directory(const std::filesystem::path& path) {
  auto directory = storage::open_hf_directory(path);
  BOOST_REQUIRE(directory.has_value());
  const model_config model = (*directory)->config();
  BOOST_REQUIRE(gpu::validate(model).has_value());
  const auto layout = gpu::parameter_layout(model);
  BOOST_REQUIRE((*directory)->check_layout(layout).has_value());
  model_memory memory(model);
  for (std::size_t p = 0; p < layout.size(); ++p) {
    auto& values = memory.parameters(gpu::state_part::weights)[p];
    BOOST_REQUIRE((*directory)->read(layout[p].name, 0, values).has_value());
  }
  return {model, std::move(memory)};
}

inline golden_model read_golden_model(const std::string& name) {
  golden_case golden = read_golden_case(name);
  auto [model, weights] = read_model_directory(golden.model_directory);
  return {std::move(golden), model, std::move(weights)};
}

}  // namespace troupe::test
