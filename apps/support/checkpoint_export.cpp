#include "apps/support/checkpoint_export.hpp"

#include "actors/engine_io/delta_chain.hpp"
#include "actors/engine_io/parameter_files.hpp"
#include "gpu/models/adapters.hpp"
#include "gpu/models/parameter_layout.hpp"
#include "storage/hf_directory.hpp"
#include "storage/peft_directory.hpp"
#include "storage/slice_file.hpp"

namespace troupe::apps {
namespace {

class training_reader final : public storage::tensor_reader {
 public:
  training_reader(storage::slice_reader& slices, std::uint32_t first)
      : slices_(slices), first_(first) {}
  result<void> read(std::uint32_t parameter, std::uint64_t begin, std::span<float> out) override {
    return slices_.read(storage::slice_part::weights, first_ + parameter, begin, out);
  }

 private:
  storage::slice_reader& slices_;
  const std::uint32_t first_;  ///< index of the layout's first parameter in the checkpoint
};

class sampler_reader final : public storage::tensor_reader {
 public:
  explicit sampler_reader(actors::bf16_state& state) : state_(state) {}
  result<void> read(std::uint32_t parameter, std::uint64_t begin, std::span<float> out) override {
    std::vector<std::uint16_t> bits(out.size());
    if (auto ok = state_.read({parameter, begin, begin + out.size()}, bits); !ok) return ok;
    for (std::size_t i = 0; i < out.size(); ++i)
      out[i] = actors::from_bf16(bits[i]);
    return {};
  }

 private:
  actors::bf16_state& state_;
};

std::vector<gpu::parameter_slice> whole_model(const std::vector<parameter_spec>& layout) {
  std::vector<gpu::parameter_slice> out;
  for (std::uint32_t i = 0; i < layout.size(); ++i)
    out.push_back({i, 0, layout[i].num_elements()});
  return out;
}

}  // namespace

const char* name_of(checkpoint_kind kind) {
  switch (kind) {
    case checkpoint_kind::training:
      return "training";
    case checkpoint_kind::snapshot:
      return "snapshot";
    case checkpoint_kind::sampler_base:
      return "base";
    case checkpoint_kind::sampler_delta:
      return "delta";
  }
  return "unknown";
}

result<void> export_checkpoint(storage::blob_store& blobs,
                               const std::vector<checkpoint_record>& chain,
                               const std::string& directory) {
  if (chain.empty()) return fail(errc::not_found, "the checkpoint has no chain");
  const checkpoint_manifest& wanted = chain.back().manifest;
  const auto layout = gpu::parameter_layout(wanted.model);
  storage::hf_export target;
  target.directory = directory;
  target.copy_files_from = wanted.model_directory;
  target.config = wanted.model;
  const bool is_training =
      wanted.kind == checkpoint_kind::training || wanted.kind == checkpoint_kind::snapshot;
  if (is_training) {
    auto slices = storage::slice_reader::open(blobs, wanted.files,
                                              storage::slice_reader::verification::contents);
    if (!slices) return fail(slices.error());
    target.type = dtype::f32;
    if (wanted.lora) {
      training_reader adapters(*slices, static_cast<std::uint32_t>(layout.size()));
      return storage::write_peft_directory({directory, wanted.model_directory, *wanted.lora},
                                           gpu::adapter_layout(wanted.model, *wanted.lora),
                                           adapters);
    }
    training_reader reader(*slices, 0);
    return storage::write_hf_directory(target, layout, reader);
  }
  actors::bf16_state state(whole_model(layout));
  if (auto ok = actors::load_chain(blobs, chain, state); !ok) return ok;
  if (state.digest() != wanted.state) {
    return fail(errc::corrupt, "the exported state has not the digest of its checkpoint",
                "a blob was damaged", "export an earlier checkpoint");
  }
  target.type = dtype::bf16;
  sampler_reader reader(state);
  return storage::write_hf_directory(target, layout, reader);
}

}  // namespace troupe::apps
