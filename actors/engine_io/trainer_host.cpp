#include "actors/engine_io/trainer_host.hpp"

#include <utility>
#include <variant>

#include "actors/engine_io/adapter_files.hpp"
#include "actors/engine_io/delta_chain.hpp"
#include "config/failpoint.hpp"
#include "config/planted_bug.hpp"
#include "gpu/models/adapters.hpp"

namespace troupe::actors {
namespace {

result<storage::blob_info> write_blob(storage::blob_store& blobs,
                                      std::span<const std::byte> bytes) {
  auto writer = blobs.create();
  if (!writer) return fail(writer.error());
  if (auto put = (*writer)->append(bytes); !put) return fail(put.error());
  return (*writer)->commit();
}

}  // namespace

trainer_host::trainer_host(gpu::engine_factory& engines, storage::blob_store& blobs)
    : engines_(engines), blobs_(blobs) {}

result<open_shard_reply> trainer_host::open(const open_shard_request& request) {
  opened_ = request;
  const auto& id = request.identity;
  auto listener = engines_.listen(id.rank, id.world_size, request.comm_token);
  if (!listener) return fail(listener.error());
  listener_ = std::move(*listener);
  return open_shard_reply{listener_->address()};
}

result<start_shard_reply> trainer_host::start(const start_shard_request& request) {
  if (!listener_) return fail(errc::internal, "a shard was started before it was opened");
  auto model = open_model(opened_.model);
  if (!model) return fail(model.error());
  model_ = std::move(*model);
  auto ranks = listener_->connect(request.comm_addresses);
  if (!ranks) return fail(ranks.error());
  comm_ = ranks->get();
  const model_config& config = model_.files->config();
  gpu::rank_set set(std::move(*ranks), opened_.shard_size);
  auto engine = opened_.lora
                    ? engines_.make_adapter_trainer({config, weights_identity(opened_.model)},
                                                    *opened_.lora, std::move(set))
                    : engines_.make_trainer(config, std::move(set));
  if (!engine) return fail(engine.error());
  engine_ = std::move(*engine);
  if (auto loaded = load_weights(request); !loaded) return fail(loaded.error());
  if (auto loaded = load_published(request); !loaded) return fail(loaded.error());
  weights_ = engine_->weights_digest();
  return start_shard_reply{model_.files->config(), weights_};
}

result<void> trainer_host::load_weights(const start_shard_request& request) {
  config::failpoint("l1");
  hf_source source(model_);
  if (opened_.lora) {
    if (auto loaded = engine_->load_frozen(source); !loaded) return loaded;
  }
  if (!request.resume.empty()) {
    return load_training(request.resume.front().manifest, optimizer_state::restore);
  }
  if (opened_.lora) {
    gpu::initial_adapters first(model_.files->config(), *opened_.lora);
    return engine_->load(first, optimizer_state::reset, 0);
  }
  return engine_->load(source, optimizer_state::reset, 0);
}

result<void> trainer_host::load_training(const checkpoint_manifest& checkpoint,
                                         optimizer_state optimizer) {
  using verification = storage::slice_reader::verification;
  auto reader = storage::slice_reader::open(blobs_, checkpoint.files, verification::contents);
  if (!reader) return fail(reader.error());
  slice_source source(*reader);
  return engine_->load(source, optimizer, checkpoint.optimizer_steps);
}

result<void> trainer_host::load_published(const start_shard_request& request) {
  published_ = {};
  if (request.published_chain.empty() || opened_.lora) return {};
  bf16_state whole(whole_model(model_.layout));
  if (auto loaded = load_chain(blobs_, request.published_chain, whole); !loaded) return loaded;
  bf16_state mine(engine_->published_slices());
  for (const auto& slice : mine.slices()) {
    std::vector<std::uint16_t> bits(slice.num_elements());
    if (auto got = whole.read(slice, bits); !got) return got;
    if (auto put = mine.write(slice, bits); !put) return put;
  }
  mine.refresh_digest();
  published_ = std::move(mine);
  return {};
}

result<shard_work_reply> trainer_host::run(const shard_work& request) {
  if (!engine_) return fail(errc::internal, "work reached a shard that was never started");
  shard_work_reply reply;
  reply.identity = request.identity;
  reply.seq_id = request.seq_id;
  auto done = std::visit(
      [&](const auto& body) -> result<void> {
        using body_type = std::decay_t<decltype(body)>;
        if constexpr (std::is_same_v<body_type, shard_forward>) {
          auto out = engine_->forward(request.seq_id, body.batch, body.keep, body.details);
          if (!out) return fail(out.error());
          reply.logprobs = std::move(out->logprobs);
          reply.details = std::move(out->details);
          reply.metrics = std::move(out->metrics);
          return {};
        } else if constexpr (std::is_same_v<body_type, shard_forward_backward>) {
          config::failpoint("t3", request.seq_id);
          auto out = engine_->forward_backward(request.seq_id, body.batch, body.loss, body.config);
          if (!out) return fail(out.error());
          config::failpoint("t4", request.seq_id);
          reply.logprobs = std::move(out->logprobs);
          reply.metrics = std::move(out->metrics);
          return {};
        } else {
          return work(body, reply);
        }
      },
      request.body);
  if (!done) return fail(done.error());
  return reply;
}

result<void> trainer_host::work(const shard_backward& body, shard_work_reply& reply) {
  auto metrics = engine_->backward(body.forward_seq_id, body.logprob_gradients);
  if (!metrics) return fail(metrics.error());
  reply.metrics = std::move(*metrics);
  return {};
}

result<void> trainer_host::work(const shard_optim_step& body, shard_work_reply& reply) {
  if (auto settled = settle_copy(); !settled) return settled;
  auto out = engine_->optim_step(body.adam);
  if (!out) return fail(out.error());
  config::failpoint("t7", reply.seq_id);
  reply.metrics = std::move(out->metrics);
  reply.weights = weights_ = out->weights;
  return {};
}

result<void> trainer_host::work(const shard_save_state&, shard_work_reply& reply) {
  std::vector<storage::slice_entry> entries;
  const auto slices = engine_->owned_slices();
  for (const auto part : {storage::slice_part::weights, storage::slice_part::exp_avg,
                          storage::slice_part::exp_avg_sq}) {
    for (const auto& s : slices)
      entries.push_back({part, s.parameter, s.begin, s.end});
  }
  auto writer = storage::slice_writer::create(blobs_, dtype::f32, std::move(entries));
  if (!writer) return fail(writer.error());
  slice_sink sink(*writer);
  if (auto saved = engine_->save(sink); !saved) return saved;
  auto blob = writer->commit();
  if (!blob) return fail(blob.error());
  reply.files = {{blob->blob, blob->bytes, opened_.identity.rank}};
  reply.weights = engine_->weights_digest();
  reply.metrics = {{"optimizer_steps:max", static_cast<double>(engine_->optimizer_steps())}};
  return {};
}

std::shared_ptr<state_copy> trainer_host::captured() {
  const std::lock_guard lock(captured_mutex_);
  return captured_;
}

result<void> trainer_host::settle_copy() {
  if (config::is_planted(config::bug::step_before_copied)) return {};
  const auto copy = captured();
  return copy ? copy->settle(*engine_) : result<void>{};
}

result<void> trainer_host::work(const shard_capture_state&, shard_work_reply& reply) {
  const std::lock_guard lock(captured_mutex_);
  auto copy = std::exchange(spare_, nullptr);
  if (!copy) copy = std::make_shared<state_copy>();
  copy->begin(reply.seq_id, weights_, engine_->optimizer_steps());
  captured_ = std::move(copy);
  return {};
}

result<void> trainer_host::work(const shard_write_captured&, shard_work_reply& reply) {
  const auto copy = captured();
  if (!copy || copy->seq_id() != reply.seq_id) {
    return fail(errc::internal,
                "the state after op " + std::to_string(reply.seq_id) + " was not captured");
  }
  if (auto made = copy->make(*engine_); !made) return made;
  auto blob = copy->write_to(blobs_);
  if (!blob) return fail(blob.error());
  reply.files = {{blob->blob, blob->bytes, opened_.identity.rank}};
  reply.weights = copy->weights();
  reply.metrics = {{"optimizer_steps:max", static_cast<double>(copy->optimizer_steps())},
                   {"copying_s:max", copy->copying_s()},
                   {"copy_waited_s:max", copy->waited_s()}};
  const std::lock_guard lock(captured_mutex_);
  if (captured_ == copy) captured_ = nullptr;
  spare_ = copy;
  return {};
}

result<void> trainer_host::work(const shard_load_state& body, shard_work_reply& reply) {
  if (auto settled = settle_copy(); !settled) return settled;
  if (auto loaded = load_training(body.checkpoint.manifest, body.optimizer); !loaded) return loaded;
  reply.weights = weights_ = engine_->weights_digest();
  return {};
}

/// Adapters are small and need no baseline: each checkpoint holds them whole.
result<void> trainer_host::save_adapters(shard_work_reply& reply) {
  const auto base = engine_->frozen_digest();
  if (!base) return fail(base.error());
  const auto blob = write_adapters(blobs_, engine_->owned_slices(), *engine_);
  if (!blob) return fail(blob.error());
  reply.files = {{blob->blob, blob->bytes, opened_.identity.rank}};
  reply.published_before = *base;
  reply.published = *base;
  reply.published += engine_->weights_digest();
  auto probed = probe(reply.seq_id);
  if (!probed) return fail(probed.error());
  reply.probe_logprobs = std::move(*probed);
  return {};
}

result<void> trainer_host::work(const shard_save_weights& body, shard_work_reply& reply) {
  if (body.kind == checkpoint_kind::sampler_adapter) return save_adapters(reply);
  bf16_state current(engine_->published_slices());
  if (auto taken = engine_->publish(current); !taken) return taken;
  current.refresh_digest();
  const bool is_base = body.kind == checkpoint_kind::sampler_base;
  if (!is_base && published_.empty()) {
    return fail(errc::wrong_base, "there is no published state to make a delta against", "",
                "save a base first");
  }
  auto blob = is_base ? write_base(current) : write_delta(current);
  if (!blob) return fail(blob.error());
  reply.files = {{blob->blob, blob->bytes, opened_.identity.rank}};
  reply.published_before = published_.digest();
  reply.published = current.digest();
  unconfirmed_ = std::move(current);
  auto probed = probe(reply.seq_id);
  if (!probed) return fail(probed.error());
  reply.probe_logprobs = std::move(*probed);
  return {};
}

result<std::vector<float>> trainer_host::probe(std::uint64_t seq_id) {
  const auto tokens = probe_prompt(model_.files->config());
  std::vector<datum> batch;
  if (opened_.identity.rank == 0 && tokens.size() > 1) {
    datum& one = batch.emplace_back();
    one.tokens.assign(tokens.begin(), tokens.end() - 1);
    one.target_tokens.assign(tokens.begin() + 1, tokens.end());
  }
  auto out = engine_->forward(seq_id, batch, retention::discard);
  if (!out) return fail(out.error());
  if (out->logprobs.empty()) return std::vector<float>{};
  return std::move(out->logprobs.front());
}

result<void> trainer_host::work(const shard_published&, shard_work_reply&) {
  if (!unconfirmed_.empty()) published_ = std::exchange(unconfirmed_, {});
  return {};
}

result<storage::blob_info> trainer_host::write_base(const bf16_state& state) {
  std::vector<storage::slice_entry> entries;
  for (const auto& s : state.slices()) {
    entries.push_back({storage::slice_part::weights, s.parameter, s.begin, s.end});
  }
  auto writer = storage::slice_writer::create(blobs_, dtype::bf16, std::move(entries));
  if (!writer) return fail(writer.error());
  for (std::size_t i = 0; i < state.slices().size(); ++i) {
    if (auto put = writer->append(state.bits(i)); !put) return fail(put.error());
  }
  return writer->commit();
}

result<storage::blob_info> trainer_host::write_delta(const bf16_state& state) {
  std::vector<storage::slice_change> changes;
  for (std::size_t i = 0; i < state.slices().size(); ++i) {
    const auto& slice = state.slices()[i];
    changes.push_back({slice.parameter, slice.begin, published_.bits(i), state.bits(i)});
  }
  auto encoded = storage::encode_delta(changes);
  if (!encoded) return fail(encoded.error());
  return write_blob(blobs_, encoded->file);
}

void trainer_host::abort() {
  if (gpu::comm* ranks = comm_.load()) ranks->abort();
}

}  // namespace troupe::actors
