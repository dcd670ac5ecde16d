#include "apps/support/checkpoint_export.hpp"

#include <utility>

#include "actors/engine_io/adapter_files.hpp"
#include "actors/engine_io/delta_chain.hpp"
#include "actors/engine_io/parameter_files.hpp"
#include "gpu/models/adapters.hpp"
#include "gpu/models/parameter_layout.hpp"
#include "storage/hf_directory.hpp"
#include "storage/peft_directory.hpp"
#include "storage/slice_file.hpp"

namespace troupe::apps {
namespace {

/// Hands values on to a writer of directories.
class forwarding_reader final : public storage::tensor_reader {
 public:
  explicit forwarding_reader(checkpoint_tensors& values) : values_(values) {}
  result<void> read(std::uint32_t parameter, std::uint64_t begin, std::span<float> out) override {
    return values_.read(parameter, begin, out);
  }

 private:
  checkpoint_tensors& values_;
};

/// Adapters stand behind the frozen parameters in a checkpoint's numbering.
class training_tensors final : public checkpoint_tensors {
 public:
  training_tensors(storage::slice_reader slices, std::vector<parameter_spec> layout,
                   std::uint32_t first)
      : slices_(std::move(slices)), layout_(std::move(layout)), first_(first) {}
  const std::vector<parameter_spec>& layout() const override { return layout_; }
  result<void> read(std::uint32_t parameter, std::uint64_t begin, std::span<float> out) override {
    return slices_.read(storage::slice_part::weights, first_ + parameter, begin, out);
  }

 private:
  storage::slice_reader slices_;
  const std::vector<parameter_spec> layout_;
  const std::uint32_t first_;
};

class sampler_tensors final : public checkpoint_tensors {
 public:
  sampler_tensors(actors::bf16_state state, std::vector<parameter_spec> layout)
      : state_(std::move(state)), layout_(std::move(layout)) {}
  const std::vector<parameter_spec>& layout() const override { return layout_; }
  result<void> read(std::uint32_t parameter, std::uint64_t begin, std::span<float> out) override {
    std::vector<std::uint16_t> bits(out.size());
    if (auto ok = state_.read({parameter, begin, begin + out.size()}, bits); !ok) return ok;
    for (std::size_t i = 0; i < out.size(); ++i)
      out[i] = actors::from_bf16(bits[i]);
    return {};
  }

 private:
  actors::bf16_state state_;
  const std::vector<parameter_spec> layout_;
};

/// What adapters make of the base they stand on.
class merged_tensors final : public checkpoint_tensors {
 public:
  merged_tensors(actors::opened_model base, actors::adapter_values adapters)
      : base_(std::move(base)), adapters_(std::move(adapters)) {}
  const std::vector<parameter_spec>& layout() const override { return base_.layout; }
  result<void> read(std::uint32_t parameter, std::uint64_t begin, std::span<float> out) override {
    const gpu::parameter_slice slice{parameter, begin, begin + out.size()};
    actors::hf_source files(base_);
    if (auto ok = files.read(gpu::state_part::weights, slice, out); !ok) return ok;
    adapters_.merge(slice, out);
    return {};
  }

 private:
  actors::opened_model base_;
  actors::adapter_values adapters_;
};

result<std::unique_ptr<checkpoint_tensors>> open_merged(storage::blob_store& blobs,
                                                        const checkpoint_manifest& manifest) {
  auto base = actors::open_base(manifest);
  if (!base) return fail(base.error());
  auto adapters = actors::adapter_values::load(blobs, manifest);
  if (!adapters) return fail(adapters.error());
  return std::make_unique<merged_tensors>(std::move(base->model), std::move(*adapters));
}

bool is_training(checkpoint_kind kind) {
  return kind == checkpoint_kind::training || kind == checkpoint_kind::snapshot;
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
    case checkpoint_kind::sampler_adapter:
      return "adapter";
  }
  return "unknown";
}

result<std::unique_ptr<checkpoint_tensors>> open_checkpoint(
    storage::blob_store& blobs, const std::vector<checkpoint_record>& chain) {
  if (chain.empty()) return fail(errc::not_found, "the checkpoint has no chain");
  const checkpoint_manifest& wanted = chain.back().manifest;
  if (wanted.kind == checkpoint_kind::sampler_adapter) return open_merged(blobs, wanted);
  auto layout = gpu::parameter_layout(wanted.model);
  if (is_training(wanted.kind)) {
    auto slices = storage::slice_reader::open(blobs, wanted.files,
                                              storage::slice_reader::verification::contents);
    if (!slices) return fail(slices.error());
    const auto num_frozen = static_cast<std::uint32_t>(wanted.lora ? layout.size() : 0);
    if (wanted.lora) layout = gpu::adapter_layout(wanted.model, *wanted.lora);
    return std::make_unique<training_tensors>(std::move(*slices), std::move(layout), num_frozen);
  }
  actors::bf16_state state(actors::whole_model(layout));
  if (auto ok = actors::load_chain(blobs, chain, state); !ok) return fail(ok.error());
  return std::make_unique<sampler_tensors>(std::move(state), std::move(layout));
}

result<void> export_checkpoint(storage::blob_store& blobs,
                               const std::vector<checkpoint_record>& chain,
                               const std::string& directory) {
  auto values = open_checkpoint(blobs, chain);
  if (!values) return fail(values.error());
  const checkpoint_manifest& wanted = chain.back().manifest;
  forwarding_reader reader(**values);
  if (is_training(wanted.kind) && wanted.lora) {
    return storage::write_peft_directory({directory, wanted.model_directory, *wanted.lora},
                                         (*values)->layout(), reader);
  }
  storage::hf_export target;
  target.directory = directory;
  target.copy_files_from = wanted.model_directory;
  target.config = wanted.model;
  target.type = is_training(wanted.kind) ? dtype::f32 : dtype::bf16;
  return storage::write_hf_directory(target, (*values)->layout(), reader);
}

}  // namespace troupe::apps
