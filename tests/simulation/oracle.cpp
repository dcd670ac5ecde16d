#include "tests/simulation/oracle.hpp"

#include <algorithm>

#include "storage/journal.hpp"

namespace troupe::tests {

std::vector<std::string> check_log(sim_cluster& cluster, const run_id& run,
                                   const std::vector<op_reply>& replies) {
  std::vector<logged_op> log;
  for (bool complete = false; !complete;) {
    const std::uint64_t after = log.empty() ? 0 : log.back().op.seq_id;
    const auto page =
        cluster.ask<read_log_reply>(cluster.store(), read_log_request{run, after, 64});
    if (!page) return {"I4: the log cannot be read: " + to_string(page.error())};
    const auto& reply = std::get<0>(*page);
    log.insert(log.end(), reply.ops.begin(), reply.ops.end());
    complete = reply.complete || reply.ops.empty();
  }
  std::vector<std::string> broken;
  if (log.size() != replies.size()) {
    broken.push_back("I4: " + std::to_string(replies.size()) + " ops were answered, " +
                     std::to_string(log.size()) + " are in the log");
  }
  for (std::size_t i = 0; i < std::min(log.size(), replies.size()); ++i) {
    const std::string name = "op " + std::to_string(i + 1);
    if (log[i].op.seq_id != i + 1) broken.push_back("I4: " + name + " is missing in the log");
    const auto* kept = std::get_if<op_reply>(&log[i].outcome);
    if (!log[i].finished || kept == nullptr) {
      broken.push_back("I2: " + name + " was answered but did not end in the log");
    } else if (!(*kept == replies[i])) {
      broken.push_back("I2: " + name + " was answered otherwise than the log says");
    }
  }
  return broken;
}

std::vector<std::string> check_durable(sim_cluster& cluster, const run_id& run,
                                       const op_reply& reply) {
  const std::string name = "op " + std::to_string(reply.seq_id);
  const auto disk = cluster.disk().after_a_loss_of_power();
  sim_values values(disk.get());
  sim_blobs blobs(disk.get());
  if (values.refusal()) return {"I1: the database would be lost: " + to_string(*values.refusal())};
  const auto page = storage::journal(values, blobs).read({run, reply.seq_id - 1, 1});
  if (!page) return {"I1: the log would be lost: " + to_string(page.error())};
  if (page->ops.empty() || page->ops.front().op.seq_id != reply.seq_id)
    return {"I1: " + name + " was answered before it was durable"};
  const logged_op& kept = page->ops.front();
  const auto* answer = std::get_if<op_reply>(&kept.outcome);
  if (!kept.finished || answer == nullptr || !(*answer == reply))
    return {"I1: " + name + " was answered before its answer was durable"};
  return {};
}

std::vector<std::string> check_checkpoints(sim_cluster& cluster, const run_id& run,
                                           const std::vector<op_reply>& replies) {
  std::vector<std::string> broken;
  const auto known = cluster.ask<checkpoint_list>(cluster.store(), list_checkpoints_request{run});
  if (!known) return {"I5: checkpoints cannot be listed: " + to_string(known.error())};
  const auto& records = std::get<0>(*known).records;
  const auto exists = [&records](const checkpoint_id& id) {
    return std::any_of(records.begin(), records.end(),
                       [&id](const checkpoint_record& r) { return r.id == id; });
  };
  for (const auto& record : records) {
    const auto& parent = record.manifest.parent;
    const bool may_be_gone = record.manifest.kind == checkpoint_kind::snapshot;
    if (!parent.empty() && !may_be_gone && !exists(parent))
      broken.push_back("I5: a parent does not exist");
  }
  for (const op_reply& reply : replies) {
    const auto* saved = std::get_if<checkpoint_result>(&reply.output);
    if (saved == nullptr) continue;
    const auto whole =
        cluster.ask<done>(cluster.store(), verify_checkpoint_request{saved->checkpoint});
    if (!whole) {
      broken.push_back("I1: checkpoint " + saved->checkpoint.value +
                       " was acknowledged: " + to_string(whole.error()));
    }
  }
  return broken;
}

}  // namespace troupe::tests
