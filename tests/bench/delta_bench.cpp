// Size and speed of weight deltas on one core, against the entropy bound of independent changes and
// against what is usually sent: the XOR of both states under zstd -1.
//
// States are bf16 roundings of N(0, 0.02) weights before and after a step of N(0, s), the model in
// which the goals are stated. One line of JSON per step size.

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <map>
#include <random>
#include <vector>

#include <zstd.h>

#include "storage/delta_chunk.hpp"
#include "storage/float_formats.hpp"
#include "storage/weight_delta.hpp"

namespace {

using namespace troupe;
using namespace troupe::storage;
using bits = std::vector<std::uint16_t>;

constexpr std::size_t num_elements = std::size_t{16} << 20;
constexpr int repeats = 3;

struct states {
  bits before;
  bits after;
};

states make_states(double step_size) {
  std::mt19937_64 random(42);
  std::normal_distribution<float> weights(0.0F, 0.02F);
  std::normal_distribution<float> steps(0.0F, static_cast<float>(step_size));
  states made{bits(num_elements), bits(num_elements)};
  for (std::size_t i = 0; i < num_elements; ++i) {
    const float weight = weights(random);
    made.before[i] = bf16_from_float(weight);
    made.after[i] = bf16_from_float(weight + steps(random));
  }
  return made;
}

/// Bits per element that positions and steps carry when elements change independently.
double bound_bits(const states& s, double share) {
  std::map<int, std::uint64_t> counts;
  std::uint64_t total = 0;
  for (std::size_t i = 0; i < num_elements; ++i) {
    if (s.before[i] == s.after[i]) continue;
    ++counts[int{ordinal_of(s.after[i])} - int{ordinal_of(s.before[i])}];
    ++total;
  }
  double step_entropy = 0;
  for (const auto& [step, count] : counts) {
    const double p = static_cast<double>(count) / static_cast<double>(total);
    step_entropy -= p * std::log2(p);
  }
  const double position_entropy = -share * std::log2(share) - (1 - share) * std::log2(1 - share);
  return position_entropy + share * step_entropy;
}

double xor_zstd_bytes(const states& s) {
  bits flipped(num_elements);
  std::transform(
      s.before.begin(), s.before.end(), s.after.begin(), flipped.begin(),
      [](std::uint16_t a, std::uint16_t b) { return static_cast<std::uint16_t>(a ^ b); });
  std::vector<char> packed(ZSTD_compressBound(2 * num_elements));
  return static_cast<double>(
      ZSTD_compress(packed.data(), packed.size(), flipped.data(), 2 * num_elements, 1));
}

/// Best of a few runs, in seconds.
template <class Work>
double best_seconds(const Work& work) {
  double best = 1e9;
  for (int i = 0; i < repeats; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    work();
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begin;
    best = std::min(best, taken.count());
  }
  return best;
}

void apply_chunks(const std::vector<decoded_chunk>& chunks, bits& live) {
  for (const decoded_chunk& chunk : chunks) {
    for (std::size_t i = 0; i < chunk.elements.size(); ++i)
      live[chunk.elements[i]] = chunk.bits[i];
  }
}

int run(double step_size) {
  const states s = make_states(step_size);
  const slice_change change{0, 0, s.before, s.after};
  encoded_delta encoded;
  const double encode_s = best_seconds([&] { encoded = encode_delta({&change, 1}).value(); });
  bits live;
  const state_reader reader = [&](std::uint32_t, std::uint64_t begin,
                                  std::span<std::uint16_t> out) -> result<void> {
    std::memcpy(out.data(), live.data() + begin, out.size_bytes());
    return {};
  };
  double decode_s = 1e9;
  for (int i = 0; i < repeats; ++i) {
    live = s.before;
    const auto begin = std::chrono::steady_clock::now();
    apply_chunks(decode_delta(encoded.file, reader).value(), live);
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - begin;
    decode_s = std::min(decode_s, taken.count());
  }
  if (live != s.after) {
    std::fprintf(stderr, "the delta is not exact\n");
    return 1;
  }
  const double raw = 2.0 * num_elements;
  const double bytes = static_cast<double>(encoded.stats.bytes);
  const double share = static_cast<double>(encoded.stats.num_changed) / num_elements;
  const double bound = bound_bits(s, share) * num_elements / 8;
  std::printf(
      "{\"step\": %g, \"changed_share\": %.5f, \"ratio\": %.1f, \"bound_ratio\": %.1f, "
      "\"size_over_bound\": %.3f, \"xor_zstd_over_size\": %.2f, \"encode_gb_per_s\": %.2f, "
      "\"decode_apply_gb_per_s\": %.2f}\n",
      step_size, share, raw / bytes, raw / bound, bytes / bound, xor_zstd_bytes(s) / bytes,
      raw / encode_s / 1e9, raw / decode_s / 1e9);
  return 0;
}

}  // namespace

int main() {
  int failures = 0;
  for (const double step_size : {3e-7, 1e-6, 3e-6, 1e-5})
    failures += run(step_size);
  return failures;
}
