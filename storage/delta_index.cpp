#include "storage/delta_index.hpp"

#include <algorithm>
#include <array>
#include <span>
#include <tuple>
#include <utility>

namespace troupe::storage {

namespace {

tl::unexpected<error> damaged(const char* what) {
  return fail(errc::corrupt, std::string("a delta file ") + what, "the storage folder was damaged",
              "sync a base checkpoint");
}

auto order_of(const delta_index::entry& chunk) {
  return std::tuple(chunk.parameter, chunk.first_element, chunk.delta);
}

}  // namespace

result<delta_index> delta_index::open(blob_store& blobs,
                                      const std::vector<checkpoint_record>& deltas) {
  delta_index index;
  for (std::uint32_t delta = 0; delta < deltas.size(); ++delta) {
    for (const checkpoint_file& file : deltas[delta].manifest.files) {
      auto reader = blobs.open(file.blob);
      if (!reader) return fail(reader.error());
      if (auto added = index.add(delta, std::move(*reader)); !added) return fail(added.error());
    }
  }
  std::sort(index.chunks_.begin(), index.chunks_.end(),
            [](const entry& a, const entry& b) { return order_of(a) < order_of(b); });
  return index;
}

result<void> delta_index::add(std::uint32_t delta, std::unique_ptr<blob_reader> reader) {
  std::array<std::byte, sizeof(delta_file_header)> start{};
  const std::uint64_t file_bytes = reader->size();
  if (file_bytes < start.size()) return damaged("ends inside its header");
  if (auto got = reader->read(0, start); !got) return got;
  const auto header = read_file_header(start, file_bytes);
  if (!header) return fail(header.error());
  std::array<std::byte, chunk_header_bytes(1)> room{};
  const std::span<std::byte> place(room.data(), chunk_header_bytes(header->version));
  std::uint64_t offset = start.size();
  for (std::uint32_t i = 0; i < header->num_chunks; ++i) {
    if (file_bytes - offset < place.size()) return damaged("ends inside a chunk");
    if (auto got = reader->read(offset, place); !got) return got;
    const auto chunk = read_chunk_header(place, header->version);
    if (!chunk) return fail(chunk.error());
    const std::uint64_t bytes = place.size() + chunk->payload_bytes;
    if (file_bytes - offset < bytes) return damaged("ends inside a chunk");
    chunks_.push_back({chunk->parameter, chunk->num_elements, chunk->first_element, delta,
                       static_cast<std::uint32_t>(files_.size()), offset,
                       static_cast<std::uint32_t>(bytes)});
    offset += bytes;
  }
  if (offset != file_bytes) return damaged("has bytes behind its last chunk");
  files_.push_back({std::move(reader), header->version});
  return {};
}

result<delta_chunk> delta_index::read(const entry& chunk) {
  open_file& file = files_[chunk.file];
  buffer_.resize(chunk.bytes);
  if (auto got = file.reader->read(chunk.offset, buffer_); !got) return fail(got.error());
  return read_chunk(buffer_, file.version);
}

}  // namespace troupe::storage
