#include "actors/engine_io/adapter_files.hpp"

#include <algorithm>
#include <utility>

#include "messages/state_digest.hpp"

namespace troupe::actors {
namespace {

/// Takes the weights of what an engine saves, leaves its moments.
class weights_sink final : public gpu::parameter_sink {
 public:
  explicit weights_sink(storage::slice_writer& writer) : writer_(writer) {}
  result<void> write(gpu::state_part part, const gpu::parameter_slice&,
                     std::span<const float> values) override {
    return part == gpu::state_part::weights ? writer_.append(values) : result<void>{};
  }

 private:
  storage::slice_writer& writer_;
};

}  // namespace

result<bf16_state> read_directory(opened_model& model) {
  const auto slices = whole_model(model.layout);
  bf16_state state(slices);
  hf_source files(model);
  for (const auto& slice : slices) {
    std::vector<float> values(slice.num_elements());
    auto got = files.read(gpu::state_part::weights, slice, values);
    if (!got) return fail(got.error());
    std::vector<std::uint16_t> bits(values.size());
    std::ranges::transform(values, bits.begin(), to_bf16);
    if (auto put = state.write(slice, bits); !put) return fail(put.error());
  }
  state.refresh_digest();
  return state;
}

result<adapter_base> open_base(const checkpoint_manifest& adapter) {
  auto model = open_model({adapter.model_directory});
  if (!model) return fail(model.error());
  auto weights = read_directory(*model);
  if (!weights) return fail(weights.error());
  if (weights->digest() != adapter.parent_state)
    return fail(errc::wrong_base, adapter.model_directory + " is not the base of the adapter",
                "its files were changed since the adapter was trained", "put the old ones back");
  return adapter_base{std::move(*model), std::move(*weights)};
}

adapter_values::adapter_values(const model_config& model, const lora_config& lora)
    : lora_(lora), adapters_(gpu::adapters_of(model, lora)) {}

result<adapter_values> adapter_values::load(storage::blob_store& blobs,
                                            const checkpoint_manifest& manifest) {
  if (!manifest.lora) return fail(errc::corrupt, "an adapter's record does not say its rank");
  if (auto ok = gpu::validate(manifest.model, *manifest.lora); !ok) return fail(ok.error());
  using verification = storage::slice_reader::verification;
  auto reader = storage::slice_reader::open(blobs, manifest.files, verification::contents);
  if (!reader) return fail(reader.error());
  adapter_values out(manifest.model, *manifest.lora);
  state_digest digest = manifest.parent_state;
  const auto read = [&](std::uint32_t parameter, std::uint64_t elements) -> result<void> {
    std::vector<float>& values = out.values_[parameter];
    values.resize(elements);
    auto got = reader->read(storage::slice_part::weights, parameter, 0, std::span<float>(values));
    if (got) add_elements(digest, parameter, 0, std::span<const float>(values));
    return got;
  };
  for (const gpu::adapter& each : out.adapters_) {
    if (auto ok = read(each.a, out.lora_.rank * each.inputs); !ok) return fail(ok.error());
    if (auto ok = read(each.b, out.lora_.rank * each.outputs); !ok) return fail(ok.error());
  }
  if (digest == manifest.state) return out;
  return fail(errc::corrupt, "the adapters do not give the state that their record promises",
              "a blob was damaged", "publish the run's weights again");
}

result<void> adapter_values::read(gpu::state_part part, const gpu::parameter_slice& slice,
                                  std::span<float> out) {
  const auto found = values_.find(slice.parameter);
  if (part != gpu::state_part::weights || found == values_.end() ||
      slice.end > found->second.size())
    return fail(errc::internal, "a slice outside of the adapters was read");
  std::copy_n(found->second.begin() + static_cast<std::ptrdiff_t>(slice.begin), out.size(),
              out.begin());
  return {};
}

void adapter_values::merge(const gpu::parameter_slice& slice, std::span<float> values) const {
  const auto found = std::ranges::find(adapters_, slice.parameter, &gpu::adapter::matrix);
  if (found == adapters_.end()) return;
  const std::vector<float>& a = values_.at(found->a);
  const std::vector<float>& b = values_.at(found->b);
  const auto scale = static_cast<float>(lora_.alpha / lora_.rank);
  std::vector<float> change(found->inputs);
  for (std::uint64_t row = slice.begin / found->inputs; row * found->inputs < slice.end; ++row) {
    std::ranges::fill(change, 0.0F);
    for (std::uint64_t r = 0; r < lora_.rank; ++r) {
      const float factor = b[row * lora_.rank + r];
      const float* const from = a.data() + r * found->inputs;
      for (std::uint64_t i = 0; i < found->inputs; ++i)
        change[i] += factor * from[i];
    }
    const std::uint64_t first = std::max(slice.begin, row * found->inputs);
    const std::uint64_t last = std::min(slice.end, (row + 1) * found->inputs);
    for (std::uint64_t i = first; i < last; ++i)
      values[i - slice.begin] += scale * change[i - row * found->inputs];
  }
}

result<storage::blob_info> write_adapters(storage::blob_store& blobs,
                                          const std::vector<gpu::parameter_slice>& slices,
                                          const gpu::trainer_engine& engine) {
  std::vector<storage::slice_entry> entries;
  for (const auto& s : slices)
    entries.push_back({storage::slice_part::weights, s.parameter, s.begin, s.end});
  auto writer = storage::slice_writer::create(blobs, dtype::f32, std::move(entries));
  if (!writer) return fail(writer.error());
  weights_sink sink(*writer);
  if (auto saved = engine.save(sink); !saved) return fail(saved.error());
  return writer->commit();
}

}  // namespace troupe::actors
