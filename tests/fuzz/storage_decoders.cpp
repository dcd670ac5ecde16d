#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>

#include "storage/delta_chunk.hpp"
#include "storage/hf_config.hpp"
#include "storage/safetensors_header.hpp"
#include "storage/slice_name.hpp"
#include "tests/fuzz/fuzz_target.hpp"

// An input is one byte that picks the decoder, and what it decodes. The checksums of a delta file
// would stop every mutation, so its chunks are decoded directly.

using namespace troupe;
using namespace troupe::storage;

namespace {

constexpr std::uint8_t pick_header = 0;
constexpr std::uint8_t pick_config = 1;
constexpr std::uint8_t pick_slice_name = 2;
constexpr std::uint8_t pick_chunk = 3;
constexpr std::uint8_t num_picks = pick_chunk + num_delta_codecs;

void require(bool holds) {
  if (!holds) std::abort();
}

/// An accepted header covers its file, and what is written from it is accepted as the same.
void try_header(std::string_view text) {
  constexpr std::uint64_t data_bytes = 64;
  const std::uint64_t file_bytes = safetensors_length_bytes + text.size() + data_bytes;
  const auto header = parse_safetensors_header(text, file_bytes, "input");
  if (!header) return;
  std::uint64_t position = 0;
  for (const safetensors_entry& entry : header->entries) {
    require(entry.begin == position && entry.begin <= entry.end);
    position = entry.end;
  }
  require(position == data_bytes);
  const auto written = write_safetensors_header(header->entries, {});
  require(written.has_value());
  const auto again =
      parse_safetensors_header(std::string_view(*written).substr(safetensors_length_bytes),
                               written->size() + data_bytes, "input");
  require(again && again->entries.size() == header->entries.size());
}

void try_config(std::string_view text) {
  const auto config = parse_hf_config(text, "input");
  if (!config) return;
  const auto again = parse_hf_config(write_hf_config(config->model, config->weights), "input");
  require(again && again->model == config->model && again->weights == config->weights);
}

void try_slice_name(std::string_view name) {
  const auto entry = parse_slice_name(name);
  if (entry) require(slice_name(*entry) == name);
}

std::vector<std::uint16_t> chunk_before() {
  std::mt19937 random(1);
  std::vector<std::uint16_t> before(5000);
  for (std::uint16_t& bits : before)
    bits = static_cast<std::uint16_t>(random());
  return before;
}

/// Accepted changes are ascending, inside the chunk, real, and survive being encoded again.
void try_chunk(delta_codec codec, std::span<const std::byte> input) {
  if (input.size() < 3) return;
  const auto shift = static_cast<std::uint8_t>(std::to_integer<unsigned>(input[0]) % 8);
  const auto count =
      std::to_integer<std::uint32_t>(input[1]) | std::to_integer<std::uint32_t>(input[2]) << 8;
  const std::vector<std::uint16_t> before = chunk_before();
  decoded_changes read;
  if (!decode_chunk({codec, shift, 0, count}, input.subspan(3), before, read)) return;
  require(read.elements.size() == count);
  std::vector<std::uint16_t> after = before;
  for (std::size_t i = 0; i < count; ++i) {
    require(read.elements[i] < before.size() &&
            (i == 0 || read.elements[i - 1] < read.elements[i]));
    require(read.before[i] == before[read.elements[i]] && read.before[i] != read.after[i]);
    after[read.elements[i]] = read.after[i];
  }
  if (count == 0) return;
  chunk_changes room;
  const coded_chunk coded = encode_chunk(before, after, room);
  require(coded.num_changed == count);
  decoded_changes again;
  require(decode_chunk({coded.codec, coded.step_shift, 0, count}, coded.payload, before, again)
              .has_value());
  require(again.elements == read.elements && again.after == read.after);
}

fuzz::input picked(std::uint8_t pick, std::span<const std::byte> bytes) {
  fuzz::input seed(1 + bytes.size());
  seed[0] = pick;
  if (!bytes.empty()) std::memcpy(seed.data() + 1, bytes.data(), bytes.size());
  return seed;
}

fuzz::input picked(std::uint8_t pick, std::string_view text) {
  return picked(pick, std::as_bytes(std::span(text)));
}

/// A chunk whose changes are of the kind that makes some codec the smallest.
fuzz::input chunk_seed(unsigned kind) {
  const std::vector<std::uint16_t> before = chunk_before();
  std::vector<std::uint16_t> after = before;
  std::mt19937 random(kind);
  for (std::size_t i = 0; i < before.size(); ++i) {
    if (kind < 3 && random() % 40 != 0) continue;
    if (kind == 3 && random() % 2 != 0) continue;
    if (kind == 0) after[i] = from_ordinal(static_cast<std::uint16_t>(ordinal_of(before[i]) ^ 1U));
    if (kind == 1) after[i] = static_cast<std::uint16_t>(before[i] ^ (1U << (random() % 16)));
    if (kind >= 2) after[i] = static_cast<std::uint16_t>(random());
    if (kind == 5)
      after[i] = from_ordinal(static_cast<std::uint16_t>(ordinal_of(before[i]) + random() % 8));
  }
  chunk_changes room;
  const coded_chunk coded = encode_chunk(before, after, room);
  const std::size_t count = coded.num_changed;
  std::vector<std::byte> bytes = {static_cast<std::byte>(coded.step_shift),
                                  static_cast<std::byte>(count),
                                  static_cast<std::byte>(count >> 8)};
  bytes.insert(bytes.end(), coded.payload.begin(), coded.payload.end());
  return picked(static_cast<std::uint8_t>(pick_chunk + static_cast<std::uint8_t>(coded.codec)),
                bytes);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::span<const std::byte> bytes = std::as_bytes(std::span(data + 1, size - 1));
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  const auto pick = static_cast<std::uint8_t>(data[0] % num_picks);
  if (pick == pick_header) try_header(text);
  if (pick == pick_config) try_config(text);
  if (pick == pick_slice_name) try_slice_name(text);
  if (pick >= pick_chunk) try_chunk(static_cast<delta_codec>(pick - pick_chunk), bytes);
  return 0;
}

namespace troupe::fuzz {

std::vector<input> seed_inputs() {
  std::vector<input> inputs;
  const auto header =
      write_safetensors_header({{"a", "F32", {2, 4}, 0, 32}, {"b", "BF16", {16}, 32, 64}}, {});
  require(header.has_value());
  inputs.push_back(picked(pick_header, std::string_view(*header).substr(safetensors_length_bytes)));
  model_config model;
  model.vocab_size = model.hidden_size = model.intermediate_size = 64;
  model.num_layers = model.num_heads = model.num_kv_heads = 2;
  model.head_dim = 16;
  model.max_positions = 128;
  inputs.push_back(picked(pick_config, write_hf_config(model, dtype::bf16)));
  model.family = model_family::llama;
  model.rope = {rope_kind::llama3, 8, 1, 4, 64};
  inputs.push_back(picked(pick_config, write_hf_config(model, dtype::f32)));
  inputs.push_back(picked(pick_config, R"({"model_type": "qwen2", "hidden_size": 8,
    "intermediate_size": 8, "num_attention_heads": 2, "num_hidden_layers": 1, "vocab_size": 9,
    "num_key_value_heads": null, "layer_types": ["full_attention"], "rope_theta": 1e4,
    "rope_scaling": {"type": "default"}, "rope_parameters": {"rope_theta": 10000}})"));
  inputs.push_back(picked(pick_slice_name, "exp_avg_sq/12/345"));
  for (const unsigned kind : {0U, 1U, 2U, 3U, 4U, 5U})
    inputs.push_back(chunk_seed(kind));
  return inputs;
}

}  // namespace troupe::fuzz
