#include "tests/support/sim_engine.hpp"

#include <algorithm>
#include <functional>
#include <iterator>
#include <set>
#include <utility>

#include "gpu/models/parameter_layout.hpp"
#include "messages/state_digest.hpp"

namespace troupe::tests {
namespace {

constexpr std::uint64_t history_mask = 0xffffff;

class sim_comm final : public gpu::comm {
 public:
  sim_comm(std::uint32_t rank, std::uint32_t world_size, std::shared_ptr<sim_set> set)
      : rank_(rank), world_size_(world_size), set_(std::move(set)) {}

  [[nodiscard]] std::uint32_t rank() const override { return rank_; }
  [[nodiscard]] std::uint32_t world_size() const override { return world_size_; }
  result<void> all_gather(std::span<const float>, std::span<float>) override { return unused(); }
  result<void> reduce_scatter(std::span<const float>, std::span<float>) override {
    return unused();
  }
  result<void> all_reduce(std::span<double>) override { return unused(); }
  void abort() override {}
  [[nodiscard]] sim_set& set() { return *set_; }

 private:
  static result<void> unused() { return fail(errc::internal, "no collectives in a simulation"); }

  std::uint32_t rank_;
  std::uint32_t world_size_;
  std::shared_ptr<sim_set> set_;
};

class sim_listener final : public gpu::comm_listener {
 public:
  sim_listener(std::unique_ptr<sim_comm> comm, std::function<void()> connected)
      : comm_(std::move(comm)), connected_(std::move(connected)) {}
  [[nodiscard]] std::string address() const override { return "sim"; }
  result<std::unique_ptr<gpu::comm>> connect(const std::vector<std::string>&) override {
    connected_();
    return std::unique_ptr<gpu::comm>(std::move(comm_));
  }

 private:
  std::unique_ptr<sim_comm> comm_;
  std::function<void()> connected_;
};

class sim_trainer final : public gpu::trainer_engine {
 public:
  sim_trainer(const model_config& model, std::unique_ptr<sim_comm> comm, std::uint32_t shard_size,
              const sim_engine_factory& made_by)
      : comm_(std::move(comm)),
        made_by_(made_by),
        drift_(made_by.drift),
        hidden_size_(model.hidden_size) {
    const auto layout = gpu::parameter_layout(model);
    const std::uint32_t num_copies = comm_->world_size() / shard_size;
    const std::uint32_t copy = comm_->rank() / shard_size;
    const std::uint32_t shard = comm_->rank() % shard_size;
    for (std::uint32_t p = 0; p < layout.size(); ++p) {
      const std::uint64_t n = layout[p].num_elements();
      const gpu::parameter_slice held{p, n * shard / shard_size, n * (shard + 1) / shard_size};
      if (held.begin == held.end) continue;
      const std::uint64_t begin = held.begin + held.num_elements() * copy / num_copies;
      const std::uint64_t end = held.begin + held.num_elements() * (copy + 1) / num_copies;
      slices_.push_back(held);
      owned_.push_back({p, begin, end});
      weights_.emplace_back(held.num_elements());
    }
  }

  [[nodiscard]] std::vector<gpu::parameter_slice> owned_slices() const override {
    std::vector<gpu::parameter_slice> slices;
    std::ranges::copy_if(owned_, std::back_inserter(slices),
                         [](const auto& s) { return s.num_elements() > 0; });
    return slices;
  }

  result<void> load(gpu::parameter_source& source, optimizer_state optimizer,
                    std::uint64_t optimizer_steps) override {
    for (std::size_t i = 0; i < slices_.size(); ++i) {
      auto got = source.read(gpu::state_part::weights, slices_[i], weights_[i]);
      if (!got) return got;
    }
    history_ = 0;
    steps_ = 0;
    if (optimizer == optimizer_state::restore) {
      std::vector<float> stored(slices_[0].num_elements());
      auto got = source.read(gpu::state_part::exp_avg, slices_[0], stored);
      if (!got) return got;
      history_ = static_cast<std::uint64_t>(stored[0]);
      steps_ = optimizer_steps;
    }
    comm_->set().gradient = 0;
    kept_.clear();
    return {};
  }

  result<forward_result> forward(std::uint64_t seq_id, std::span<const datum> batch, retention keep,
                                 const forward_details& details) override {
    if (keep == retention::keep_for_backward) kept_.insert(seq_id);
    auto out = pass(batch);
    if (!out || !details.any()) return out;
    for (std::size_t i = 0; i < batch.size(); ++i)
      out->details.push_back(tell(details, out->logprobs[i]));
    return out;
  }

  result<forward_result> forward_backward(std::uint64_t, std::span<const datum> batch, loss_fn,
                                          const loss_fn_config&) override {
    for (const datum& d : batch)
      comm_->set().gradient += fingerprint(d);
    return pass(batch);
  }

  result<metric_list> backward(std::uint64_t forward_seq_id,
                               std::span<const std::vector<float>> gradients) override {
    if (kept_.erase(forward_seq_id) == 0) return fail(errc::not_found, "this forward is not kept");
    for (const auto& row : gradients) {
      for (const float g : row)
        comm_->set().gradient += std::bit_cast<std::uint32_t>(g) * 2654435761U;
    }
    return metric_list{};
  }

  result<gpu::step_output> optim_step(const adam_params&) override {
    sim_set& set = comm_->set();
    history_ = detail::mix64(history_ * 31 + set.gradient + 1) & history_mask;
    if (++set.prepared == comm_->world_size()) set = {};
    ++steps_;
    for (std::size_t i = 0; i < slices_.size(); ++i) {
      for (std::size_t e = 0; e < weights_[i].size(); ++e) {
        const auto term = detail::mix64(history_ + ((slices_[i].begin + e) << 24)) % 64;
        if (term < 3) weights_[i][e] += (static_cast<float>(term) - 1.0F) / 128.0F;
      }
    }
    kept_.clear();
    return gpu::step_output{{{"grad_norm:max", 1.0}}, weights_digest()};
  }

  [[nodiscard]] std::uint64_t optimizer_steps() const override { return steps_; }

  [[nodiscard]] state_digest weights_digest() const override {
    state_digest digest;
    for (std::size_t i = 0; i < owned_.size(); ++i)
      add_elements(digest, owned_[i].parameter, owned_[i].begin, owned_values(i, weights_[i]));
    return digest;
  }

  result<void> save(gpu::parameter_sink& sink) const override {
    for (const auto part :
         {gpu::state_part::weights, gpu::state_part::exp_avg, gpu::state_part::exp_avg_sq}) {
      for (std::size_t i = 0; i < owned_.size(); ++i) {
        if (owned_[i].num_elements() == 0) continue;
        const std::vector<float> memory(weights_[i].size(), static_cast<float>(history_));
        const auto& values = part == gpu::state_part::weights ? weights_[i] : memory;
        if (auto put = sink.write(part, owned_[i], owned_values(i, values)); !put) return put;
      }
    }
    return {};
  }

  result<void> publish(gpu::bf16_sink& sink) const override {
    for (std::size_t i = 0; i < owned_.size(); ++i) {
      if (owned_[i].num_elements() == 0) continue;
      std::vector<std::uint16_t> bits;
      for (const float w : owned_values(i, weights_[i])) {
        bits.push_back(static_cast<std::uint16_t>(std::bit_cast<std::uint32_t>(w) >> 16));
      }
      if (auto put = sink.write(owned_[i], bits); !put) return put;
    }
    return {};
  }

 private:
  [[nodiscard]] std::span<const float> owned_values(std::size_t i,
                                                    const std::vector<float>& held) const {
    return std::span(held).subspan(owned_[i].begin - slices_[i].begin, owned_[i].num_elements());
  }

  /// Numbers that depend on the state as logprobs do.
  [[nodiscard]] datum_details tell(const forward_details& wanted,
                                   const std::vector<float>& logprobs) const {
    datum_details out;
    out.topk.per_position = wanted.topk_logprobs;
    for (const float logprob : logprobs) {
      for (std::uint32_t k = 0; k < wanted.topk_logprobs; ++k) {
        out.topk.tokens.push_back(static_cast<token_id>(k));
        out.topk.logprobs.push_back(logprob - static_cast<float>(k));
      }
      if (wanted.entropy) out.entropies.push_back(-logprob);
    }
    const bool is_whole = wanted.embedding == embedding_kind::per_token;
    if (wanted.embedding != embedding_kind::none)
      out.embedding.assign(hidden_size_ * (is_whole ? logprobs.size() : 1), logprobs.back());
    return out;
  }

  static std::uint64_t fingerprint(const datum& d) {
    std::uint64_t h = d.tokens.size();
    for (const token_id token : d.tokens)
      h = detail::mix64(h * 31 + static_cast<std::uint64_t>(token));
    return h;
  }

  [[nodiscard]] result<forward_result> pass(std::span<const datum> batch) const {
    forward_result out;
    if (made_by_.device_is_lost) return fail(errc::engine, "the engine broke with its device");
    for (const datum& d : batch) {
      if (made_by_.poison.empty() || d.tokens != made_by_.poison) continue;
      ++made_by_.num_broken;
      return fail(errc::engine, "the engine broke", "poison", "");
    }
    for (const datum& d : batch) {
      std::vector<float> row;
      for (std::size_t i = 0; i < d.tokens.size(); ++i) {
        row.push_back(
            -static_cast<float>(detail::mix64(fingerprint(d) + history_ + drift_ + i) % 1024) / 64);
      }
      out.logprobs.push_back(std::move(row));
    }
    out.metrics = {{"loss:sum", static_cast<double>(batch.size())}};
    return out;
  }

  std::unique_ptr<sim_comm> comm_;
  const sim_engine_factory& made_by_;
  std::uint64_t drift_;
  std::size_t hidden_size_;
  std::vector<gpu::parameter_slice> slices_;  ///< held, perhaps as one of several copies
  std::vector<gpu::parameter_slice> owned_;  ///< part of each that no other rank owns; may be empty
  std::vector<std::vector<float>> weights_;
  std::uint64_t history_ = 0;
  std::uint64_t steps_ = 0;
  std::set<std::uint64_t> kept_;
};

/// Says the last token of its prompt again, as often as asked.
class sim_sampler final : public gpu::sampler_engine {
 public:
  result<std::unique_ptr<gpu::staged_weights>> stage(gpu::bf16_source&) const override {
    return std::make_unique<gpu::staged_weights>();
  }
  result<std::unique_ptr<gpu::staged_weights>> stage(
      std::span<const gpu::element_patch>) const override {
    return std::make_unique<gpu::staged_weights>();
  }
  result<void> commit(gpu::staged_weights&, gpu::cache_policy) override { return {}; }
  result<void> admit(gpu::sequence_start start) override {
    if (active_.size() >= 4) return fail(errc::busy, "four sequences decode already");
    active_.push_back({std::move(start), 0});
    return {};
  }
  result<std::shared_ptr<const gpu::sampler_adapter>> stage_adapter(
      const lora_config&, gpu::parameter_source&) const override {
    return fail(errc::unsupported, "the simulated engine has no adapters");
  }
  void hold(std::uint64_t sequence) override { held_.insert(sequence); }
  void resume(std::uint64_t sequence) override { held_.erase(sequence); }
  [[nodiscard]] gpu::sampler_usage usage() const override {
    return {held_.size(), active_.size(), 0};
  }
  void cancel(std::uint64_t sequence) override {
    held_.erase(sequence);
    std::erase_if(active_, [sequence](const auto& a) { return a.start.sequence == sequence; });
  }
  result<std::vector<gpu::decoded_token>> step() override {
    std::vector<gpu::decoded_token> out;
    num_computed_ += active_.size();
    for (const auto& a : active_) {
      if (a.start.prompt.front() == engine_breaking_token)
        return fail(errc::engine, "the simulated engine broke");
    }
    for (auto& a : active_) {
      if (held_.contains(a.start.sequence)) continue;
      gpu::decoded_token token;
      token.sequence = a.start.sequence;
      token.chosen.token = a.start.prompt.back();
      token.chosen.logprob = -0.5F;
      if (++a.num_tokens == a.start.params.max_tokens) token.finished = stop_reason::length;
      out.push_back(token);
    }
    std::erase_if(active_, [](const auto& a) { return a.num_tokens == a.start.params.max_tokens; });
    return out;
  }
  [[nodiscard]] std::size_t num_active() const override { return active_.size(); }
  [[nodiscard]] std::uint64_t num_computed_tokens() const override { return num_computed_; }

 private:
  struct decoding {
    gpu::sequence_start start;
    std::uint32_t num_tokens = 0;
  };
  std::vector<decoding> active_;
  std::set<std::uint64_t> held_;
  std::uint64_t num_computed_ = 0;
};

}  // namespace

result<std::unique_ptr<gpu::comm_listener>> sim_engine_factory::listen(std::uint32_t rank,
                                                                       std::uint32_t world_size,
                                                                       const std::string& token) {
  auto& set = sets_[token];
  if (!set) set = std::make_shared<sim_set>();
  return std::make_unique<sim_listener>(std::make_unique<sim_comm>(rank, world_size, set),
                                        [this, rank, token] {
                                          if (!seen_ranks_.emplace(token, rank).second)
                                            ++num_repeated_sets_;
                                        });
}

result<std::unique_ptr<gpu::trainer_engine>> sim_engine_factory::make_trainer(
    const model_config& model, gpu::rank_set ranks) {
  const std::uint32_t shard_size = ranks.group_size();
  auto* mine = dynamic_cast<sim_comm*>(ranks.all.release());
  return std::make_unique<sim_trainer>(model, std::unique_ptr<sim_comm>(mine), shard_size, *this);
}

result<void> sim_engine_factory::check_device() {
  if (device_is_lost) return fail(errc::engine, "the simulated device is lost");
  return {};
}

result<std::unique_ptr<gpu::sampler_engine>> sim_engine_factory::make_sampler(const model_config&) {
  return std::make_unique<sim_sampler>();
}

}  // namespace troupe::tests
