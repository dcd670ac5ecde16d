#pragma once

// One model being trained: a deterministic state machine over numbered ops. Takes ops in, orders
// them, journals each before it counts, gives them one by one to its trainer_group, and commits
// each by one durable record after all ranks have done it. When the group is lost it forms a new
// one from the newest snapshot and repeats the journalled ops since; the client sees a delay.
//
// Owner: job_manager. Idempotency: (run, seq_id) with the body's digest. Deadline: deadlines::op.
// Threading: an actor, never blocks. Durability: every answer is durable before it leaves.
// Errors: those of op_sequencer; user errors of an op end it for good (its seq_id is used up, state
// unchanged); errc::aborted for an op that broke the group too often.
// Invariants: RUN-1 ops apply in order of seq_id, each exactly once. RUN-2 an op that was answered
// is in the journal as finished. RUN-3 work of an older incarnation is never merged. RUN-4 a replay
// that cannot be exact is never silent: the run rolls back to its snapshot, says so and refuses ops
// until that is acknowledged, across restarts. RUN-5 payloads are kept until a newer snapshot was
// read back whole. RUN-6 there is never more than one snapshot that was not read back, so the one
// before it is whole. RUN-7 who asks how the run stands hears what its journal says, from the first
// moment of a restarted control node on.

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include <caf/all.hpp>

#include "actors/logic/batch_planner.hpp"
#include "actors/logic/op_sequencer.hpp"
#include "actors/logic/snapshot_pace.hpp"
#include "actors/logic/step_commit.hpp"
#include "actors/protocol/type_ids.hpp"
#include "actors/runtime/clock.hpp"

namespace troupe::actors {

struct training_run_config {
  run_record record;
  model_config model;
  std::uint64_t snapshot_every_steps = 20;
  checkpoint_store_actor store;
  job_manager_actor manager;
};

using training_run_self = training_run_actor::extend<caf::result<void>(tick)>;

class training_run_state {
 public:
  static constexpr const char* name = "training_run";

  training_run_state(training_run_self::pointer self, training_run_config config);
  training_run_self::behavior_type make_behavior();

 private:
  using op_promise = caf::typed_response_promise<op_reply>;
  /// The op and step whose state an image holds.
  struct captured_at {
    std::uint64_t seq_id = 0;
    std::uint64_t step = 0;
    time_point begun = {};
    double waited_s = 0;  ///< ops, for the copy to be made
  };

  // -- arriving ops (training_run.cpp) --
  caf::result<op_reply> offer(const op_request& request);
  void take(const op_request& request, op_promise promise);
  [[nodiscard]] result<void> check(const op_body& body) const;
  void journal(logic::sequenced_op op);
  caf::result<run_info> attach();
  caf::result<run_info> tell_status();
  /// At once, or when the journal's ops are known.
  void when_booted(std::function<void()> then);
  void run_after_boot();
  [[nodiscard]] run_info info() const;
  void report(run_event event);
  void report(run_event_kind kind, std::string detail);
  void set_phase(run_phase phase, std::string detail);

  // -- executing (training_run_ops.cpp) --
  void pump();
  /// False for answers that belong to a set of shards that was lost meanwhile.
  [[nodiscard]] bool is_current(std::uint64_t incarnation) const;
  void execute(const op_request& op);
  void execute_load(const op_request& op, const load_state_op& body);
  void execute_publish(const op_request& op, const save_weights_op& body);
  void publish_as(const op_request& op, checkpoint_kind kind);
  void give_work(const op_request& op, logic::split_op work);
  void complete(const op_request& op, const logic::merged_reply& merged);
  void commit_training_checkpoint(const op_request& op, const logic::merged_reply& merged);
  void commit_sampler_checkpoint(const op_request& op, const logic::merged_reply& merged);
  void confirm_published(const op_request& op, const checkpoint_record& record);
  void finish(const op_request& op, std::variant<op_reply, error> outcome);
  void finished(const op_request& op, const std::variant<op_reply, error>& outcome);
  void op_failed(const op_request& op, const error& reason);
  [[nodiscard]] checkpoint_manifest manifest(checkpoint_kind kind, const std::string& label,
                                             const captured_at& at,
                                             const logic::merged_reply& merged) const;
  void apply_output(const op_request& op, const op_output& output);
  [[nodiscard]] op_output output_of(const op_request& op, const logic::merged_reply& merged) const;

  // -- snapshots, and what needs one (training_run_snapshot.cpp) --
  void snapshot_if_due();
  void take_snapshot();
  void write_snapshot(const captured_at& at);
  void snapshot_committed(const captured_at& at, const checkpoint_record& record);
  void snapshot_failed(const error& reason);
  void verify_snapshot(const checkpoint_id& written, std::optional<checkpoint_record> older);
  void verify_inherited();
  void snapshot_damaged(const std::optional<checkpoint_record>& older, const error& reason);
  void after_snapshot();
  caf::result<run_info> park();
  void park_unused(const park_idle& wanted);
  [[nodiscard]] bool is_parking() const { return !parking_.empty() || idle_; }
  void finish_parking();
  void give_nodes_back(std::string detail);
  void wake();
  void leave_nodes(const std::string& reason);
  void move();
  void hand_over();

  // -- rollback (training_run_rollback.cpp) --
  [[nodiscard]] bool is_void(std::uint64_t seq_id) const;
  [[nodiscard]] bool waits_for_acknowledgement() const;
  [[nodiscard]] error rolled_back_error() const;
  void replay_differs(std::uint64_t seq_id);
  void roll_back(const std::string& reason);
  void rolled_back(const std::string& cursor);
  void refuse_pending();
  caf::result<run_info> acknowledge();

  // -- recovery (training_run_recovery.cpp) --
  void load_journal();
  void recover(const error& reason);
  void count_loss(const error& reason);
  void form();
  void formed(const group_formed& group);
  void forming_failed(const error& reason);
  void check_snapshot(const error& reason);
  void check_published(const error& reason);
  void verify_published(const std::shared_ptr<std::vector<checkpoint_record>>& left,
                        const error& reason);
  void forget_published(const error& reason);
  void retry_forming(const error& reason);
  void fall_back(const error& reason);
  using log_reader = std::function<void(std::deque<logged_op>)>;
  void read_log(std::uint64_t after_seq_id, log_reader then);
  void read_replay(std::uint64_t after_seq_id);
  void booted();
  void restore_known_ops();
  void trim(std::uint64_t through_seq_id);
  void replay_next();
  void replay_work(const std::shared_ptr<logged_op>& op, logic::split_op work);
  [[nodiscard]] std::uint64_t covered_seq_id() const;
  void replayed(const logged_op& op, const logic::merged_reply& merged);
  void resumed();
  void stop(const error& reason);

  training_run_self::pointer self_;
  training_run_config config_;
  run_record record_;
  trainer_group_actor group_;
  logic::op_sequencer sequencer_;

  run_phase phase_ = run_phase::starting;
  std::string detail_;
  model_config model_;
  std::uint64_t committed_seq_id_ = 0;
  std::uint64_t changed_seq_id_ = 0;  ///< last committed op that changed the state
  std::uint64_t committed_step_ = 0;
  state_digest committed_weights_;
  std::uint64_t step_ = 0;  ///< of the live shards: behind the committed one while replaying
  state_digest weights_;
  checkpoint_id last_checkpoint_;
  std::string cursor_;
  std::optional<checkpoint_record> snapshot_;
  std::optional<checkpoint_record> published_;
  chain_form published_form_ = chain_form::shortest;
  checkpoint_kind publishing_ = checkpoint_kind::sampler_base;  ///< what the ranks now write

  bool has_gradients_ = false;  ///< since the last step: no snapshot holds them
  std::vector<caf::typed_response_promise<run_info>> parking_;
  std::optional<std::string> idle_;  ///< why the nodes are given back without being asked to
  std::deque<op_request> ready_;     ///< journalled, in order, not finished
  bool busy_ = false;
  std::uint64_t dispatched_ = 0;  ///< the op that the shards work at; 0: none
  bool is_saving_ = false;        ///< a snapshot is on its way
  bool is_verifying_ = false;     ///< it is being read back, whatever becomes of the shards
  bool is_inherited_ = true;      ///< the newest is that of an earlier control node
  logic::snapshot_pace pace_;
  std::optional<std::string> moving_;  ///< why the nodes must be left
  std::map<std::uint64_t, logic::batch_plan> forward_plans_;
  std::map<std::uint64_t, std::vector<op_promise>> waiting_;

  bool is_booting_ = true;  ///< the journal's ops are not known yet: new ones wait
  std::vector<std::pair<op_request, op_promise>> early_;
  std::vector<std::function<void()>> after_boot_;
  std::deque<logged_op> replay_;
  std::uint64_t num_replayed_ = 0;
  std::uint32_t num_mismatches_ = 0;  ///< replays in a row that were not exact
  state_digest formed_weights_;       ///< before anything was replayed
  time_point lost_at_{};
  double forming_s_ = 0;  ///< of the last recovery, before its first repeated op
  std::vector<run_event> events_;
};

[[nodiscard]] training_run_actor spawn_training_run(caf::actor_system& system,
                                                    training_run_config config);

}  // namespace troupe::actors
