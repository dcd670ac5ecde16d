#pragma once

// One served model: keeps the wanted number of replicas open on idle sampler nodes, routes requests
// by what a replica knows of a prompt and how busy it is, and lets one weight sync run at a time. A
// replica that dies or falls silent is replaced and catches up alone with the live version before
// it serves; one that missed a sync does so too. Replicas that are to go finish what they decode.
//
// Streams are read through it, chunk by chunk. Requests are cancelled when their client says so,
// when it goes away, and, for streams, when it reads nothing for deadlines::stream_silence.
//
// Owner: job_manager. Deadlines: capacity, sample, sync, stream_silence. Threading: an actor, never
// blocks. Errors: errc::no_capacity, errc::busy (a sync runs already, a version is not live yet),
// errc::not_found (a version is not served any more; no such adapter), errc::cancelled. Requests of
// a replica that died are given to another one, a few times: their seeds make the answer the same;
// then they end in errc::peer_lost, as do streams of which a part was read.
// Invariants: DEPLOY-1 the version grows by one per sync that any replica committed and names one
//             checkpoint. DEPLOY-2 only replicas of the live version serve, except while a sync
//             runs. DEPLOY-3 every request ends in exactly one answer. DEPLOY-4 nothing is decoded
//             for a client that has gone.

#include <deque>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include <caf/all.hpp>

#include "actors/logic/replica_router.hpp"
#include "actors/protocol/type_ids.hpp"
#include "actors/runtime/clock.hpp"

namespace troupe::actors {

struct deployment_config {
  deployment_record record;  ///< version 0, or what was live before the control node ended
  model_config model;
  checkpoint_store_actor store;
  job_manager_actor manager;
};

using deployment_self = deployment_actor::extend<caf::result<void>(tick)>;

class deployment_state {
 public:
  static constexpr const char* name = "deployment";

  deployment_state(deployment_self::pointer self, deployment_config config);
  /// The replicas end with their deployment.
  ~deployment_state();
  deployment_self::behavior_type make_behavior();

 private:
  using sample_promise = caf::typed_response_promise<sample_reply>;

  struct place {
    replica_phase phase = replica_phase::opening;
    std::uint64_t opening = 0;  ///< number of the attempt; answers to earlier ones are ignored
    bool waits_to_retry = false;
    node_id node;
    node_agent_actor agent;  ///< while it opens the replica
    sampler_actor replica;
    std::uint64_t version = 0;
    std::uint64_t load = 0;  ///< sequences
    std::uint64_t answered = 0;
    std::uint32_t restarts = 0;
  };
  /// How a client names its request: clients do not know of each other.
  struct client_ticket {
    caf::actor_addr client;
    std::uint64_t ticket = 0;
    bool operator==(const client_ticket& other) const {
      return client == other.client && ticket == other.ticket;
    }
    bool operator<(const client_ticket& other) const {
      return client == other.client ? ticket < other.ticket : client < other.client;
    }
  };
  struct open_stream {
    caf::typed_response_promise<done> opened;  ///< until a replica has taken it
    std::optional<caf::typed_response_promise<sample_chunk>> reader;
    std::uint64_t next_chunk = 0;
    bool is_opened = false;
    time_point read_at;
  };
  struct open_request {
    sample_request request;
    client_ticket origin;
    sample_promise promise;  ///< unless it is a stream
    std::optional<open_stream> stream;
    std::uint32_t place = 0;
    std::uint32_t attempts = 0;
  };
  struct ended_stream {
    error reason;
    time_point at;
  };
  struct known_adapter {
    checkpoint_record record;
    time_point at;  ///< its files are leased since then
  };
  struct sync_round;
  using round_ptr = std::shared_ptr<sync_round>;

  // -- replicas (deployment_replicas.cpp) --
  [[nodiscard]] std::string hosting(std::uint32_t number) const;
  [[nodiscard]] place* current(std::uint32_t number, std::uint64_t opening);
  void adjust();
  void open_place(std::uint32_t number);
  void granted(std::uint32_t number, const node_grant& grant);
  void opened(std::uint32_t number, const sampler_actor& replica);
  void open_failed(std::uint32_t number, const error& reason);
  void catch_up(std::uint32_t number);
  void serve(std::uint32_t number);
  void went_down(const caf::actor_addr& source);
  void silent(const node_id& node);
  void replica_lost(std::uint32_t number);
  void drain(std::uint32_t number);
  void close_if_idle(std::uint32_t number);
  void end_replica(place& closing, std::uint32_t number);
  void retry_waiting();

  // -- requests (deployment.cpp) --
  caf::result<sample_reply> sample(const sample_request& request);
  [[nodiscard]] std::optional<error> misfit(const sample_request& request) const;
  void begin(open_request open);
  void route(open_request open);
  void wait(open_request open);
  [[nodiscard]] std::optional<error> refusal(const sample_request& request) const;
  void forward(open_request open, std::uint32_t number);
  void answered(std::uint64_t request);
  void tell(open_request& open, const error& reason);
  void refuse(open_request& open, const error& reason);
  void end_active(std::uint64_t request, const error& reason);

  // -- streams, adapters, clients (deployment_streams.cpp) --
  caf::result<done> begin_stream(const stream_sample_request& request);
  caf::result<sample_chunk> read(const read_sample_request& request);
  caf::result<done> cancel(const cancel_sample_request& request);
  void forward_stream(std::uint64_t request);
  void relay_read(std::uint64_t request);
  [[nodiscard]] bool find_adapter(sample_request& request);
  void fetch_adapter(const checkpoint_id& adapter);
  void adapter_fetched(const checkpoint_id& adapter, const result<checkpoint_record>& record);
  [[nodiscard]] result<checkpoint_record> checked_adapter(const checkpoint_list& chain) const;
  [[nodiscard]] open_request* find(const client_ticket& origin);
  void cancel_open(const client_ticket& origin, const error& reason);
  void tell_cancelled(std::uint64_t request);
  [[nodiscard]] client_ticket origin_of(std::uint64_t ticket);
  void watch(const client_ticket& origin);
  void release(const client_ticket& origin);
  void client_gone(const caf::actor_addr& client);
  void watch_silence();
  void end_silent_streams();

  // -- versions (deployment.cpp) --
  caf::result<sync_reply> sync(const sync_request& request);
  void sync_place(const round_ptr& round, std::uint32_t number);
  void end_place(const round_ptr& round, std::uint32_t number, const error& reason);
  void end_round(const round_ptr& round);
  void remember(const round_ptr& round);
  caf::result<deployment_info> scale(const scale_deployment_request& request);
  [[nodiscard]] deployment_info info() const;
  [[nodiscard]] std::uint32_t num_serving() const;
  void changed();

  deployment_self::pointer self_;
  deployment_config config_;
  deployment_id id_;
  std::map<std::uint32_t, place> places_;
  logic::replica_router router_;
  bool has_served_ = false;
  round_ptr round_;  ///< of the sync under way
  std::uint64_t version_ = 0;
  checkpoint_id checkpoint_;
  double logprob_gap_mean_ = 0;
  double logprob_gap_max_ = 0;
  std::uint64_t num_opened_ = 0;
  std::uint64_t num_forwarded_ = 0;
  std::map<std::uint64_t, open_request> active_;
  std::deque<open_request> waiting_;
  std::map<client_ticket, std::uint64_t> by_ticket_;  ///< those of active_ that have one
  std::map<client_ticket, ended_stream> ended_;       ///< what their readers are still to be told
  std::map<caf::actor_addr, std::uint64_t> clients_;  ///< open requests of each
  std::map<checkpoint_id, known_adapter> adapters_;
  std::set<checkpoint_id> fetching_;
  bool watches_silence_ = false;
};

[[nodiscard]] deployment_actor spawn_deployment(caf::actor_system& system,
                                                deployment_config config);

}  // namespace troupe::actors
