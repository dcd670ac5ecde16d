#include "apps/client/service_client.hpp"

#include "apps/client/connection.hpp"
#include "apps/client/sampling_session.hpp"
#include "apps/client/training_session.hpp"
#include "config/deadlines.hpp"
#include "messages/wire/codec.hpp"

namespace troupe::client {
namespace {

template <class Message>
result<training_client> take_run(const std::shared_ptr<connection>& link, const Message& message) {
  if (const auto ok = wire::validate(message); !ok) return fail(ok.error());
  auto taken = link->call_for_handle<run_info, actors::training_run_actor>(link->manager(),
                                                                           deadlines::op, message);
  if (!taken) return fail(taken.error());
  return training_client(
      link, training_session::start(link, std::move(taken->first), std::move(taken->second)));
}

template <class Message>
result<sampling_client> take_deployment(const std::shared_ptr<connection>& link,
                                        const Message& message) {
  if (const auto ok = wire::validate(message); !ok) return fail(ok.error());
  auto taken = link->call_for_handle<deployment_info, actors::deployment_actor>(
      link->manager(), deadlines::op, message);
  if (!taken) return fail(taken.error());
  return sampling_client(link, sampling_session::start(link, std::move(taken->first.deployment),
                                                       std::move(taken->second)));
}

}  // namespace

service_client::service_client(std::shared_ptr<connection> link) : link_(std::move(link)) {}

result<service_client> service_client::connect(const apps::cluster_endpoint& endpoint) {
  auto link = connection::open(endpoint);
  if (!link) return fail(link.error());
  return service_client(std::move(*link));
}

result<training_client> service_client::create_training_run(const create_run_request& request) {
  return take_run(link_, request);
}

result<training_client> service_client::attach_training_run(const run_id& run) {
  return take_run(link_, attach_run_request{run});
}

result<sampling_client> service_client::create_deployment(
    const create_deployment_request& request) {
  return take_deployment(link_, request);
}

result<sampling_client> service_client::find_deployment(const deployment_id& deployment) {
  return take_deployment(link_, deployment_status_request{deployment});
}

result<cluster_status> service_client::status() {
  return link_->call<cluster_status>(link_->manager(), deadlines::control,
                                     cluster_status_request{});
}

result<std::vector<run_event>> service_client::run_events(const run_id& run) {
  auto reply = link_->call<run_events_reply>(link_->manager(), deadlines::control,
                                             run_events_request{run, 0});
  if (!reply) return fail(reply.error());
  return std::move(reply->events);
}

result<run_info> service_client::acknowledge_rollback(const run_id& run) {
  return link_->call<run_info>(link_->manager(), deadlines::control,
                               acknowledge_rollback_request{run});
}

result<checkpoint_list> service_client::checkpoints(const run_id& run) {
  return link_->call<checkpoint_list>(link_->store(), deadlines::store,
                                      list_checkpoints_request{run});
}

result<checkpoint_record> service_client::checkpoint(const std::string& id_or_prefix) {
  return link_->call<checkpoint_record>(link_->store(), deadlines::store,
                                        get_checkpoint_request{{id_or_prefix}});
}

result<checkpoint_list> service_client::checkpoint_chain(const checkpoint_id& checkpoint) {
  return link_->call<checkpoint_list>(link_->store(), deadlines::store,
                                      checkpoint_chain_request{checkpoint});
}

result<void> service_client::remove_deployment(const deployment_id& deployment) {
  const auto ok = link_->call<done>(link_->manager(), deadlines::control,
                                    remove_deployment_request{deployment});
  if (!ok) return fail(ok.error());
  return {};
}

result<deployment_info> service_client::scale_deployment(const deployment_id& deployment,
                                                         std::uint32_t replicas) {
  return link_->call<deployment_info>(link_->manager(), deadlines::control,
                                      scale_deployment_request{deployment, replicas});
}

result<ledger_list> service_client::deployment_ledger(const deployment_id& deployment) {
  return link_->call<ledger_list>(link_->store(), deadlines::store,
                                  list_ledger_request{deployment});
}

result<void> service_client::remove_checkpoint(const checkpoint_id& checkpoint) {
  const auto ok =
      link_->call<done>(link_->store(), deadlines::store, remove_checkpoint_request{checkpoint});
  if (!ok) return fail(ok.error());
  return {};
}

result<garbage_report> service_client::collect_garbage(const collect_garbage_request& request) {
  return link_->call<garbage_report>(link_->store(), deadlines::store, request);
}

result<void> service_client::shutdown(const std::string& reason) {
  const auto ok =
      link_->call<done>(link_->manager(), deadlines::shutdown, shutdown_request{reason});
  if (!ok) return fail(ok.error());
  return {};
}

const std::string& service_client::storage_root() const {
  return link_->storage_root();
}

}  // namespace troupe::client
