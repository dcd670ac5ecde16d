#pragma once

// What engine_bench measures, as files: for each workload one folder with the model as a Hugging
// Face directory and one JSON file with the batch and the numbers of AdamW. The engine and
// engine_baseline.py both read it, so that they do the same work and their results can be compared.
//
// Every position counts with weight 1: transformers computes all of them, and the engine leaves out
// what has weight 0.
//
// Units: lengths are tokens. Threading: each object belongs to one thread.
// Errors: what cannot be written or read ends the program (give_up.hpp).

#include <memory>
#include <string>
#include <vector>

#include "gpu/parameter_io.hpp"
#include "messages/model.hpp"
#include "messages/training.hpp"
#include "storage/hf_directory.hpp"

namespace troupe::bench {

struct workload {
  std::string name;
  std::uint32_t hidden = 0;
  std::uint32_t layers = 0;
  std::uint32_t vocabulary = 0;
  std::vector<std::size_t> lengths;

  [[nodiscard]] bool is_mixed() const;  ///< lengths differ
};

/// Those that are measured when none is named.
[[nodiscard]] std::vector<workload> measured_workloads();

/// One of those, or one of two tiny ones that test the benchmark.
[[nodiscard]] workload workload_named(const std::string& name);

/// Into an empty folder.
void write_work(const workload& work, const std::string& folder);

/// What write_work wrote. Weights are read when they are loaded: a copy beside the engine's would
/// count as its memory.
class work_files final : public gpu::parameter_source {
 public:
  explicit work_files(const std::string& folder);

  result<void> read(gpu::state_part part, const gpu::parameter_slice& slice,
                    std::span<float> out) override;

  [[nodiscard]] const model_config& model() const { return files_->config(); }
  [[nodiscard]] const std::vector<datum>& batch() const { return batch_; }
  [[nodiscard]] const adam_params& adam() const { return adam_; }

 private:
  std::unique_ptr<storage::hf_directory> files_;
  std::vector<parameter_spec> layout_;
  std::vector<datum> batch_;
  adam_params adam_;
};

}  // namespace troupe::bench
