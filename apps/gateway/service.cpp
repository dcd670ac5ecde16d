#include "apps/gateway/service.hpp"

#include <algorithm>

#include "apps/gateway/names.hpp"
#include "apps/gateway/unix_time.hpp"
#include "config/deadlines.hpp"
#include "config/log.hpp"

namespace troupe::gateway {
namespace {

constexpr std::chrono::seconds session_check{5};

/// A lease that is not renewed in time may end while somebody samples.
constexpr std::chrono::seconds hold_interval{deadlines::checkpoint_lease / 3};

}  // namespace

service::service(boost::asio::io_context& loop, options given, base_models models,
                 std::shared_ptr<client::connection> link)
    : wanted(std::move(given)),
      bases(std::move(models)),
      keys(wanted.data_folder),
      cluster(loop, std::move(link)),
      futures(loop),
      quotas(wanted.per_key),
      desk(loop, futures, quotas, wanted.data_folder + "/gateway/requests"),
      completions(loop),
      sessions(wanted.data_folder + "/gateway/sessions"),
      samplers(wanted.data_folder + "/gateway/sessions"),
      records(wanted.data_folder + "/gateway"),
      weights(wanted.data_folder + "/gateway/weights"),
      exports(cluster, wanted.data_folder + "/gateway/exports"),
      timer_(loop) {
  watch_sessions();
  // Should its client come back after all, 410 makes it ask for the sample again.
  futures.on_abandoned([this](const std::string& request_id) {
    if (!cancel_sample(request_id)) return;
    futures.resolve(request_id, refusal(410, {errc::cancelled, "nobody waited for this sample",
                                              "its client was gone for a while", "ask again"}));
  });
  cluster.watch(
      [this] {
        for (const auto& [directory, pool] : pools_)
          pool->control_lost();
      },
      [this](const result<void>& outcome) {
        for (const auto& [directory, pool] : pools_)
          pool->control_restored(outcome);
      });
}

result<std::shared_ptr<training_model>> service::find_model(const std::string& key_id,
                                                            const std::string& model_id) {
  const auto owner = sessions.find(key_id, model_id);
  if (!owner) return fail(owner.error());
  if (const auto known = models_.find(model_id); known != models_.end()) {
    last_use_unix_ms_[model_id] = now_unix_ms();
    return known->second;
  }
  auto record = records.find(model_id);
  if (!record) return fail(record.error());
  if (record->is_copy) {
    return fail(errc::not_found, "'" + model_id + "' holds copied weights and cannot be trained",
                "", "make a training client from one of its paths");
  }
  return open_model(std::move(*record));
}

std::shared_ptr<training_model> service::open_model(model_record record) {
  auto& model = models_[record.model_id];
  if (!model) {
    model = std::make_shared<training_model>(cluster, std::move(record));
    model->start(wanted.ranks);
  }
  return model;
}

void service::end_session(const std::string& session_id, boost::json::object ending,
                          std::function<void()> then) {
  if (!sessions.end(session_id, std::move(ending))) return then();
  samplers.end_session(session_id);
  completions.forget(session_id);
  for (const auto& [directory, pool] : pools_)
    pool->cancel_session(session_id);
  // The last reference calls back, when every model has let go of it.
  const std::shared_ptr<void> all_parked(nullptr, [then = std::move(then)](void*) { then(); });
  // Runs of an earlier gateway hold nodes, too.
  for (model_record& record : records.of_prefix(session_id + ":train:")) {
    if (record.is_copy) continue;
    const std::string model_id = record.model_id;
    open_model(std::move(record))->park([all_parked](const result<run_info>&) {});
    models_.erase(model_id);
    last_use_unix_ms_.erase(model_id);
  }
}

sample_pool& service::pool_of(const base_model& base) {
  auto& pool = pools_[base.directory];
  if (!pool)
    pool = std::make_shared<sample_pool>(cluster, base.directory, [this](const sync_reply& done) {
      watched.synced(done.pause_ms / 1000, done.logprob_gap_mean, done.logprob_gap_max);
    });
  return *pool;
}

bool service::cancel_sample(const std::string& request_id) {
  return std::any_of(pools_.begin(), pools_.end(),
                     [&](const auto& pool) { return pool.second->cancel(request_id); });
}

std::size_t service::num_samples() const {
  std::size_t out = 0;
  for (const auto& [directory, pool] : pools_)
    out += pool->num_open();
  return out;
}

result<void> service::forget_weights(const tinker::checkpoint_path& path) {
  const auto last = weights.remove(path);
  if (!last) return fail(last.error());
  if (last->empty()) return {};
  // What something else still needs goes with the next collection of garbage.
  cluster.ask_store<done>(deadlines::store, remove_checkpoint_request{*last},
                          [id = *last](const result<done>& gone) {
                            if (gone || gone.error().code == errc::in_use) return;
                            config::log(config::log_level::failure,
                                        "checkpoint " + id.value + ": " + to_string(gone.error()));
                          });
  return {};
}

std::uint64_t service::last_use_unix_ms(const std::string& model_id) const {
  const auto known = last_use_unix_ms_.find(model_id);
  return known == last_use_unix_ms_.end() ? 0 : known->second;
}

void service::drop_expired() {
  for (const auto& path : weights.expired(now_unix_ms())) {
    if (const auto ok = forget_weights(path); !ok) {
      config::log(config::log_level::failure, to_string(ok.error()));
    }
  }
  exports.sweep();
}

std::size_t service::num_models(const std::string& key_id) const {
  return static_cast<std::size_t>(
      std::count_if(models_.begin(), models_.end(),
                    [&key_id](const auto& model) { return owns(key_id, model.first); }));
}

void service::hold_weights() {
  auto served = samplers.weights();
  const auto now = std::chrono::steady_clock::now();
  if (served.empty() || (served == held_ && now - held_at_ < hold_interval)) return;
  held_ = served;
  held_at_ = now;
  cluster.ask_store<done>(deadlines::store, lease_checkpoints_request{std::move(served)},
                          [this](const result<done>& ok) {
                            if (ok) return;
                            held_.clear();
                            config::log(config::log_level::warning,
                                        "weights are not held: " + to_string(ok.error()));
                          });
}

void service::watch_sessions() {
  for (const std::string& id : sessions.silent())
    end_session(id, {}, [] {});
  drop_expired();
  hold_weights();
  timer_.expires_after(session_check);
  timer_.async_wait([this](boost::system::error_code problem) {
    if (!problem) watch_sessions();
  });
}

}  // namespace troupe::gateway
