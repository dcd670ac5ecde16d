#include <filesystem>

#include <caf/all.hpp>
#include <caf/openssl/all.hpp>

#include "actors/checkpoint_store.hpp"
#include "actors/front_door.hpp"
#include "actors/job_manager.hpp"
#include "actors/runtime/clock.hpp"
#include "apps/client/network.hpp"
#include "apps/node/roles.hpp"
#include "apps/support/cluster_endpoint.hpp"
#include "apps/support/tls_authority.hpp"
#include "config/deadlines.hpp"
#include "config/failpoint.hpp"
#include "config/log.hpp"
#include "storage/garbage_collector.hpp"
#include "storage/open_store.hpp"
#include "storage/posix/data_folder.hpp"
#include "storage/run_catalog.hpp"

namespace troupe::node {
namespace {

struct stores {
  std::unique_ptr<storage::key_value_store> values;
  std::unique_ptr<storage::blob_store> blobs;
};

void garbage_stays(const error& reason) {
  config::log(config::log_level::warning, "garbage stays for now: " + to_string(reason));
}

/// What earlier processes left behind, before anybody writes here.
void sweep_leftovers(storage::key_value_store& values, storage::blob_store& blobs) {
  constexpr auto kept_s = static_cast<std::uint64_t>(deadlines::sampler_checkpoint_kept.count());
  storage::garbage_collector garbage(values, blobs, {});
  const auto swept = garbage.collect({false, kept_s}, actors::unix_time_ms());
  if (!swept) garbage_stays(swept.error());
}

result<stores> open_stores(const std::string& root, const std::string& cluster) {
  if (auto whole = storage::check_data_folder(root); !whole) return fail(whole.error());
  // Blobs first: a database without blobs is what is left of a folder.
  auto blobs = storage::open_posix_blob_store(root);
  if (!blobs) return fail(blobs.error());
  auto values = storage::open_rocksdb_store(root);
  if (!values) return fail(values.error());
  if (auto ok = storage::run_catalog(**values).claim(cluster); !ok) return fail(ok.error());
  sweep_leftovers(**values, **blobs);
  return stores{std::move(*values), std::move(*blobs)};
}

/// The token of an earlier start, so that nodes that still run can come back.
result<std::string> join_token_of(const std::string& root) {
  const auto earlier = apps::read_cluster_endpoint(root);
  if (earlier) return earlier->join_token;
  return apps::random_token();
}

struct heads {
  actors::checkpoint_store_actor store;
  actors::job_manager_actor manager;
  actors::front_door_actor door;
};

heads spawn_heads(caf::actor_system& system, const stores& open, const options& wanted,
                  const apps::cluster_endpoint& endpoint, exit_signal& exit) {
  heads out;
  actors::checkpoint_store_config store;
  store.values = open.values.get();
  store.blobs = open.blobs.get();
  store.garbage_stays = garbage_stays;
  store.fold_failed = [](const error& reason) {
    config::log(config::log_level::warning, "a chain stays unfolded: " + to_string(reason));
  };
  out.store = actors::spawn_checkpoint_store(system, store);
  actors::job_manager_config manager;
  manager.cluster = endpoint.cluster;
  manager.storage_root = endpoint.data_folder;
  manager.join_token = endpoint.join_token;
  manager.snapshot_every_steps = wanted.snapshot_every_steps;
  manager.park_idle_runs_after = std::chrono::seconds(wanted.park_idle_runs_after_s);
  manager.store = out.store;
  manager.on_shutdown = [&exit] { exit.leave(""); };
  out.manager = actors::spawn_job_manager(system, std::move(manager));
  attach_reply welcome;
  welcome.cluster = endpoint.cluster;
  welcome.control.value = wanted.name;
  welcome.storage_root = endpoint.data_folder;
  welcome.lease_ms = static_cast<std::uint32_t>(deadlines::lease.count());
  out.door = actors::spawn_front_door(
      system, {std::move(welcome), endpoint.join_token, out.manager, out.store});
  return out;
}

/// On the wanted port; for "any", first on the last one, where clients and nodes look first.
caf::expected<std::uint16_t> listen(const actors::front_door_actor& door,
                                    const apps::cluster_endpoint& endpoint) {
  const auto on = [&](std::uint16_t port) {
    return caf::openssl::publish(door, port, endpoint.host.c_str(), true);
  };
  if (endpoint.port != 0) return on(endpoint.port);
  const auto last = apps::read_cluster_endpoint(endpoint.data_folder);
  if (last && last->port != 0 && last->host == endpoint.host) {
    if (auto port = on(last->port)) return port;
  }
  return on(0);
}

/// The store must have written its last before the database closes.
void end_store(caf::actor_system& system, const actors::checkpoint_store_actor& store) {
  caf::scoped_actor self(system);
  self->monitor(store);
  caf::anon_send_exit(store, caf::exit_reason::user_shutdown);
  bool ended = false;
  self->receive([&ended](const caf::down_msg&) { ended = true; },
                caf::after(deadlines::shutdown / 2) >> [] {});
  if (!ended) config::log(config::log_level::warning, "the store did not end in time");
}

}  // namespace

result<void> serve_control(const options& wanted, exit_signal& exit) {
  std::error_code problem;
  const std::string root = std::filesystem::absolute(wanted.data_folder, problem).string();
  std::filesystem::create_directories(root, problem);
  config::failpoint("b1");
  auto open = open_stores(root, wanted.cluster);
  if (!open) return fail(open.error());
  const auto tls = apps::prepare_tls(root);
  if (!tls) return fail(tls.error());
  const auto token = join_token_of(root);
  if (!token) return fail(token.error());
  apps::cluster_endpoint endpoint{wanted.cluster, wanted.host, wanted.port, *token, root};

  if (auto ok = client::prepare_network(); !ok) return ok;
  client::network_config config(*tls, 2);
  caf::actor_system system(config);
  const heads running = spawn_heads(system, *open, wanted, endpoint, exit);
  const auto port = listen(running.door, endpoint);
  if (!port) {
    caf::anon_send_exit(running.door, caf::exit_reason::user_shutdown);
    caf::anon_send_exit(running.manager, caf::exit_reason::user_shutdown);
    end_store(system, running.store);
    return fail(errc::in_use,
                "cannot listen on " + endpoint.host + ":" + std::to_string(endpoint.port),
                "another program has the port: " + to_string(port.error()),
                "choose another port, or 0 to have one picked");
  }
  endpoint.port = *port;
  if (auto ok = apps::write_cluster_endpoint(endpoint); !ok) return ok;
  config::log(config::log_level::info,
              "listening on " + endpoint.host + ":" + std::to_string(endpoint.port));
  exit.tell_ready();
  const auto reason = exit.wait();
  config::log(config::log_level::info, "leaving");
  end_store(system, running.store);
  open->values.reset();
  if (reason && !reason->empty()) return fail(errc::aborted, *reason);
  // Other actors may still wait for nodes that leave at the same time; nothing of theirs is lost.
  std::_Exit(0);
}

}  // namespace troupe::node
