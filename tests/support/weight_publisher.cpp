#include "tests/support/weight_publisher.hpp"

#include <algorithm>
#include <stdexcept>
#include <string>
#include <utility>

#include "messages/state_digest.hpp"
#include "storage/slice_file.hpp"
#include "storage/weight_delta.hpp"

namespace troupe::tests {

namespace {

template <class T>
T required(result<T> value) {
  if (!value) throw std::runtime_error(to_string(value.error()));
  if constexpr (!std::is_void_v<T>) return std::move(*value);
}

state_digest digest_of(const std::vector<weight_publisher::bits_of_parameter>& bits) {
  state_digest digest;
  for (std::uint32_t p = 0; p < bits.size(); ++p)
    add_elements(digest, p, 0, std::span<const std::uint16_t>(bits[p]));
  return digest;
}

}  // namespace

weight_publisher::weight_publisher(actors::opened_model& model, storage::blob_store& blobs)
    : blobs_(blobs) {
  manifest_.model = model.files->config();
  actors::hf_source source(model);
  for (std::uint32_t p = 0; p < model.layout.size(); ++p) {
    std::vector<float> values(model.layout[p].num_elements());
    required(source.read(gpu::state_part::weights, {p, 0, values.size()}, values));
    auto& bits = bits_.emplace_back(values.size());
    std::transform(values.begin(), values.end(), bits.begin(), actors::to_bf16);
  }
  digest_ = digest_of(bits_);
}

checkpoint_record weight_publisher::record_of(checkpoint_kind kind,
                                              const storage::blob_info& blob) {
  // As long as an identity, and another one each time.
  std::string id = std::to_string(++num_records_);
  id.insert(0, 64 - id.size(), '0');
  checkpoint_record record{checkpoint_id{id}, manifest_};
  record.manifest.kind = kind;
  record.manifest.state = digest_;
  record.manifest.files = {{blob.blob, blob.bytes, 0}};
  return record;
}

checkpoint_record weight_publisher::base() {
  std::vector<storage::slice_entry> entries;
  for (std::uint32_t p = 0; p < bits_.size(); ++p)
    entries.push_back({storage::slice_part::weights, p, 0, bits_[p].size()});
  auto writer = required(storage::slice_writer::create(blobs_, dtype::bf16, std::move(entries)));
  for (const auto& bits : bits_)
    required(writer.append(std::span<const std::uint16_t>(bits)));
  return record_of(checkpoint_kind::sampler_base, required(writer.commit()));
}

checkpoint_record weight_publisher::delta(const std::function<void(bits_of_parameter&)>& change) {
  const auto before = bits_;
  std::vector<storage::slice_change> changes;
  for (std::uint32_t p = 0; p < bits_.size(); ++p) {
    change(bits_[p]);
    changes.push_back({p, 0, before[p], bits_[p]});
  }
  const state_digest parent = std::exchange(digest_, digest_of(bits_));
  const auto encoded = required(storage::encode_delta(changes));
  num_changed_ = encoded.stats.num_changed;
  auto writer = required(blobs_.create());
  required(writer->append(encoded.file));
  auto record = record_of(checkpoint_kind::sampler_delta, required(writer->commit()));
  record.manifest.parent_state = parent;
  return record;
}

result<void> weight_publisher::read(const gpu::parameter_slice& slice,
                                    std::span<std::uint16_t> out) {
  std::copy_n(bits_[slice.parameter].begin() + static_cast<std::ptrdiff_t>(slice.begin), out.size(),
              out.begin());
  return {};
}

std::vector<gpu::parameter_slice> weight_publisher::slices() const {
  std::vector<gpu::parameter_slice> out;
  for (std::uint32_t p = 0; p < bits_.size(); ++p)
    out.push_back({p, 0, bits_[p].size()});
  return out;
}

}  // namespace troupe::tests
