#pragma once

// Reads what make_goldens.py wrote. A missing or short file fails the running test.
//
// Threading: values.

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "messages/ids.hpp"
#include "messages/model.hpp"
#include "messages/training.hpp"

namespace troupe::test {

struct golden_generation {
  std::vector<token_id> prompt;
  std::vector<token_id> tokens;
};

struct golden_case {
  std::filesystem::path model_directory;
  std::vector<std::vector<datum>> batches;
  std::vector<float> logprobs;   ///< of batch 0
  std::vector<float> gradients;  ///< of batch 0, in layout order
  std::vector<float> trained;    ///< parameters after the steps of make_goldens.py
  std::vector<golden_generation> greedy;
};

[[nodiscard]] golden_case read_golden_case(const std::string& name);

/// One flat file of a case.
[[nodiscard]] std::vector<float> read_golden_floats(const std::string& name,
                                                    const std::string& file);
[[nodiscard]] std::vector<token_id> read_golden_tokens(const std::string& name,
                                                       const std::string& file);

/// sqrt(sum (a - b)^2) / sqrt(sum b^2).
[[nodiscard]] double relative_distance(std::span<const float> a, std::span<const float> b);

}  // namespace troupe::test
