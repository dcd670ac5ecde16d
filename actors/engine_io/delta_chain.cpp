#include "actors/engine_io/delta_chain.hpp"

#include <utility>

namespace troupe::actors {
namespace {

result<std::vector<std::byte>> read_blob(storage::blob_store& blobs, const checkpoint_file& file) {
  auto reader = blobs.open(file.blob);
  if (!reader) return fail(reader.error());
  if ((*reader)->size() != file.bytes) {
    return fail(errc::corrupt, "blob " + file.blob.value + " has another size than its record",
                "the storage folder was damaged", "sync a base checkpoint");
  }
  std::vector<std::byte> bytes(file.bytes);
  if (auto got = (*reader)->read(0, bytes); !got) return fail(got.error());
  return bytes;
}

/// The delta onto `state`, which then has the digest that its chunks add up to.
result<void> bring_forward(storage::blob_store& blobs, const checkpoint_manifest& delta,
                           storage::delta_walk& walk, bf16_state& state) {
  for (const checkpoint_file& file : delta.files) {
    const auto bytes = read_blob(blobs, file);
    if (!bytes) return fail(bytes.error());
    const auto change = walk.apply(*bytes);
    if (!change) return fail(change.error());
    state.add_to_digest(*change);
  }
  return {};
}

}  // namespace

result<std::vector<storage::decoded_chunk>> decode_checkpoint(storage::blob_store& blobs,
                                                              const checkpoint_manifest& delta,
                                                              bf16_state& live) {
  std::vector<storage::decoded_chunk> all;
  const auto read_live = [&live](std::uint32_t parameter, std::uint64_t begin,
                                 std::span<std::uint16_t> out) {
    return live.read({parameter, begin, begin + out.size()}, out);
  };
  for (const checkpoint_file& file : delta.files) {
    auto bytes = read_blob(blobs, file);
    if (!bytes) return fail(bytes.error());
    auto chunks = storage::decode_delta(*bytes, read_live);
    if (!chunks) return fail(chunks.error());
    for (auto& chunk : *chunks)
      all.push_back(std::move(chunk));
  }
  return all;
}

result<void> load_chain(storage::blob_store& blobs, const std::vector<checkpoint_record>& chain,
                        bf16_state& state) {
  const auto elements = [&state](std::uint32_t parameter, std::uint64_t begin,
                                 std::uint64_t count) {
    return state.elements({parameter, begin, begin + count});
  };
  storage::delta_walk walk(elements);
  for (const checkpoint_record& record : chain) {
    const bool is_base = record.manifest.kind == checkpoint_kind::sampler_base;
    if (is_base) {
      if (auto loaded = load_base(blobs, record.manifest, state); !loaded) return loaded;
      walk = storage::delta_walk(elements);
    } else {
      if (state.digest() != record.manifest.parent_state) {
        return fail(errc::wrong_base, "delta " + record.id.value + " was made from another state",
                    "its chain is broken", "sync a base checkpoint");
      }
      if (auto moved = bring_forward(blobs, record.manifest, walk, state); !moved) return moved;
    }
    if (state.digest() != record.manifest.state) {
      return fail(errc::corrupt, "checkpoint " + record.id.value + " does not give its own state",
                  "a blob was damaged", "sync a base checkpoint");
    }
  }
  return {};
}

}  // namespace troupe::actors
