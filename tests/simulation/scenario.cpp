#include "tests/simulation/scenario.hpp"

#include <array>
#include <optional>
#include <utility>

#include "actors/logic/step_commit.hpp"
#include "config/deadlines.hpp"
#include "tests/simulation/oracle.hpp"
#include "tests/simulation/workload.hpp"
#include "tests/support/sim_cluster.hpp"

namespace troupe::tests {
namespace {

const run_id run_name{"r"};

/// Longer than any recovery takes in the cluster's own time, and less than a client would wait.
constexpr std::chrono::minutes answer_within{10};
/// Work whose answer is lost without a trace is waited for before it is given up.
constexpr std::chrono::minutes answer_in_spite_of_loss{25};
static_assert(answer_in_spite_of_loss < deadlines::op);
/// A client asks again when nothing came for this long.
constexpr std::chrono::milliseconds patience = deadlines::control;
constexpr int attempts_max = 100;

class storm {
 public:
  storm(const scenario& wanted, const std::vector<op_body>& ops, const std::vector<op_reply>& calm)
      : wanted_(wanted),
        ops_(ops),
        calm_(calm),
        cluster_(wanted.seed, 3, 0, sim_cluster::storage_kind::disk) {}

  verdict run() {
    auto created = cluster_.ask<run_info, actors::training_run_actor>(
        cluster_.manager(), create_run_request{run_name.value, {tiny_model_directory()}, 2, 1, 0});
    if (!created) {
      breaks("I10", "the run was not created: " + to_string(created.error()));
      return std::move(out_);
    }
    run_ = std::get<1>(*created);
    for (std::uint64_t seq_id = 1; seq_id <= ops_.size() && out_.broken.empty(); ++seq_id)
      do_op(seq_id);
    cluster_.resume_nodes();
    cluster_.network().heal();
    if (out_.broken.empty()) look_at_the_end();
    out_.trace = cluster_.trace();
    out_.num_messages = cluster_.num_messages();
    out_.simulated_s = static_cast<double>(cluster_.elapsed().count()) / 1000;
    return std::move(out_);
  }

 private:
  using pending_reply = std::shared_ptr<sim_cluster::pending_answer<op_reply>>;

  void breaks(const std::string& invariant, const std::string& what) {
    out_.broken.push_back(invariant + ": " + what);
  }

  [[nodiscard]] op_request request(std::uint64_t seq_id) const {
    return {run_name, epoch_, seq_id, ops_[seq_id - 1], "c" + std::to_string(seq_id)};
  }

  std::optional<fault> next_fault() {
    if (out_.num_faults >= wanted_.num_faults || wanted_.faults.empty()) return std::nullopt;
    if (cluster_.random()() % 3 != 0) return std::nullopt;
    auto at = wanted_.faults.begin();
    std::advance(at, static_cast<std::ptrdiff_t>(cluster_.random()() % wanted_.faults.size()));
    ++out_.num_faults;
    return *at;
  }

  void do_op(std::uint64_t seq_id) {
    const auto chosen = next_fault();
    std::vector<pending_reply> sent;
    if (chosen == fault::reorder && seq_id < ops_.size()) {
      sent.push_back(cluster_.begin<op_reply>(run_, request(seq_id + 1)));
      cluster_.run(cluster_.random()() % 60);
    }
    sent.push_back(cluster_.begin<op_reply>(run_, request(seq_id)));
    cluster_.run(cluster_.random()() % 60);
    if (chosen) inject(*chosen, seq_id);
    // Who has the answer does not ask again, but for the sake of a test.
    const bool has_answer = sent.back()->done && sent.back()->outcome;
    const auto reply = has_answer && cluster_.random()() % 2 == 0
                           ? std::optional(std::get<0>(*sent.back()->outcome))
                           : insist(seq_id);
    if (!reply) return;
    check_answer(seq_id, *reply);
    if (cluster_.random()() % 8 == 0) {
      for (const auto& broken : check_durable(cluster_, run_name, *reply))
        out_.broken.push_back(broken);
    }
    if (sent.back()->done && sent.back()->outcome)
      check_answer(seq_id, std::get<0>(*sent.back()->outcome));
    replies_.push_back(*reply);
    if (paused_until_ != 0 && seq_id >= paused_until_) {
      cluster_.resume_nodes();
      paused_until_ = 0;
    }
  }

  /// Asks until the answer is there, as the client library does.
  std::optional<op_reply> insist(std::uint64_t seq_id) {
    const auto begun = cluster_.elapsed();
    for (int attempt = 0; attempt < attempts_max; ++attempt) {
      auto answer = cluster_.ask<op_reply>(run_, request(seq_id), patience);
      const bool may_lose = wanted_.faults.contains(fault::lost_mail);
      if (cluster_.elapsed() - begun > (may_lose ? answer_in_spite_of_loss : answer_within)) {
        breaks("I9", "op " + std::to_string(seq_id) + " took longer than it may");
        return std::nullopt;
      }
      if (answer) return std::get<0>(*answer);
      last_refusal_ = to_string(answer.error());
      if (const auto& refusal = cluster_.values().refusal()) {
        breaks("I1", "the database is lost: " + to_string(*refusal));
        return std::nullopt;
      }
      if (cluster_.disk().has_failed()) cluster_.restart_control();
      attach();
    }
    breaks("I10", "op " + std::to_string(seq_id) + " is never done: " + last_refusal_);
    return std::nullopt;
  }

  void attach() {
    for (int attempt = 0; attempt < attempts_max; ++attempt) {
      auto taken = cluster_.ask<run_info, actors::training_run_actor>(
          cluster_.manager(), attach_run_request{run_name}, patience);
      if (taken) {
        run_ = std::get<1>(*taken);
        epoch_ = std::get<0>(*taken).client_epoch;
        return;
      }
      last_refusal_ = to_string(taken.error());
      if (cluster_.disk().has_failed()) cluster_.restart_control();
    }
  }

  void check_answer(std::uint64_t seq_id, const op_reply& reply) {
    if (reply.seq_id != seq_id) breaks("I2", "an answer for another op");
    if (!calm_.empty() && !logic::same_outcome(calm_[seq_id - 1].output, reply.output)) {
      breaks("I3", "op " + std::to_string(seq_id) + " has another result than in a calm run");
    }
  }

  void inject(fault what, std::uint64_t seq_id) {
    switch (what) {
      case fault::kill:
        return replace_nodes(1, [this] { cluster_.kill_node(node_role::trainer); });
      case fault::kill_two:
        return replace_nodes(2, [this] { cluster_.kill_node(node_role::trainer); });
      case fault::notice:
        return replace_nodes(1, [this] { cluster_.ask_to_leave(node_role::trainer); });
      case fault::pause:
        paused_until_ = seq_id + 1 + cluster_.random()() % 6;
        return replace_nodes(1, [this] { cluster_.pause_node(node_role::trainer); });
      case fault::control:
        cluster_.restart_control();
        return attach();
      case fault::power_loss:
        cluster_.restart_control(true);
        return attach();
      case fault::full_disk:
        return fail_disk(sim_disk::failure::full);
      case fault::io_error:
        return fail_disk(sim_disk::failure::broken);
      case fault::torn_write:
        return fail_disk(sim_disk::failure::torn);
      case fault::park:
        (void)cluster_.ask<run_info>(run_, park_run_request{run_name}, patience);
        return;
      case fault::duplicate:
        for (int i = 0; i < 3; ++i)
          (void)cluster_.begin<op_reply>(run_, request(seq_id));
        return;
      case fault::liar:
        return lie(seq_id);
      case fault::old_client:
        return speak_as_before(seq_id);
      case fault::damage:
        return damage_snapshot();
      case fault::reorder:
        return;
      default:
        return disturb_the_network(what);
    }
  }

  /// For seconds: long enough to outlast a lease, or too short for anybody to notice.
  void disturb_the_network(fault what) {
    auto& network = cluster_.network();
    const std::chrono::milliseconds time(500 + cluster_.random()() % 8000);
    const auto until = cluster_.elapsed() + time;
    constexpr std::chrono::milliseconds some_time{400};
    switch (what) {
      case fault::slow_link:
        return network.set_weather({.delay_max = some_time}, until);
      case fault::lost_mail:
        return network.set_weather({.lose_one_in = 8}, until);
      case fault::twice_mail:
        return network.set_weather({.repeat_one_in = 3, .delay_max = some_time}, until);
      case fault::mixed_mail:
        return network.set_weather({.delay_max = some_time, .keeps_order = false}, until);
      case fault::partition:
        (void)cluster_.cut_off_node(node_role::trainer, sim_network::way::both, time);
        return;
      case fault::one_way: {
        const bool is_in = cluster_.random()() % 2 == 0;
        (void)cluster_.cut_off_node(node_role::trainer,
                                    is_in ? sim_network::way::in : sim_network::way::out, time);
        return;
      }
      default:
        (void)cluster_.reset_link(node_role::trainer);
        return;
    }
  }

  void fail_disk(sim_disk::failure how) {
    cluster_.disk().fail_after(how, static_cast<std::uint32_t>(cluster_.random()() % 12));
  }

  template <class Act>
  void replace_nodes(int count, Act act) {
    for (int i = 0; i < count; ++i)
      act();
    for (int i = 0; i < count; ++i)
      cluster_.add_node(node_role::trainer);
  }

  void lie(std::uint64_t seq_id) {
    if (!cluster_.network().is_fair(cluster_.elapsed())) return;
    cluster_.run(500);  // the true one arrives first
    auto other = request(seq_id);
    other.body = save_state_op{"another body"};
    const auto refused = cluster_.ask<op_reply>(run_, other, patience);
    if (refused) breaks("I2", "a reused number was answered");
  }

  void speak_as_before(std::uint64_t seq_id) {
    auto old = request(seq_id);  // the last op has none behind it
    old.seq_id = seq_id + 1;
    old.body = optim_step_op{};
    attach();
    const auto refused = cluster_.begin<op_reply>(run_, old);
    cluster_.run(200);
    if (refused->done && refused->outcome) breaks("I7", "a replaced client's op was done");
  }

  void damage_snapshot() {
    if (was_damaged_) return;
    const auto known =
        cluster_.ask<checkpoint_list>(cluster_.store(), list_checkpoints_request{run_name});
    if (!known) return;
    const checkpoint_record* newest = nullptr;
    std::set<std::string> saved;
    for (const auto& record : std::get<0>(*known).records) {
      for (const auto& file : record.manifest.files) {
        if (record.manifest.kind != checkpoint_kind::snapshot) saved.insert(file.blob.value);
      }
      const bool is_newer = newest == nullptr || newest->manifest.step < record.manifest.step;
      if (record.manifest.kind == checkpoint_kind::snapshot && is_newer) newest = &record;
    }
    if (newest == nullptr) return;
    was_damaged_ = true;
    // Equal content is one blob: a checkpoint of the same step stays whole.
    for (const auto& file : newest->manifest.files) {
      if (!saved.contains(file.blob.value)) cluster_.blobs().flip_a_bit(file.blob);
    }
    replace_nodes(1, [this] { cluster_.kill_node(node_role::trainer); });
  }

  /// What was answered must be there even if the power fails now.
  void look_at_the_end() {
    cluster_.restart_control(true);
    if (const auto& refusal = cluster_.values().refusal())
      return breaks("I1", "the database is lost: " + to_string(*refusal));
    attach();
    const auto state = cluster_.ask<run_info>(run_, run_status_request{run_name});
    const auto events = cluster_.ask<run_events_reply>(run_, run_events_request{run_name, 0});
    if (!state || !events) return breaks("I10", "the run does not say how it is");
    out_.num_recoveries = std::get<0>(*state).incarnation - 1;
    if (cluster_.engines().num_repeated_sets() > 0)
      breaks("I7", "an incarnation was handed out twice");
    for (const auto& broken : check_log(cluster_, run_name, replies_))
      out_.broken.push_back(broken);
    for (const auto& broken : check_checkpoints(cluster_, run_name, replies_))
      out_.broken.push_back(broken);
    if (std::get<0>(*state).cursor != "c" + std::to_string(ops_.size()))
      breaks("I2", "the cursor is not that of the last op");
    for (const run_event& event : std::get<0>(*events).events) {
      if (event.kind == run_event_kind::rolled_back)
        breaks("I3", "the run lost ops: " + event.detail);
    }
  }

  const scenario& wanted_;
  const std::vector<op_body>& ops_;
  const std::vector<op_reply>& calm_;
  sim_cluster cluster_;
  actors::training_run_actor run_;
  std::uint64_t epoch_ = 1;
  std::uint64_t paused_until_ = 0;
  bool was_damaged_ = false;
  std::string last_refusal_;
  std::vector<op_reply> replies_;
  verdict out_;
};

constexpr std::array<std::string_view, 22> fault_names{
    "kill",    "kill_two",   "control",    "notice",     "pause",      "duplicate",
    "reorder", "liar",       "old_client", "park",       "full_disk",  "io_error",
    "damage",  "slow_link",  "lost_mail",  "twice_mail", "mixed_mail", "partition",
    "one_way", "power_loss", "torn_write", "reset_link"};

}  // namespace

std::string_view to_string(fault which) {
  return fault_names.at(static_cast<std::size_t>(which));
}

const std::set<fault>& all_faults() {
  static const std::set<fault> all = [] {
    std::set<fault> out;
    for (std::size_t i = 0; i < fault_names.size(); ++i)
      out.insert(static_cast<fault>(i));
    return out;
  }();
  return all;
}

result<std::set<fault>> parse_faults(const std::string& text) {
  if (text == "all") return all_faults();
  std::set<fault> out;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    const std::string name = text.substr(begin, end - begin);
    const auto known = std::find(fault_names.begin(), fault_names.end(), name);
    if (known == fault_names.end()) {
      return fail(errc::invalid_argument, "there is no fault '" + name + "'", "",
                  "see troupe-sim --help");
    }
    out.insert(static_cast<fault>(known - fault_names.begin()));
    begin = end + 1;
  }
  return out;
}

verdict run_scenario(const scenario& wanted, const std::vector<op_reply>& calm) {
  const auto ops = make_workload(wanted.workload);
  if (!ops) return {{to_string(ops.error())}, 0, 0, 0, 0, 0};
  return storm(wanted, *ops, calm).run();
}

result<std::vector<op_reply>> calm_answers(const std::string& workload) {
  const auto ops = make_workload(workload);
  if (!ops) return fail(ops.error());
  sim_cluster cluster(1, 2, 0);
  auto created = cluster.ask<run_info, actors::training_run_actor>(
      cluster.manager(), create_run_request{run_name.value, {tiny_model_directory()}, 2, 1, 0});
  if (!created) return fail(created.error());
  std::vector<op_reply> replies;
  for (const op_body& body : *ops) {
    auto reply = cluster.ask<op_reply>(std::get<1>(*created),
                                       op_request{run_name, 1, replies.size() + 1, body, ""});
    if (!reply) return fail(reply.error());
    replies.push_back(std::get<0>(*reply));
  }
  return replies;
}

}  // namespace troupe::tests
