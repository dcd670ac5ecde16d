#include "apps/gateway/service.hpp"

#include "apps/gateway/names.hpp"
#include "config/limits.hpp"

namespace troupe::gateway {
namespace {

constexpr std::chrono::seconds session_check{5};

}  // namespace

service::service(boost::asio::io_context& loop, options given, base_models models,
                 std::shared_ptr<client::connection> link)
    : wanted(std::move(given)),
      bases(std::move(models)),
      keys(wanted.data_folder),
      cluster(loop, std::move(link)),
      futures(loop),
      timer_(loop) {
  watch_sessions();
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

reply service::acknowledge(const std::string& key_id, const std::string& key, std::string_view body,
                           const boost::json::object& extra,
                           const std::function<void(const std::string&)>& start) {
  const std::string digest = sha256_text(body);
  if (const auto known = repeats_.find(key); known != repeats_.end()) {
    if (known->second.digest == digest) return {200, "application/json", known->second.ack};
    return refusal({errc::seq_reused, "this turn was used for another request",
                    "two clients share an id, or a client lost count", "make a new client"});
  }
  const auto id = futures.open(key_id);
  if (!id) return refusal(id.error());
  boost::json::object ack = extra;
  ack["request_id"] = *id;
  repeat entry{digest, boost::json::serialize(ack)};
  reply out{200, "application/json", entry.ack};
  repeats_.emplace(key, std::move(entry));
  repeat_order_.push_back(key);
  if (repeat_order_.size() > limits::gateway_futures_max) {
    repeats_.erase(repeat_order_.front());
    repeat_order_.pop_front();
  }
  start(*id);
  return out;
}

result<std::shared_ptr<training_model>> service::find_model(const std::string& key_id,
                                                            const std::string& model_id) {
  const auto owner = sessions.find(key_id, model_id);
  if (!owner) return fail(owner.error());
  if (const auto known = models_.find(model_id); known != models_.end()) return known->second;
  const auto run = run_of(model_id);
  if (!run) {
    return fail(errc::not_found, "'" + model_id.substr(0, 200) + "' is no model", "",
                "make a training client");
  }
  auto record = read_record(wanted.data_folder, *run);
  if (!record) return fail(record.error());
  auto model = add_model(std::move(*record));
  model->start(wanted.ranks, [](const result<run_info>&) {});
  return model;
}

std::shared_ptr<training_model> service::add_model(model_record record) {
  const std::string id = record.model_id;
  auto model = std::make_shared<training_model>(cluster, std::move(record));
  models_[id] = model;
  return model;
}

void service::end_session(const std::string& session_id, std::function<void()> then) {
  sessions.end(session_id);
  std::erase_if(samplers, [&](const auto& s) { return session_of(s.first) == session_id; });
  // The last reference calls back, when every model has let go of it.
  const std::shared_ptr<void> all_parked(nullptr, [then = std::move(then)](void*) { then(); });
  for (auto it = models_.begin(); it != models_.end();) {
    if (session_of(it->first) == session_id) {
      it->second->park([all_parked](const result<run_info>&) {});
      it = models_.erase(it);
    } else {
      ++it;
    }
  }
}

sample_pool& service::pool_of(const base_model& base) {
  auto& pool = pools_[base.directory];
  if (!pool) pool = std::make_shared<sample_pool>(cluster, base.directory);
  return *pool;
}

std::size_t service::num_samples() const {
  std::size_t out = 0;
  for (const auto& [directory, pool] : pools_)
    out += pool->num_open();
  return out;
}

void service::watch_sessions() {
  for (const std::string& id : sessions.end_silent())
    end_session(id, [] {});
  timer_.expires_after(session_check);
  timer_.async_wait([this](boost::system::error_code problem) {
    if (!problem) watch_sessions();
  });
}

}  // namespace troupe::gateway
