#include "gpu/torch/sampler.hpp"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <list>
#include <numeric>
#include <string>
#include <utility>

#include "config/limits.hpp"
#include "gpu/models/parameter_layout.hpp"
#include "gpu/token_choice.hpp"
#include "gpu/torch/boundary.hpp"
#include "gpu/torch/decoder.hpp"
#include "gpu/torch/prefix_cache.hpp"
#include "gpu/torch/prompt_scoring.hpp"

namespace troupe::gpu {
namespace {

/// Rows that run through the model at once.
constexpr std::size_t chunk_rows_max = 1024;

/// Elements of a parameter read at once; whole rows are not needed.
constexpr std::uint64_t load_elements = 1024 * 1024;

/// One more than the tokens fill: a last page that is shared is copied before it is written to.
std::size_t pages_needed(const sequence_start& start) {
  return page_pool::pages_for(start.prompt.size() + start.params.max_tokens) + 1;
}

struct active_sequence {
  sequence_start start;
  std::vector<token_id> tokens;  ///< prompt and what was decoded
  std::size_t num_cached = 0;
  sequence_cache cache;
  std::uint64_t weights = 0;  ///< which computed the first of its cache
  std::uint64_t adapted = 0;  ///< by which adapter then
  bool is_held = false;
  bool is_started = false;  ///< knows what it need not compute
  bool is_remembered = false;
  std::shared_ptr<const std::vector<float>> hidden;  ///< of a prompt that is known completely
  prompt_scores scores;                              ///< handed out with the first token

  std::size_t num_decoded() const { return tokens.size() - start.prompt.size(); }
  std::size_t num_pending() const { return tokens.size() - num_cached; }
  bool is_computing_prompt() const { return is_started && !is_remembered; }
  bool is_scoring() const { return start.wants_scores() && num_decoded() == 0; }
  std::size_t num_missing_pages() const {
    return pages_needed(start) - std::min(pages_needed(start), cache.num_pages());
  }
};

struct torch_staged final : staged_weights {
  std::vector<decoder_weights> whole;  ///< at most one
  std::vector<placed_patch> patches;
};

/// The hidden row of each sequence that is complete in a step, [S, D].
struct complete_rows {
  std::vector<active_sequence*> sequences;
  at::Tensor hidden;
};

/// Rows on their way through the model together.
struct pending_rows {
  std::vector<decoder_row> rows;
  std::vector<std::pair<std::size_t, std::size_t>> ends;  ///< row, place among complete_rows
  std::vector<scored_row> scored;
};

class torch_sampler final : public sampler_engine {
 public:
  torch_sampler(const model_config& model, std::shared_ptr<thread_pool> threads)
      : threads_(std::move(threads)),
        model_(model),
        layout_(parameter_layout(model)),
        decoder_(model),
        pool_(model),
        prefixes_(limits::sampler_prefix_bytes_max / pool_.page_bytes()) {}

  result<std::unique_ptr<staged_weights>> stage(bf16_source& source) const override {
    return guarded("staging weights", [&]() -> result<std::unique_ptr<staged_weights>> {
      auto staged = std::make_unique<torch_staged>();
      decoder_weights& next = staged->whole.emplace_back(layout_);
      std::vector<std::uint16_t> bits;
      for (std::uint32_t p = 0; p < layout_.size(); ++p) {
        const std::uint64_t elements = layout_[p].num_elements();
        for (std::uint64_t begin = 0; begin < elements; begin += load_elements) {
          const parameter_slice slice{p, begin, std::min(elements, begin + load_elements)};
          bits.resize(slice.num_elements());
          if (auto ok = source.read(slice, bits); !ok) return fail(ok.error());
          next.assign(slice, bits);
        }
      }
      return staged;
    });
  }

  result<std::unique_ptr<staged_weights>> stage(
      std::span<const element_patch> patches) const override {
    return guarded("staging a patch", [&]() -> result<std::unique_ptr<staged_weights>> {
      if (auto ok = check_patches(patches); !ok) return fail(ok.error());
      auto staged = std::make_unique<torch_staged>();
      for (const element_patch& patch : patches)
        staged->patches.push_back(decoder_.weights().place(patch));
      return staged;
    });
  }

  result<std::shared_ptr<const sampler_adapter>> stage_adapter(
      const lora_config& lora, parameter_source& source) const override {
    using staged_adapter = result<std::shared_ptr<const sampler_adapter>>;
    return guarded("staging an adapter", [&]() -> staged_adapter {
      if (auto ok = validate(model_, lora); !ok) return fail(ok.error());
      auto read = torch_adapter::read(++last_adapter_, model_, lora, source);
      if (!read) return fail(read.error());
      return *read;
    });
  }

  result<void> commit(staged_weights& staged, cache_policy caches) override {
    return guarded("a commit", [&]() -> result<void> {
      const pool_scope scope(threads_.get());
      auto& next = dynamic_cast<torch_staged&>(staged);
      if (auto ok = check_adapter(next.adapter.get()); !ok) return ok;
      std::swap(deployed_, next.adapter);
      if (next.whole.empty() && next.patches.empty()) return recompute(caches);
      if (!next.whole.empty()) std::swap(decoder_.weights(), next.whole.front());
      for_ranges(next.patches.size(), 1, [&](std::size_t begin, std::size_t end) {
        for (std::size_t i = begin; i < end; ++i)
          decoder_.weights().replace(next.patches[i]);
      });
      ++version_;
      prefixes_.clear();
      return recompute(caches);
    });
  }

  result<void> admit(sequence_start start) override {
    return guarded("admit", [&]() -> result<void> {
      if (auto ok = check_start(start); !ok) return ok;
      if (auto ok = check_room(pages_needed(start)); !ok) return ok;
      active_sequence& added = active_.emplace_back();
      added.tokens = start.prompt;
      added.start = std::move(start);
      return {};
    });
  }

  void cancel(std::uint64_t sequence) override {
    const auto found = find(sequence);
    if (found != active_.end()) active_.erase(found);
  }

  void hold(std::uint64_t sequence) override {
    const auto found = find(sequence);
    if (found != active_.end()) found->is_held = true;
  }

  void resume(std::uint64_t sequence) override {
    const auto found = find(sequence);
    if (found != active_.end()) found->is_held = false;
  }

  result<std::vector<decoded_token>> step() override {
    return guarded("a decode step", [&]() -> result<std::vector<decoded_token>> {
      const pool_scope scope(threads_.get());
      const complete_rows rows = run_pending();
      if (rows.sequences.empty()) return std::vector<decoded_token>{};
      return append(rows.sequences, choose(rows));
    });
  }

  std::size_t num_active() const override { return active_.size(); }
  std::uint64_t num_computed_tokens() const override { return num_computed_; }

  sampler_usage usage() const override {
    const auto held = std::ranges::count_if(active_, &active_sequence::is_held);
    return {static_cast<std::size_t>(held), pool_.num_taken(), prefixes_.num_pages()};
  }

 private:
  using sequence_list = std::list<active_sequence>;

  sequence_list::iterator find(std::uint64_t sequence) {
    return std::ranges::find_if(
        active_, [sequence](const active_sequence& s) { return s.start.sequence == sequence; });
  }

  const torch_adapter* adapter_of(const active_sequence& s) const {
    const auto& adapter = s.start.adapter ? s.start.adapter : deployed_;
    return static_cast<const torch_adapter*>(adapter.get());
  }

  std::uint64_t number_of_adapter(const active_sequence& s) const {
    const torch_adapter* const adapter = adapter_of(s);
    return adapter == nullptr ? 0 : adapter->number();
  }

  /// What sequences computed is forgotten where the policy says so and new weights would differ.
  result<void> recompute(cache_policy caches) {
    if (caches == cache_policy::keep) return {};
    for (active_sequence& s : active_) {
      if (is_of_live_weights(s)) continue;
      s.cache.clear();
      s.hidden.reset();
      s.scores = {};
      s.num_cached = 0;
      s.is_started = s.is_remembered = false;
    }
    return {};
  }

  /// Whether what a sequence has computed is what the live weights would.
  bool is_of_live_weights(const active_sequence& s) const {
    return s.weights == version_ && s.adapted == number_of_adapter(s);
  }

  result<void> check_adapter(const sampler_adapter* adapter) const {
    if (adapter == nullptr) return {};
    const auto* const known = dynamic_cast<const torch_adapter*>(adapter);
    if (known != nullptr && known->fits(model_)) return {};
    return fail(errc::invalid_argument, "the adapter was made for another model",
                "it was staged by another engine", "stage it with this one");
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
    if (auto ok = check_adapter(start.adapter.get()); !ok) return ok;
    const std::size_t positions = model_.max_positions;
    if (start.prompt.empty() || start.params.max_tokens >= positions ||
        start.prompt.size() > positions - start.params.max_tokens)
      return fail(errc::invalid_argument,
                  "a prompt of " + std::to_string(start.prompt.size()) + " tokens with " +
                      std::to_string(start.params.max_tokens) + " to sample does not fit " +
                      std::to_string(positions) + " positions",
                  "prompt and answer share the model's positions",
                  "shorten the prompt, which needs at least one token, or lower max_tokens");
    if (auto ok = check_vocabulary(start.prompt, "the prompt"); !ok) return ok;
    if (auto ok = check_vocabulary(start.prompt_targets, "prompt_targets"); !ok) return ok;
    const std::size_t positions_scored = start.prompt.size() - 1;
    if (!start.prompt_targets.empty() &&
        (positions_scored == 0 || start.prompt_targets.size() % positions_scored != 0))
      return fail(errc::invalid_argument,
                  std::to_string(start.prompt_targets.size()) + " prompt targets do not fit " +
                      std::to_string(positions_scored) + " positions",
                  "each token but the first has equally many", "correct their number");
    if (find(start.sequence) != active_.end())
      return fail(errc::already_exists,
                  "sequence " + std::to_string(start.sequence) + " is being decoded", "",
                  "give each sequence its own number");
    return {};
  }

  result<void> check_vocabulary(const std::vector<token_id>& tokens, const char* what) const {
    for (const token_id token : tokens)
      if (token < 0 || static_cast<std::uint32_t>(token) >= model_.vocab_size)
        return fail(errc::invalid_argument,
                    std::string(what) + " contains token " + std::to_string(token) +
                        ", the vocabulary has " + std::to_string(model_.vocab_size),
                    "the text was encoded with another model's tokenizer",
                    "encode it with the tokenizer of this model");
    return {};
  }

  /// Room for `pages` beside what active sequences may still take; prompts are forgotten for it.
  result<void> check_room(std::size_t pages) {
    const std::size_t pages_max = limits::sampler_cache_bytes_max / pool_.page_bytes();
    if (pages > pages_max)
      return fail(
          errc::invalid_argument,
          "the sequence needs a cache of " + std::to_string(pages * pool_.page_bytes()) + " bytes",
          "prompt and max_tokens are too long for this machine", "shorten them");
    for (const active_sequence& s : active_)
      pages += s.num_missing_pages();
    while (pool_.num_taken() + pages > pages_max && prefixes_.drop_oldest()) {
    }
    if (active_.size() >= limits::sampler_active_max || pool_.num_taken() + pages > pages_max)
      return fail(errc::busy, std::to_string(active_.size()) + " sequences fill the sampler", "",
                  "try again when some are done");
    return {};
  }

  /// Takes over what is known of a sequence's tokens; false while another one computes its prompt.
  bool start_computing(active_sequence& s) {
    prefix_match match;
    if (!s.is_scoring()) match = prefixes_.find(number_of_adapter(s), s.tokens);
    const auto computes_it = [this, &s](const active_sequence& other) {
      return &other != &s && other.is_computing_prompt() && !other.is_held &&
             other.adapted == number_of_adapter(s) && other.start.prompt == s.start.prompt;
    };
    const bool may_wait = !match.hidden && !s.is_scoring();
    if (may_wait && std::ranges::any_of(active_, computes_it)) return false;
    if (!match.hidden && match.num_tokens == s.tokens.size()) {
      match.pages.pop_back();
      match.num_tokens = match.pages.size() * kernels::cache_page;
    }
    for (page_ref& page : match.pages)
      s.cache.append(std::move(page));
    s.num_cached = match.num_tokens;
    s.scores.cached_tokens = static_cast<std::uint32_t>(match.num_tokens);
    s.hidden = std::move(match.hidden);
    s.weights = version_;
    s.adapted = number_of_adapter(s);
    s.is_started = true;
    return true;
  }

  /// A page that others may read is copied before the sequence writes its next token to it.
  void prepare_pages(active_sequence& s, std::size_t end) {
    const std::size_t partial = s.num_cached % kernels::cache_page;
    if (partial != 0 && s.cache.page(s.cache.num_pages() - 1).use_count() > 1)
      s.cache.replace_last(pool_.copy(s.cache.page(s.cache.num_pages() - 1)));
    while (s.cache.num_pages() < page_pool::pages_for(end))
      s.cache.append(pool_.take());
  }

  /// Queues tokens without a cache entry: one of a sequence that decodes, else as many of its
  /// prompt as this step has left.
  void gather(active_sequence& s, std::size_t& prompt_rows_left, pending_rows& pending) {
    const bool decodes = s.num_pending() == 1 && s.num_decoded() > 0;
    const std::size_t size = decodes ? 1 : std::min(s.num_pending(), prompt_rows_left);
    if (!decodes) prompt_rows_left -= size;
    if (size == 0) return;
    prepare_pages(s, s.num_cached + size);
    for (std::size_t i = 0; i < size; ++i, ++s.num_cached) {
      const std::size_t position = s.num_cached;
      const bool is_scored = s.is_scoring() && position + 1 < s.tokens.size();
      if (is_scored)
        pending.scored.push_back({pending.rows.size(), s.tokens[position + 1], adapter_of(s),
                                  position, &s.start, &s.scores});
      pending.rows.push_back({s.tokens[position], position, &s.cache, adapter_of(s), is_scored});
    }
  }

  /// Sorts rows by adapter, so that each adapter's are one run; those of a sequence keep their
  /// order.
  static void bring_together(pending_rows& pending) {
    const auto number = [](const decoder_row& row) {
      return row.adapter == nullptr ? 0 : row.adapter->number();
    };
    if (std::ranges::is_sorted(pending.rows, {}, number)) return;
    std::vector<std::size_t> order(pending.rows.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::ranges::stable_sort(order, {}, [&](std::size_t row) { return number(pending.rows[row]); });
    std::vector<decoder_row> sorted;
    std::vector<std::size_t> place(order.size());
    for (const std::size_t row : order) {
      place[row] = sorted.size();
      sorted.push_back(pending.rows[row]);
    }
    pending.rows = std::move(sorted);
    for (auto& end : pending.ends)
      end.first = place[end.first];
    for (scored_row& row : pending.scored)
      row.row = place[row.row];
  }

  /// Computes what this step computes, in the order of admission.
  complete_rows run_pending() {
    const std::size_t width = model_.hidden_size;
    std::vector<float> hidden;
    complete_rows out;
    pending_rows pending;
    const auto flush = [&] {
      if (pending.rows.empty()) return;
      bring_together(pending);
      const at::Tensor computed = decoder_.run(pending.rows);
      num_computed_ += pending.rows.size();
      for (const auto& [row, place] : pending.ends)
        std::copy_n(values(computed) + row * width, width, hidden.data() + place * width);
      score_prompt_rows(decoder_, computed, pending.scored);
      pending = {};
    };
    std::size_t prompt_rows_left = limits::sampler_prefill_rows_max;
    for (active_sequence& s : active_) {
      if (s.is_held || (!s.is_started && !start_computing(s))) continue;
      gather(s, prompt_rows_left, pending);
      if (s.num_pending() == 0) {
        const std::size_t place = out.sequences.size();
        out.sequences.push_back(&s);
        hidden.resize((place + 1) * width);
        if (s.hidden) {
          std::ranges::copy(*s.hidden, hidden.begin() + static_cast<std::ptrdiff_t>(place * width));
          s.hidden.reset();
        } else {
          pending.ends.emplace_back(pending.rows.size() - 1, place);
          pending.rows.back().is_wanted = true;
        }
      }
      if (pending.rows.size() >= chunk_rows_max) flush();
    }
    flush();
    remember(out.sequences, hidden);
    out.hidden = make_tensor({out.sequences.size(), width});
    std::ranges::copy(hidden, values(out.hidden));
    return out;
  }

  /// Offers prompts that are complete for the first time to later sequences.
  void remember(const std::vector<active_sequence*>& sequences, const std::vector<float>& hidden) {
    const auto width = static_cast<std::ptrdiff_t>(model_.hidden_size);
    auto row = hidden.begin();
    for (active_sequence* s : sequences) {
      if (!s->is_remembered && is_of_live_weights(*s)) {
        const bool is_prompt = s->num_decoded() == 0;
        prefixes_.insert(
            s->adapted, s->tokens, s->cache,
            is_prompt ? std::make_shared<std::vector<float>>(row, row + width) : nullptr);
      }
      s->is_remembered = true;
      row += width;
    }
  }

  std::vector<result<scored_token>> choose(const complete_rows& rows) {
    std::vector<result<scored_token>> chosen(rows.sequences.size());
    const std::size_t vocabulary = model_.vocab_size;
    const std::size_t step = std::max<std::size_t>(1, chunk_logits_max / vocabulary);
    for (std::size_t first = 0; first < chosen.size(); first += step) {
      const std::size_t size = std::min(step, chosen.size() - first);
      std::vector<const torch_adapter*> adapters;
      for (std::size_t i = first; i < first + size; ++i)
        adapters.push_back(adapter_of(*rows.sequences[i]));
      at::Tensor logits = decoder_.logits(
          rows.hidden.narrow(0, static_cast<std::int64_t>(first), static_cast<std::int64_t>(size)),
          adapters);
      float* const all = values(logits);
      for_ranges(size, 1, [&](std::size_t begin, std::size_t end) {
        for (std::size_t i = begin; i < end; ++i) {
          const active_sequence& s = *rows.sequences[first + i];
          chosen[first + i] =
              choose_token({all + i * vocabulary, vocabulary}, s.start.params,
                           {s.start.params.seed, s.start.sample_index, s.tokens.size()});
        }
      });
    }
    return chosen;
  }

  std::vector<decoded_token> append(const std::vector<active_sequence*>& sequences,
                                    std::vector<result<scored_token>> chosen) {
    std::vector<decoded_token> out;
    for (std::size_t i = 0; i < chosen.size(); ++i) {
      active_sequence& s = *sequences[i];
      if (!s.scores.is_finite) chosen[i] = fail(damaged_logits());
      if (!chosen[i]) {
        out.push_back({s.start.sequence, {}, std::nullopt, nullptr, std::move(chosen[i].error())});
        active_.erase(find(s.start.sequence));
        continue;
      }
      const token_id token = chosen[i]->token;
      const sampling_params& params = s.start.params;
      decoded_token decoded{s.start.sequence, std::move(*chosen[i]), std::nullopt, nullptr};
      if (s.num_decoded() == 0)
        decoded.prompt = std::make_shared<prompt_scores>(std::move(s.scores));
      s.tokens.push_back(token);
      if (std::ranges::find(params.stop_tokens, token) != params.stop_tokens.end()) {
        decoded.finished = stop_reason::stop;
      } else if (s.num_decoded() == params.max_tokens) {
        decoded.finished = stop_reason::length;
      }
      out.push_back(std::move(decoded));
      if (out.back().finished) finish(s);
    }
    return out;
  }

  /// A conversation that goes on begins with what was just decoded.
  void finish(const active_sequence& s) {
    if (is_of_live_weights(s))
      prefixes_.insert(s.adapted, std::span(s.tokens).first(s.num_cached), s.cache, nullptr);
    active_.erase(find(s.start.sequence));
  }

  const std::shared_ptr<thread_pool> threads_;
  const model_config model_;
  const std::vector<parameter_spec> layout_;
  decoder decoder_;
  page_pool pool_;
  prefix_cache prefixes_;
  sequence_list active_;
  std::shared_ptr<const sampler_adapter> deployed_;
  mutable std::atomic<std::uint64_t> last_adapter_{0};
  std::uint64_t version_ = 0;
  std::uint64_t num_computed_ = 0;
};

}  // namespace

result<std::unique_ptr<sampler_engine>> make_torch_sampler(const model_config& model,
                                                           const engine_resources& resources) {
  return guarded("making a sampler", [&]() -> result<std::unique_ptr<sampler_engine>> {
    return std::make_unique<torch_sampler>(model, resources.threads);
  });
}

}  // namespace troupe::gpu
