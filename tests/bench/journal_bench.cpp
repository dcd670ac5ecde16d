// journal_bench [--folder DIR] [--seconds N] [--json]: what the op log costs. Acknowledgements per
// second of the store's actor with many clients that each wait for theirs (group commit), and the
// latency of one client beside that of a bare write and fdatasync on the same disk, interleaved
// because disks change their mood within seconds.

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <boost/json.hpp>
#include <caf/all.hpp>
#include <fcntl.h>
#include <unistd.h>

#include "actors/checkpoint_store.hpp"
#include "actors/runtime/ask.hpp"
#include "config/deadlines.hpp"
#include "storage/open_store.hpp"
#include "tests/bench/timing.hpp"

using namespace troupe;

namespace {

using bench::ms_since;
using bench::quantile;
using bench::steady;

append_op_request small_op(std::uint64_t client, std::uint64_t seq_id) {
  append_op_request request;
  request.op.run.value = "run-" + std::to_string(client);
  request.op.seq_id = seq_id;
  datum row;
  row.tokens.assign(80, static_cast<token_id>(seq_id % 1000));
  row.target_tokens = row.tokens;
  row.weights.assign(80, 1.0F);
  request.op.body = forward_backward_op{{row}, loss_fn::cross_entropy, {}};
  request.body_digest.value = std::string(64, 'd');
  return request;
}

/// Asks for one append after the other until told to stop.
struct client_actor {
  caf::event_based_actor* self;
  actors::checkpoint_store_actor store;
  std::uint64_t client;
  std::shared_ptr<std::atomic<std::uint64_t>> num_acknowledged;
  std::shared_ptr<std::atomic<bool>> is_over;
  std::uint64_t seq_id = 0;

  void next() {
    if (*is_over) return self->quit();
    actors::ask(
        self, store, deadlines::store, small_op(client, ++seq_id),
        [this](const done&) {
          ++*num_acknowledged;
          next();
        },
        [this](const error& e) {
          std::fprintf(stderr, "%s\n", to_string(e).c_str());
          self->quit();
        });
  }
};

double acknowledgements_per_s(caf::actor_system& system,
                              const actors::checkpoint_store_actor& store,
                              std::uint64_t first_client, std::uint64_t num_clients,
                              double seconds) {
  const auto count = std::make_shared<std::atomic<std::uint64_t>>(0);
  const auto is_over = std::make_shared<std::atomic<bool>>(false);
  std::vector<caf::actor> clients;
  const auto begun = steady::now();
  for (std::uint64_t i = 0; i < num_clients; ++i) {
    const auto number = first_client + i;
    clients.push_back(system.spawn([store, number, count, is_over](caf::event_based_actor* self) {
      const auto state =
          std::make_shared<client_actor>(client_actor{self, store, number, count, is_over});
      self->attach_functor([state] {});
      state->next();
    }));
  }
  caf::scoped_actor waiter(system);
  waiter->receive(caf::after(std::chrono::milliseconds(static_cast<long>(1000 * seconds))) >>
                  [] {});
  const double rate = static_cast<double>(*count) / (ms_since(begun) / 1000);
  *is_over = true;
  for (const auto& each : clients)
    waiter->wait_for(each);
  return rate;
}

struct latencies {
  std::vector<double> journal_ms;
  std::vector<double> bare_ms;
};

/// One client's append and a bare 1 KiB write with fdatasync, in turns.
latencies one_by_one(caf::actor_system& system, const actors::checkpoint_store_actor& store,
                     const std::string& folder, double seconds) {
  latencies out;
  const int file =
      ::open((folder + "/bare").c_str(), O_CREAT | O_WRONLY | O_APPEND | O_CLOEXEC, 0600);
  const std::string record(1024, 'r');
  caf::scoped_actor self(system);
  const auto begun = steady::now();
  for (std::uint64_t i = 1; ms_since(begun) < 1000 * seconds; ++i) {
    auto start = steady::now();
    if (::write(file, record.data(), record.size()) < 0 || ::fdatasync(file) != 0) break;
    out.bare_ms.push_back(ms_since(start));
    start = steady::now();
    bool is_done = false;
    self->request(store, deadlines::store, small_op(1'000'000, i))
        .receive([&is_done](const done&) { is_done = true; }, [](const caf::error&) {});
    if (!is_done) break;
    out.journal_ms.push_back(ms_since(start));
  }
  ::close(file);
  return out;
}

struct config : caf::actor_system_config {
  config() { set("caf.scheduler.max-threads", 2); }
};

int run(const std::string& parent, double seconds, bool as_json) {
  std::string folder = parent + "/troupe-journal-XXXXXX";
  if (::mkdtemp(folder.data()) == nullptr) return 2;
  boost::json::object out;
  {
    const auto values = storage::open_rocksdb_store(folder);
    const auto blobs = storage::open_posix_blob_store(folder);
    if (!values || !blobs) return 1;
    config settings;
    caf::actor_system system(settings);
    const auto store = actors::spawn_checkpoint_store(
        system, {values->get(), blobs->get(), actors::worker_threads::own_thread, {}, {}});
    const auto alone = one_by_one(system, store, folder, seconds);
    out["bare_fdatasync_p50_ms"] = quantile(alone.bare_ms, 0.5);
    out["bare_fdatasync_p99_ms"] = quantile(alone.bare_ms, 0.99);
    out["append_p50_ms"] = quantile(alone.journal_ms, 0.5);
    out["append_p99_ms"] = quantile(alone.journal_ms, 0.99);
    out["p50_ratio"] = quantile(alone.journal_ms, 0.5) / quantile(alone.bare_ms, 0.5);
    out["p99_ratio"] = quantile(alone.journal_ms, 0.99) / quantile(alone.bare_ms, 0.99);
    std::uint64_t first_client = 0;
    for (const std::uint64_t num_clients : {1U, 32U, 128U}) {
      out["acks_per_s_" + std::to_string(num_clients)] =
          acknowledgements_per_s(system, store, first_client, num_clients, seconds);
      first_client += num_clients;
    }
    caf::scoped_actor self(system);
    caf::anon_send_exit(store, caf::exit_reason::user_shutdown);
    self->wait_for(store);
  }
  std::filesystem::remove_all(folder);
  if (as_json) {
    std::printf("%s\n", boost::json::serialize(out).c_str());
    return 0;
  }
  for (const auto& [name, value] : out)
    std::printf("%-24s %.3f\n", std::string(name).c_str(), value.as_double());
  return 0;
}

}  // namespace

int main(int count, char** words) {
  caf::init_global_meta_objects<caf::id_block::troupe>();
  caf::core::init_global_meta_objects();
  CLI::App app("What the op log costs on this disk.");
  std::string folder = ".";
  double seconds = 5;
  bool as_json = false;
  app.add_option("--folder", folder, "on the disk to measure");
  app.add_option("--seconds", seconds, "of each part");
  app.add_flag("--json", as_json);
  CLI11_PARSE(app, count, words);
  return run(folder, seconds, as_json);
}
