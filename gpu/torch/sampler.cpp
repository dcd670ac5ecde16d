#include "gpu/torch/sampler.hpp"

#include <algorithm>
#include <cstring>
#include <list>
#include <string>
#include <utility>

#include "config/limits.hpp"
#include "gpu/models/parameter_layout.hpp"
#include "gpu/token_choice.hpp"
#include "gpu/torch/boundary.hpp"
#include "gpu/torch/decoder.hpp"

namespace troupe::gpu {
namespace {

/// Rows that run through the model at once, and logits that exist at once.
constexpr std::size_t chunk_rows_max = 1024;
constexpr std::size_t chunk_logits_max = 16 * 1024 * 1024;

/// Elements of a parameter read at once; whole rows are not needed.
constexpr std::uint64_t load_elements = 1024 * 1024;

struct active_sequence {
  sequence_start start;
  std::vector<token_id> tokens;  ///< prompt and what was decoded
  std::size_t num_cached = 0;
  sequence_cache cache;

  std::size_t num_decoded() const { return tokens.size() - start.prompt.size(); }
};

class torch_sampler final : public sampler_engine {
 public:
  torch_sampler(const model_config& model, std::shared_ptr<thread_pool> threads)
      : threads_(std::move(threads)),
        model_(model),
        layout_(parameter_layout(model)),
        decoder_(model) {}

  result<void> load(bf16_source& source) override {
    return guarded("load", [&]() -> result<void> {
      std::vector<std::uint16_t> bits;
      for (std::uint32_t p = 0; p < layout_.size(); ++p) {
        const std::uint64_t elements = layout_[p].num_elements();
        for (std::uint64_t begin = 0; begin < elements; begin += load_elements) {
          const parameter_slice slice{p, begin, std::min(elements, begin + load_elements)};
          bits.resize(slice.num_elements());
          if (auto ok = source.read(slice, bits); !ok) return ok;
          decoder_.assign(slice, bits);
        }
      }
      return {};
    });
  }

  result<void> patch(std::span<const element_patch> patches) override {
    if (auto ok = check_patches(patches); !ok) return ok;
    for (const element_patch& patch : patches)
      for (std::size_t i = 0; i < patch.elements.size(); ++i)
        decoder_.assign_one(patch.parameter, patch.elements[i], patch.bits[i]);
    return {};
  }

  result<void> admit(sequence_start start) override {
    return guarded("admit", [&]() -> result<void> {
      if (auto ok = check_start(start); !ok) return ok;
      const std::size_t capacity = start.prompt.size() + start.params.max_tokens;
      const std::size_t bytes = sequence_cache::bytes(model_, capacity);
      if (auto ok = check_room(bytes); !ok) return ok;
      std::vector<token_id> tokens = start.prompt;
      tokens.reserve(capacity);
      active_.push_back({std::move(start), std::move(tokens), 0, sequence_cache(model_, capacity)});
      cache_bytes_ += bytes;
      return {};
    });
  }

  void cancel(std::uint64_t sequence) override {
    const auto found = find(sequence);
    if (found != active_.end()) remove(found);
  }

  result<std::vector<decoded_token>> step() override {
    return guarded("a decode step", [&]() -> result<std::vector<decoded_token>> {
      const pool_scope scope(threads_.get());
      if (active_.empty()) return std::vector<decoded_token>{};
      const at::Tensor hidden = run_pending();
      const std::vector<chosen_token> chosen = choose(hidden);
      return append(chosen);
    });
  }

  std::size_t num_active() const override { return active_.size(); }

 private:
  using sequence_list = std::list<active_sequence>;

  sequence_list::iterator find(std::uint64_t sequence) {
    return std::ranges::find_if(
        active_, [sequence](const active_sequence& s) { return s.start.sequence == sequence; });
  }

  sequence_list::iterator remove(sequence_list::iterator which) {
    cache_bytes_ -=
        sequence_cache::bytes(model_, which->start.prompt.size() + which->start.params.max_tokens);
    return active_.erase(which);
  }

  result<void> check_patches(std::span<const element_patch> patches) const {
    for (const element_patch& patch : patches) {
      const bool is_known = patch.parameter < layout_.size();
      const std::uint64_t end = is_known ? layout_[patch.parameter].num_elements() : 0;
      const bool fits =
          patch.elements.size() == patch.bits.size() &&
          std::ranges::all_of(patch.elements, [end](std::uint64_t e) { return e < end; });
      if (!is_known || !fits)
        return fail(
            errc::invalid_argument,
            "a patch of parameter " + std::to_string(patch.parameter) + " does not fit this model",
            "it was made for another model", "sync the deployment from a base");
    }
    return {};
  }

  result<void> check_start(const sequence_start& start) {
    if (auto ok = check_sampling(start.params); !ok) return ok;
    const std::size_t positions = model_.max_positions;
    if (start.prompt.empty() || start.params.max_tokens >= positions ||
        start.prompt.size() > positions - start.params.max_tokens)
      return fail(errc::invalid_argument,
                  "a prompt of " + std::to_string(start.prompt.size()) + " tokens with " +
                      std::to_string(start.params.max_tokens) + " to sample does not fit " +
                      std::to_string(positions) + " positions",
                  "prompt and answer share the model's positions",
                  "shorten the prompt, which needs at least one token, or lower max_tokens");
    for (const token_id token : start.prompt)
      if (token < 0 || static_cast<std::uint32_t>(token) >= model_.vocab_size)
        return fail(errc::invalid_argument,
                    "the prompt contains token " + std::to_string(token) + ", the vocabulary has " +
                        std::to_string(model_.vocab_size),
                    "the text was encoded with another model's tokenizer",
                    "encode it with the tokenizer of this model");
    if (find(start.sequence) != active_.end())
      return fail(errc::already_exists,
                  "sequence " + std::to_string(start.sequence) + " is being decoded", "",
                  "give each sequence its own number");
    return {};
  }

  result<void> check_room(std::size_t bytes) const {
    if (bytes > limits::sampler_cache_bytes_max)
      return fail(errc::invalid_argument,
                  "the sequence needs a cache of " + std::to_string(bytes) + " bytes",
                  "prompt and max_tokens are too long for this machine", "shorten them");
    if (active_.size() >= limits::sampler_active_max ||
        cache_bytes_ + bytes > limits::sampler_cache_bytes_max)
      return fail(errc::busy, std::to_string(active_.size()) + " sequences fill the sampler", "",
                  "try again when some are done");
    return {};
  }

  /// Runs all tokens without a cache entry; hidden rows of each sequence's last token, [S, D].
  at::Tensor run_pending() {
    const std::size_t width = model_.hidden_size;
    at::Tensor last = make_tensor({active_.size(), width});
    std::vector<decoder_row> rows;
    std::vector<std::pair<std::size_t, std::size_t>> ends;  // row in chunk, sequence
    const auto flush = [&] {
      const at::Tensor hidden = decoder_.run(rows);
      for (const auto& [row, index] : ends)
        std::memcpy(values(last) + index * width, values(hidden) + row * width,
                    width * sizeof(float));
      rows.clear();
      ends.clear();
    };
    std::size_t index = 0;
    for (active_sequence& s : active_) {
      for (; s.num_cached < s.tokens.size(); ++s.num_cached) {
        if (rows.size() == chunk_rows_max) flush();
        rows.push_back({s.tokens[s.num_cached], s.num_cached, &s.cache});
      }
      ends.emplace_back(rows.size() - 1, index++);
    }
    flush();
    return last;
  }

  std::vector<chosen_token> choose(const at::Tensor& hidden) {
    std::vector<const active_sequence*> sequences;
    for (const active_sequence& s : active_)
      sequences.push_back(&s);
    std::vector<chosen_token> chosen(sequences.size());
    const std::size_t vocabulary = model_.vocab_size;
    const std::size_t step = std::max<std::size_t>(1, chunk_logits_max / vocabulary);
    for (std::size_t first = 0; first < sequences.size(); first += step) {
      const std::size_t size = std::min(step, sequences.size() - first);
      at::Tensor logits = decoder_.logits(
          hidden.narrow(0, static_cast<std::int64_t>(first), static_cast<std::int64_t>(size)));
      float* const all = values(logits);
      for_ranges(size, 1, [&](std::size_t begin, std::size_t end) {
        for (std::size_t i = begin; i < end; ++i) {
          const active_sequence& s = *sequences[first + i];
          chosen[first + i] =
              choose_token({all + i * vocabulary, vocabulary}, s.start.params,
                           {s.start.params.seed, s.start.sample_index, s.tokens.size()});
        }
      });
    }
    return chosen;
  }

  std::vector<decoded_token> append(const std::vector<chosen_token>& chosen) {
    std::vector<decoded_token> out;
    std::size_t index = 0;
    for (auto s = active_.begin(); s != active_.end();) {
      const chosen_token& next = chosen[index++];
      s->tokens.push_back(next.token);
      const sampling_params& params = s->start.params;
      decoded_token decoded{s->start.sequence, next.token, next.logprob, std::nullopt};
      if (std::ranges::find(params.stop_tokens, next.token) != params.stop_tokens.end()) {
        decoded.finished = stop_reason::stop;
      } else if (s->num_decoded() == params.max_tokens) {
        decoded.finished = stop_reason::length;
      }
      out.push_back(decoded);
      s = decoded.finished ? remove(s) : std::next(s);
    }
    return out;
  }

  const std::shared_ptr<thread_pool> threads_;
  const model_config model_;
  const std::vector<parameter_spec> layout_;
  decoder decoder_;
  sequence_list active_;
  std::size_t cache_bytes_ = 0;
};

}  // namespace

result<std::unique_ptr<sampler_engine>> make_torch_sampler(const model_config& model,
                                                           const engine_resources& resources) {
  return guarded("making a sampler", [&]() -> result<std::unique_ptr<sampler_engine>> {
    return std::make_unique<torch_sampler>(model, resources.threads);
  });
}

}  // namespace troupe::gpu
