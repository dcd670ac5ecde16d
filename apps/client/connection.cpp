#include "apps/client/connection.hpp"

#include <unistd.h>

#include "apps/client/front_door_call.hpp"
#include "apps/client/network.hpp"
#include "config/deadlines.hpp"
#include "messages/cluster.hpp"

namespace troupe::client {

struct connection::network {
  explicit network(const apps::cluster_endpoint& endpoint)
      : config(apps::tls_files_of(endpoint.data_folder), 2), system(config) {}

  network_config config;
  caf::actor_system system;
};

connection::connection(const apps::cluster_endpoint& endpoint)
    : network_(std::make_unique<network>(endpoint)),
      hub_(network_->system.spawn(client::hub)),
      data_folder_(endpoint.data_folder) {}

connection::~connection() = default;

/// In the user's thread: nothing of the network may be left when the program ends.
void connection::close() {
  std::unique_lock lock(mutex_);
  is_closed_ = true;
  finder_.request_stop();
  const bool is_still = pause_.wait_for(lock, deadlines::connect, [this] { return !is_finding_; });
  lock.unlock();
  if (!is_still) {
    // Deep in a handshake with a process that answers nothing; no call of ours ends that.
    finder_.detach();
    (void)network_.release();
    return;
  }
  finder_ = {};
  {
    caf::scoped_actor self(network_->system);
    self->monitor(hub_);
    post(hub_, [weak = weak_from_this()](hub_actor::pointer hub) {
      const auto link = weak.lock();
      if (!link) return;
      for (const auto& listener : link->listeners())
        listener->link_closed(hub);
      hub->quit();
    });
    self->receive([](const caf::down_msg&) {}, caf::after(deadlines::control) >> [] {});
  }
  hub_ = nullptr;
  manager_ = nullptr;
  store_ = nullptr;
  network_.reset();
}

actors::job_manager_actor connection::manager() const {
  const std::lock_guard lock(mutex_);
  return manager_;
}

actors::checkpoint_store_actor connection::store() const {
  const std::lock_guard lock(mutex_);
  return store_;
}

tl::unexpected<error> connection::closed() {
  return fail(errc::cancelled, "the client that made this has ended",
              "its service_client and all that came from it were destroyed",
              "keep the client for as long as answers are wanted");
}

void connection::listen(std::weak_ptr<link_listener> listener) {
  const std::lock_guard lock(mutex_);
  std::erase_if(listeners_, [](const auto& each) { return each.expired(); });
  listeners_.push_back(std::move(listener));
}

std::vector<std::shared_ptr<link_listener>> connection::listeners() {
  const std::lock_guard lock(mutex_);
  std::vector<std::shared_ptr<link_listener>> out;
  for (const auto& each : listeners_) {
    if (auto alive = each.lock()) out.push_back(std::move(alive));
  }
  return out;
}

result<void> connection::attach(const apps::cluster_endpoint& endpoint,
                                const std::stop_token& stop) {
  attach_request request;
  request.cluster = endpoint.cluster;
  request.join_token = endpoint.join_token;
  request.process_id = static_cast<std::uint64_t>(::getpid());
  request.node.value = "client-" + std::to_string(request.process_id);
  auto attached =
      ask_front_door<attach_reply, actors::job_manager_actor, actors::checkpoint_store_actor>(
          network_->system, endpoint, stop, request);
  if (!attached) return fail(attached.error());
  auto& [welcome, manager, store] = *attached;
  {
    const std::lock_guard lock(mutex_);
    manager_ = manager;
    store_ = store;
  }
  storage_root_ = welcome.storage_root;
  post(hub_, [weak = weak_from_this()](hub_actor::pointer self) {
    if (const auto link = weak.lock()) link->watch(self);
  });
  return {};
}

void connection::watch(hub_actor::pointer self) {
  self->set_down_handler([weak = weak_from_this(), self](const caf::down_msg& down) {
    const auto link = weak.lock();
    if (link && down.source == link->manager().address()) link->lost(self);
  });
  self->monitor(manager());
}

void connection::lost(hub_actor::pointer self) {
  for (const auto& listener : listeners())
    listener->link_lost(self);
  // One that found this control node may not have ended yet.
  std::jthread earlier;
  {
    const std::lock_guard lock(mutex_);
    earlier = std::move(finder_);
  }
  earlier = {};
  const std::lock_guard lock(mutex_);
  if (is_closed_) return;
  is_finding_ = true;
  finder_ = std::jthread([link = shared_from_this()](const std::stop_token& stop) {
    link->find_again(stop);
    const std::lock_guard done(link->mutex_);
    link->is_finding_ = false;
    link->pause_.notify_all();
  });
}

void connection::find_again(const std::stop_token& stop) {
  auto found = search_cluster(
      data_folder_, deadlines::capacity, stop,
      [&](const apps::cluster_endpoint& endpoint) { return attach(endpoint, stop); });
  if (!stop.stop_requested()) tell_restored(std::move(found));
}

void connection::tell_restored(result<void> outcome) {
  post(hub_, [weak = weak_from_this(), outcome = std::move(outcome)](hub_actor::pointer self) {
    const auto link = weak.lock();
    if (!link) return;
    for (const auto& listener : link->listeners())
      listener->link_restored(self, outcome);
  });
}

result<std::shared_ptr<connection>> connection::open(const apps::cluster_endpoint& endpoint) {
  static std::once_flag once;
  static result<void> prepared;
  std::call_once(once, [] { prepared = prepare_network(); });
  if (!prepared) return fail(prepared.error());
  auto link = std::make_shared<connection>(endpoint);
  const auto attached = link->attach(endpoint, {});
  connection* const used = link.get();
  std::shared_ptr<connection> user(used, [link = std::move(link)](connection*) mutable {
    link->close();
    link.reset();
  });
  if (!attached) return fail(attached.error());
  return user;
}

}  // namespace troupe::client
