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
      desk(futures, wanted.data_folder + "/gateway/requests"),
      sessions(wanted.data_folder + "/gateway/sessions"),
      samplers(wanted.data_folder + "/gateway/sessions"),
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

void service::end_session(const std::string& session_id, std::function<void()> then) {
  if (!sessions.end(session_id)) return then();
  samplers.end_session(session_id);
  // The last reference calls back, when every model has let go of it.
  const std::shared_ptr<void> all_parked(nullptr, [then = std::move(then)](void*) { then(); });
  // Runs of an earlier gateway hold nodes, too.
  for (model_record& record : read_records(wanted.data_folder, session_id + ".train.")) {
    const std::string model_id = record.model_id;
    open_model(std::move(record))->park([all_parked](const result<run_info>&) {});
    models_.erase(model_id);
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
  for (const std::string& id : sessions.silent())
    end_session(id, [] {});
  timer_.expires_after(session_check);
  timer_.async_wait([this](boost::system::error_code problem) {
    if (!problem) watch_sessions();
  });
}

}  // namespace troupe::gateway
