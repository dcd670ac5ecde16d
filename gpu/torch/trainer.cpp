#include "gpu/torch/trainer.hpp"

#include <algorithm>
#include <array>
#include <utility>

#include "config/limits.hpp"
#include "gpu/bf16.hpp"
#include "gpu/finite_checks.hpp"
#include "gpu/losses.hpp"
#include "gpu/rank_agreement.hpp"
#include "gpu/torch/boundary.hpp"
#include "gpu/torch/library/host_copies.hpp"
#include "gpu/torch/library/transfers.hpp"
#include "gpu/torch/linear.hpp"
#include "gpu/torch/open_forwards.hpp"
#include "gpu/torch/optimizer.hpp"
#include "gpu/torch/pass_clock.hpp"
#include "gpu/torch/pass_details.hpp"
#include "gpu/torch/transformer.hpp"

namespace troupe::gpu {
namespace {

/// What accumulated gradients may be divided by: positions with a gradient, sequences with one.
struct loss_counts {
  double tokens = 0;
  double sequences = 0;

  loss_counts& operator+=(const loss_counts& other) {
    tokens += other.tokens;
    sequences += other.sequences;
    return *this;
  }
};

loss_counts count_losses(const packed_batch& batch, std::span<const float> gradient) {
  loss_counts counts;
  for (std::size_t s = 0; s < batch.num_sequences(); ++s) {
    double tokens = 0;
    for (std::size_t row = batch.offsets[s]; row < batch.offsets[s + 1]; ++row) {
      const auto part = gradient.subspan(batch.first_target[row],
                                         batch.first_target[row + 1] - batch.first_target[row]);
      if (std::ranges::any_of(part, [](float g) { return g != 0.0F; })) ++tokens;
    }
    counts += {tokens, tokens > 0 ? 1.0 : 0.0};
  }
  return counts;
}

constexpr std::array saved_parts{state_part::weights, state_part::exp_avg, state_part::exp_avg_sq};

class torch_trainer final : public trainer_engine {
 public:
  torch_trainer(const model_config& model, std::optional<adapter_setup> adapters, rank_groups ranks,
                const engine_resources& resources)
      : model_(model),
        threads_(resources.threads),
        compute_(resources.compute),
        place_(resources.place),
        network_(
            std::make_unique<transformer>(model, std::move(adapters), std::move(ranks), resources)),
        open_(resources.kept_activation_bytes) {}

  std::vector<parameter_slice> owned_slices() const override { return slices_of(state()); }

  std::vector<parameter_slice> published_slices() const override {
    return slices_of(network_->weights().model_state());
  }

  result<state_digest> frozen_digest() const override {
    if (!network_->weights().has_adapters()) return trainer_engine::frozen_digest();
    return network_->weights().frozen_digest();
  }

  result<void> load_frozen(parameter_source& source) override {
    if (!network_->weights().has_adapters()) return trainer_engine::load_frozen(source);
    return run("load_frozen", [&]() -> result<void> {
      open_.clear();
      return network_->weights().load_frozen(
          [&](const parameter_slice& slice, std::span<float> out) {
            return source.read(state_part::weights, slice, out);
          });
    });
  }

  result<void> load(parameter_source& source, optimizer_state optimizer,
                    std::uint64_t optimizer_steps) override {
    return run("load", [&]() -> result<void> {
      if (!network_->weights().model_state().has_weights())
        return fail(errc::internal, "adapters were loaded before the weights they stand beside");
      open_.clear();
      clear_gradients();
      state().weights_changed();
      if (auto ok = read_part(source, state_part::weights, state()); !ok) return ok;
      if (optimizer == optimizer_state::restore) {
        if (auto ok = read_part(source, state_part::exp_avg, state()); !ok) return ok;
        if (auto ok = read_part(source, state_part::exp_avg_sq, state()); !ok) return ok;
        optimizer_steps_ = optimizer_steps;
        return {};
      }
      for (state_shard& shard : state().shards()) {
        shard.exp_avg.zero_();
        shard.exp_avg_sq.zero_();
      }
      optimizer_steps_ = 0;
      return {};
    });
  }

  using trainer_engine::forward;
  result<forward_result> forward(std::uint64_t seq_id, std::span<const datum> batch, retention keep,
                                 const forward_details& details) override {
    return run("forward", [&]() -> result<forward_result> {
      const pass_clock clock;
      if (auto ok = agree(check_size(batch)); !ok) return fail(std::move(ok.error()));
      packed_batch packed = pack_batch(batch);
      if (keep == retention::keep_for_backward)
        open_.make_room(network_->kept_bytes(packed.num_tokens()));
      auto pass =
          network_->forward(std::move(packed), keep, {details.topk_logprobs, details.entropy});
      if (!pass) return fail(std::move(pass.error()));
      if (auto ok = share_load(pass->routers); !ok) return fail(std::move(ok.error()));
      forward_result result = describe(*pass);
      result.details = take_details(*pass, details);
      if (auto ok = agree(check_outputs_finite(result)); !ok) return fail(std::move(ok.error()));
      clock.tell(result.metrics);
      if (keep == retention::discard) return result;
      open_.keep(seq_id, std::move(*pass));
      result.metrics.emplace_back("held_bytes:sum", static_cast<double>(open_.held_bytes()));
      return result;
    });
  }

  result<forward_result> forward_backward(std::uint64_t, std::span<const datum> batch, loss_fn loss,
                                          const loss_fn_config& config) override {
    return run("forward_backward", [&]() -> result<forward_result> {
      const pass_clock clock;
      auto options = read_loss_options(loss, config);
      if (auto ok = agree(check_inputs(batch, options)); !ok) return fail(std::move(ok.error()));
      packed_batch packed = pack_batch(batch);
      open_.make_room(network_->kept_bytes(packed.num_tokens()));
      auto pass = network_->forward(std::move(packed), retention::keep_for_backward);
      if (!pass) return fail(std::move(pass.error()));
      if (auto ok = share_load(pass->routers); !ok) return fail(std::move(ok.error()));
      forward_result result = describe(*pass);
      double total = 0;
      std::vector<float> gradient;
      for (std::size_t i = 0; i < batch.size(); ++i) {
        const loss_value value = evaluate_loss(*options, batch[i], result.logprobs[i]);
        total += value.loss;
        gradient.insert(gradient.end(), value.logprob_gradient.begin(),
                        value.logprob_gradient.end());
      }
      auto is_fine = check_outputs_finite(result);
      if (is_fine) is_fine = check_loss_finite(gradient, total);
      if (auto ok = agree(std::move(is_fine)); !ok) return fail(std::move(ok.error()));
      const loss_counts counts = count_losses(pass->batch, gradient);
      if (auto ok = network_->backward(*pass, gradient); !ok) return fail(std::move(ok.error()));
      counts_ += counts;
      result.metrics.insert(result.metrics.begin(), {"loss:sum", total});
      result.metrics.emplace_back("loss_tokens:sum", counts.tokens);
      clock.tell(result.metrics);
      return result;
    });
  }

  result<metric_list> backward(std::uint64_t forward_seq_id,
                               std::span<const std::vector<float>> gradients) override {
    return run("backward", [&]() -> result<metric_list> {
      const pass_clock clock;
      kept_pass* const pass = open_.find(forward_seq_id);
      if (auto ok = agree(check_gradients(pass, forward_seq_id, gradients)); !ok)
        return fail(std::move(ok.error()));
      const auto repeats = repeat_forward(*pass);
      if (!repeats) return fail(repeats.error());
      std::vector<float> gradient;
      for (const std::vector<float>& part : gradients)
        gradient.insert(gradient.end(), part.begin(), part.end());
      const auto tokens = static_cast<double>(pass->batch.num_tokens());
      const loss_counts counts = count_losses(pass->batch, gradient);
      if (auto ok = network_->backward(*pass, gradient); !ok) return fail(std::move(ok.error()));
      open_.erase(forward_seq_id);
      counts_ += counts;
      metric_list metrics{{"tokens:sum", tokens},
                          {"loss_tokens:sum", counts.tokens},
                          {"forward_repeated:max", *repeats}};
      clock.tell(metrics);
      return metrics;
    });
  }

  result<step_output> optim_step(const adam_params& adam) override {
    return run("optim_step", [&]() -> result<step_output> {
      if (auto ok = check_adam(adam); !ok) return fail(std::move(ok.error()));
      const auto divisor = gradient_divisor(adam.normalization);
      if (!divisor) return fail(divisor.error());
      auto updated = adamw_step(state(), adam, optimizer_steps_ + 1, *divisor);
      if (!updated) {
        clear_gradients();
        return fail(std::move(updated.error()));
      }
      ++optimizer_steps_;
      open_.clear();
      clear_gradients();
      return step_output{{{"grad_norm:max", updated->gradient_norm}}, updated->weights};
    });
  }

  std::uint64_t optimizer_steps() const override { return optimizer_steps_; }

  state_digest weights_digest() const override {
    const pool_scope scope(threads_.get());
    const placement_scope place(place_);
    return digest_weights(state());
  }

  result<void> save(parameter_sink& sink) const override {
    return run("save", [&]() -> result<void> {
      library::host_copies copies;
      const auto& slices = state().owned();
      const std::size_t total = saved_parts.size() * slices.size();
      const auto part = [&](std::size_t i) { return saved_parts[i / slices.size()]; };
      const auto owned = [&](std::size_t i) -> const owned_slice& {
        return slices[i % slices.size()];
      };
      const auto start = [&](std::size_t i) {
        const state_shard& shard = state().shards()[owned(i).group];
        copies.start(owned_part(part_of(shard, part(i)), owned(i)));
      };
      if (total > 0) start(0);
      for (std::size_t i = 0; i < total; ++i) {
        if (i + 1 < total) start(i + 1);
        if (auto ok = sink.write(part(i), owned(i).slice, copies.take()); !ok) return ok;
      }
      return {};
    });
  }

  result<void> publish(bf16_sink& sink) const override {
    std::vector<std::uint16_t> bits;
    return run("publish", [&] {
      const product_scope exact(compute_type::fp32);
      return network_->weights().visit_merged(
          [&](const parameter_slice& slice, std::span<float> merged) {
            bits.resize(merged.size());
            std::ranges::transform(merged, bits.begin(), to_bf16);
            return sink.write(slice, bits);
          });
    });
  }

 private:
  template <class Body>
  auto run(const char* doing, const Body& body) const -> decltype(body()) {
    const pool_scope scope(threads_.get());
    const product_scope products(compute_);
    const placement_scope place(place_);
    return guarded(doing, body);
  }

  sharded_state& state() { return network_->weights().trained(); }
  const sharded_state& state() const { return network_->weights().trained(); }

  static const at::Tensor& part_of(const state_shard& shard, state_part part) {
    if (part == state_part::exp_avg) return shard.exp_avg;
    return part == state_part::exp_avg_sq ? shard.exp_avg_sq : shard.weights;
  }

  static std::vector<parameter_slice> slices_of(const sharded_state& from) {
    std::vector<parameter_slice> slices;
    for (const owned_slice& owned : from.owned())
      slices.push_back(owned.slice);
    return slices;
  }

  static result<void> read_part(parameter_source& source, state_part part, sharded_state& into) {
    for (const owned_slice& owned : into.held()) {
      auto ok = library::fill_elements(
          part_of(into.shards()[owned.group], part), owned.shard_offset, owned.slice.num_elements(),
          [&](std::span<float> out) { return source.read(part, owned.slice, out); });
      if (!ok) return ok;
    }
    return {};
  }

  void clear_gradients() {
    state().clear_gradients();
    counts_ = {};
  }

  /// 1 when nothing had a gradient.
  result<double> gradient_divisor(gradient_normalization kind) {
    if (kind == gradient_normalization::none) return 1.0;
    std::array<double, 2> totals{counts_.tokens, counts_.sequences};
    if (auto ok = state().ranks().all().all_reduce(totals); !ok) return fail(std::move(ok.error()));
    const bool by_tokens = kind == gradient_normalization::num_loss_tokens;
    return std::max(1.0, by_tokens ? totals[0] : totals[1]);
  }

  result<void> agree(result<void> mine) {
    return gpu::agree(state().ranks().all(), std::move(mine));
  }

  result<void> check_size(std::span<const datum> batch) const {
    if (auto ok = check_batch(model_, batch); !ok) return ok;
    std::size_t rows = 0;
    for (const datum& data : batch)
      rows += data.tokens.size();
    return network_->check_room(rows);
  }

  /// Computes a pass again when a rank has only its tokens left. All ranks do it then, because
  /// they gather the weights together. 1 when it was done, else 0.
  result<double> repeat_forward(kept_pass& pass) {
    std::array<double, 1> missing{form_of(pass) == kept_form::tokens ? 1.0 : 0.0};
    if (auto ok = state().ranks().all().all_reduce(missing); !ok)
      return fail(std::move(ok.error()));
    if (missing[0] == 0) return 0.0;
    auto again = network_->forward(std::move(pass.batch), retention::keep_for_backward);
    if (!again) return fail(std::move(again.error()));
    pass = std::move(*again);
    return 1.0;
  }

  result<void> check_inputs(std::span<const datum> batch,
                            const result<loss_options>& options) const {
    if (!options) return fail(options.error());
    if (auto ok = check_size(batch); !ok) return ok;
    for (const datum& data : batch)
      if (auto ok = check_loss_inputs(*options, data); !ok) return ok;
    return {};
  }

  result<void> check_gradients(const kept_pass* pass, std::uint64_t seq_id,
                               std::span<const std::vector<float>> gradients) const {
    if (pass == nullptr)
      return fail(errc::not_found, "no forward with seq_id " + std::to_string(seq_id) + " is open",
                  "it was not kept, was used already, or an optim_step or newer forwards ended it",
                  "run forward again with keep_for_backward");
    const packed_batch& batch = pass->batch;
    bool fits = gradients.size() == batch.num_sequences();
    for (std::size_t i = 0; fits && i < gradients.size(); ++i)
      fits = gradients[i].size() == batch.num_targets(i);
    if (!fits)
      return fail(errc::invalid_argument, "the gradients do not have the shape of the logprobs",
                  "each datum of the forward needs one number per target",
                  "send the gradient of the logprobs that the forward returned");
    for (const std::vector<float>& part : gradients)
      if (auto ok = check_loss_finite(part, 0); !ok) return ok;
    return {};
  }

  result<void> share_load(router_load& routers) {
    if (model_.experts.count == 0) return {};
    return routers.add_up(state().ranks().all(), model_.experts.count);
  }

  static forward_result describe(const kept_pass& pass) {
    forward_result result{unpack(pass.batch, pass.head.logprobs),
                          {{"tokens:sum", static_cast<double>(pass.batch.num_tokens())}},
                          {}};
    if (pass.routers.rows > 0) {
      result.metrics.emplace_back("router_balance_loss:mean", pass.routers.balance_loss());
      result.metrics.emplace_back("busiest_expert_share:max", pass.routers.busiest_share());
    }
    return result;
  }

  const model_config model_;
  const std::shared_ptr<thread_pool> threads_;
  const compute_type compute_;
  const placement place_;
  const std::unique_ptr<transformer> network_;
  open_forwards open_;
  loss_counts counts_;  ///< since gradients were last cleared
  std::uint64_t optimizer_steps_ = 0;
};

}  // namespace

result<std::unique_ptr<trainer_engine>> make_torch_trainer(const model_config& model,
                                                           std::optional<adapter_setup> adapters,
                                                           rank_set ranks,
                                                           const engine_resources& resources) {
  const placement_scope place(resources.place);
  return guarded("making a trainer", [&]() -> result<std::unique_ptr<trainer_engine>> {
    auto groups = rank_groups::form(std::move(ranks));
    if (!groups) return fail(std::move(groups.error()));
    return std::make_unique<torch_trainer>(model, std::move(adapters), std::move(*groups),
                                           resources);
  });
}

}  // namespace troupe::gpu
