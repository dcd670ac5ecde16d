#include "tests/conformance/golden_case.hpp"

#include <cmath>
#include <fstream>
#include <stdexcept>

namespace troupe::test {
namespace {

template <class T>
std::vector<T> read_values(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  if (!file) throw std::runtime_error("missing golden " + path.string());
  std::vector<T> values(static_cast<std::size_t>(file.tellg()) / sizeof(T));
  file.seekg(0);
  void* const bytes = values.data();
  file.read(static_cast<char*>(bytes), static_cast<std::streamsize>(values.size() * sizeof(T)));
  if (!file || values.empty()) throw std::runtime_error("short golden " + path.string());
  return values;
}

/// Takes numbers one after the other; running out throws.
class number_stream {
 public:
  explicit number_stream(std::vector<std::int32_t> numbers) : numbers_(std::move(numbers)) {}

  std::size_t count() { return static_cast<std::size_t>(numbers_.at(at_++)); }
  std::vector<token_id> tokens(std::size_t length) {
    std::vector<token_id> out;
    for (std::size_t i = 0; i < length; ++i)
      out.push_back(numbers_.at(at_++));
    return out;
  }

 private:
  std::vector<std::int32_t> numbers_;
  std::size_t at_ = 0;
};

std::vector<std::vector<datum>> read_batches(const std::filesystem::path& folder) {
  number_stream numbers(read_values<std::int32_t>(folder / "batches.i32"));
  const std::vector<float> weights = read_values<float>(folder / "weights.f32");
  std::size_t used = 0;
  std::vector<std::vector<datum>> batches(numbers.count());
  for (auto& batch : batches) {
    batch.resize(numbers.count());
    for (datum& data : batch) {
      const std::size_t length = numbers.count();
      data.tokens = numbers.tokens(length);
      data.target_tokens = numbers.tokens(length);
      for (std::size_t i = 0; i < length; ++i)
        data.weights.push_back(weights.at(used++));
    }
  }
  return batches;
}

}  // namespace

golden_case read_golden_case(const std::string& name) {
  const std::filesystem::path folder = std::filesystem::path(TROUPE_GOLDENS) / name;
  golden_case golden;
  golden.model_directory = folder / "model";
  golden.batches = read_batches(folder);
  golden.logprobs = read_values<float>(folder / "logprobs.f32");
  golden.gradients = read_values<float>(folder / "gradients.f32");
  golden.trained = read_values<float>(folder / "trained.f32");
  number_stream numbers(read_values<std::int32_t>(folder / "greedy.i32"));
  golden.greedy.resize(numbers.count());
  for (golden_generation& generation : golden.greedy) {
    generation.prompt = numbers.tokens(numbers.count());
    generation.tokens = numbers.tokens(numbers.count());
  }
  return golden;
}

std::vector<float> read_golden_floats(const std::string& name, const std::string& file) {
  return read_values<float>(std::filesystem::path(TROUPE_GOLDENS) / name / file);
}

std::vector<token_id> read_golden_tokens(const std::string& name, const std::string& file) {
  return read_values<token_id>(std::filesystem::path(TROUPE_GOLDENS) / name / file);
}

double relative_distance(std::span<const float> a, std::span<const float> b) {
  if (a.size() != b.size()) throw std::runtime_error("sizes differ");
  double difference = 0;
  double size = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const auto x = static_cast<double>(a[i]);
    const auto y = static_cast<double>(b[i]);
    difference += (x - y) * (x - y);
    size += y * y;
  }
  // An expert that nothing picks has no gradient on either side.
  return difference == 0 ? 0 : std::sqrt(difference) / std::sqrt(size);
}

}  // namespace troupe::test
