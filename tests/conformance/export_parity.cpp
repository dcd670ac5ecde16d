// Full models exported in several files, for check_hf_export.py to load in transformers: written
// from trained weights, with the config.json of this project and with the one of their origin.

#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include <boost/test/data/test_case.hpp>
#include <boost/test/unit_test.hpp>

#include "gpu/comm/thread_comm.hpp"
#include "gpu/models/parameter_layout.hpp"
#include "storage/hf_directory.hpp"
#include "tests/conformance/engine_memory.hpp"
#include "tests/conformance/golden_model.hpp"
#include "tests/conformance/parity_checks.hpp"

namespace {

using namespace troupe;
using gpu::state_part;

constexpr std::uint64_t file_bytes_max = 20'000;

const auto cases = boost::unit_test::data::make(
    {"tied", "untied", "llama", "llama_plain", "qwen2", "experts", "shards_llama"});

class memory_reader final : public storage::tensor_reader {
 public:
  explicit memory_reader(test::model_memory& memory) : memory_(memory) {}
  result<void> read(std::uint32_t parameter, std::uint64_t begin, std::span<float> out) override {
    return memory_.read(state_part::weights, {parameter, begin, begin + out.size()}, out);
  }

 private:
  test::model_memory& memory_;
};

std::unique_ptr<gpu::trainer_engine> make_trainer(const model_config& model,
                                                  test::model_memory& weights) {
  return test::make_loaded_trainer(model, weights, std::move(gpu::make_thread_comms(1).front()));
}

void write_logprobs(const std::filesystem::path& path, gpu::trainer_engine& trainer,
                    const std::vector<datum>& batch) {
  const auto forward = trainer.forward(1, batch, retention::discard);
  BOOST_REQUIRE(forward.has_value());
  const std::vector<float> logprobs = test::joined(forward->logprobs);
  std::ofstream file(path, std::ios::binary);
  const void* const bytes = logprobs.data();
  file.write(static_cast<const char*>(bytes),
             static_cast<std::streamsize>(logprobs.size() * sizeof(float)));
  BOOST_REQUIRE(file.good());
}

struct kind {
  dtype type;
  const char* folder;
  bool keeps_config;
};

}  // namespace

BOOST_DATA_TEST_CASE(models_are_exported_in_files, cases, name) {
  auto [golden, model, weights] = test::read_golden_model(name);
  auto trainer = make_trainer(model, weights);
  test::take_golden_steps(golden, *trainer);
  test::model_memory trained(model);
  BOOST_REQUIRE(trainer->save(trained).has_value());
  memory_reader reader(trained);
  for (const kind& each :
       {kind{dtype::f32, "exported_f32", false}, kind{dtype::bf16, "exported_bf16", true}}) {
    const auto folder = golden.model_directory.parent_path() / each.folder;
    std::filesystem::remove_all(folder);
    const std::string origin = each.keeps_config ? golden.model_directory.string() : "";
    const storage::hf_export target{folder.string(), origin, model, each.type, file_bytes_max};
    BOOST_REQUIRE(storage::write_hf_directory(target, gpu::parameter_layout(model), reader));
    BOOST_TEST(std::filesystem::exists(folder / "model.safetensors.index.json"));
    auto [again, exported] = test::read_model_directory(folder);
    BOOST_TEST((again == model));
    write_logprobs(folder / "logprobs.f32", *make_trainer(again, exported), golden.batches[0]);
  }
}
