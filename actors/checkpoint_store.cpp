#include "actors/checkpoint_store.hpp"

#include <utility>

#include "actors/blob_verifier.hpp"
#include "actors/chain_folder.hpp"
#include "actors/runtime/ask.hpp"
#include "actors/runtime/clock.hpp"
#include "config/deadlines.hpp"
#include "config/failpoint.hpp"
#include "config/limits.hpp"
#include "config/planted_bug.hpp"
#include "storage/event_log.hpp"

namespace troupe::actors {
namespace {

template <class Answer, class Value>
caf::result<Answer> answer(result<Value> value) {
  if (!value) return to_caf(value.error());
  if constexpr (std::is_void_v<Value>) {
    return Answer{};
  } else {
    return Answer{std::move(*value)};
  }
}

/// As many lines as fit an answer.
result<std::vector<ledger_entry>> newest(result<std::vector<ledger_entry>> lines) {
  if (lines && lines->size() > limits::ledger_page_max)
    lines->erase(lines->begin(), lines->end() - std::ptrdiff_t{limits::ledger_page_max});
  return lines;
}

}  // namespace

checkpoint_store_state::checkpoint_store_state(checkpoint_store_self::pointer self,
                                               const checkpoint_store_config& config,
                                               blob_verifier_actor verifier,
                                               chain_folder_actor folder)
    : self_(self),
      values_(*config.values),
      journal_(*config.values, *config.blobs),
      checkpoints_(*config.values, *config.blobs),
      chains_(*config.values, checkpoints_),
      runs_(*config.values),
      garbage_(*config.values, *config.blobs, config.garbage),
      garbage_stays_(config.garbage_stays),
      fold_failed_(config.fold_failed),
      verifier_(std::move(verifier)),
      folder_(std::move(folder)) {
  self_->attach_functor([verifier = verifier_, folder = folder_](const caf::error&) {
    caf::anon_send_exit(verifier, caf::exit_reason::user_shutdown);
    caf::anon_send_exit(folder, caf::exit_reason::user_shutdown);
  });
}

caf::result<done> checkpoint_store_state::append(const append_op_request& request) {
  if (const auto* load = std::get_if<load_state_op>(&request.op.body)) {
    const auto pinned = garbage_.pin(load->checkpoint, request.op.run, request.op.seq_id);
    if (!pinned) return to_caf(pinned.error());
  }
  return share_next_write(journal_.append(request));
}

caf::result<done> checkpoint_store_state::put(const put_run_request& request) {
  if (auto written = runs_.put(request.record); !written) return to_caf(written.error());
  garbage_.recorded(request.record);
  auto promise = self_->make_response_promise<done>();
  promise.deliver(done{});
  checkpoint_id& snapshot = snapshots_[request.record.run];
  if (std::exchange(snapshot, request.record.snapshot) != request.record.snapshot) {
    collect_by_itself();
  }
  return promise;
}

caf::result<done> checkpoint_store_state::keep(const keep_event_request& request) {
  auto kept = storage::keeping(request);
  if (!kept) return to_caf(kept.error());
  journal_.share(std::move(*kept));
  return share_next_write({});
}

caf::result<done> checkpoint_store_state::verify(const verify_checkpoint_request& request) {
  const auto record = checkpoints_.get(request.checkpoint.value);
  if (!record) return to_caf(record.error());
  verify_blobs work;
  for (const checkpoint_file& file : record->manifest.files)
    work.blobs.push_back(file.blob);
  auto promise = self_->make_response_promise<done>();
  relay<done>(self_, verifier_, deadlines::verify, std::move(work), promise);
  return promise;
}

caf::result<done> checkpoint_store_state::share_next_write(result<void> staged) {
  if (!staged) return to_caf(staged.error());
  if (waiting_.empty()) tell(self_, checkpoint_store_self{self_}, tick{});
  if (config::is_planted(config::bug::answer_before_sync)) return done{};
  auto promise = self_->make_response_promise<done>();
  waiting_.push_back(promise);
  return promise;
}

void checkpoint_store_state::flush() {
  const auto written = journal_.flush();
  for (auto& promise : std::exchange(waiting_, {})) {
    if (written) {
      promise.deliver(done{});
    } else {
      promise.deliver(to_caf(written.error()));
    }
  }
}

checkpoint_store_self::behavior_type checkpoint_store_state::make_behavior() {
  return {
      [this](const append_op_request& r) { return append(r); },
      [this](const finish_op_request& r) { return share_next_write(journal_.finish(r)); },
      [this](const read_log_request& r) {
        flush();
        return answer<read_log_reply>(journal_.read(r));
      },
      [this](const trim_log_request& r) { return answer<done>(journal_.trim(r)); },
      [this](const put_run_request& r) { return put(r); },
      [this](const list_runs_request&) { return answer<run_list>(runs_.list()); },
      [this](const commit_checkpoint_request& r) {
        config::failpoint("s5");
        auto committed = checkpoints_.commit(r.manifest);
        config::failpoint("s6");
        if (committed) garbage_.committed(*committed);
        if (committed && storage::is_fold_due(committed->manifest)) fold(committed->id);
        return answer<checkpoint_record>(std::move(committed));
      },
      [this](const get_checkpoint_request& r) {
        return answer<checkpoint_record>(checkpoints_.get(r.checkpoint.value));
      },
      [this](const list_checkpoints_request& r) {
        return answer<checkpoint_list>(checkpoints_.list(r.run));
      },
      [this](const checkpoint_chain_request& r) { return chain(r); },
      [this](const verify_checkpoint_request& r) { return verify(r); },
      [this](const put_deployment_request& r) { return answer<done>(runs_.put(r.record)); },
      [this](const forget_deployment_request& r) {
        return answer<done>(runs_.forget(r.deployment));
      },
      [this](const list_deployments_request&) {
        return answer<deployment_list>(runs_.list_deployments());
      },
      [this](const ledger_entry& entry) { return answer<done>(runs_.append(entry)); },
      [this](const remove_checkpoint_request& r) {
        return answer<done>(garbage_.remove(r.checkpoint, unix_time_ms()));
      },
      [this](const collect_garbage_request& r) { return collect(r); },
      [this](const lease_checkpoints_request& r) {
        return answer<done>(garbage_.hold(r.checkpoints, unix_time_ms()));
      },
      [this](const doubt_chain_request& r) {
        return answer<done>(chains_.doubt(r.checkpoint, r.reason));
      },
      [this](const plan_publish_request& r) { return plan(r); },
      [this](const list_ledger_request& r) {
        return answer<ledger_list>(newest(runs_.ledger(r.deployment)));
      },
      [this](const keep_event_request& r) { return keep(r); },
      [this](const run_events_request& r) {
        flush();
        return answer<run_events_reply>(storage::read_events(values_, r));
      },
      [this](tick) { flush(); },
      [this](garbage_slice) { collect_slice(); },
  };
}

checkpoint_store_actor spawn_checkpoint_store(caf::actor_system& system,
                                              const checkpoint_store_config& config) {
  using impl = caf::stateful_actor<checkpoint_store_state, checkpoint_store_self::impl>;
  auto verifier = spawn_blob_verifier(system, *config.blobs, config.threads);
  auto folder = spawn_chain_folder(system, *config.blobs, config.threads);
  if (config.threads == worker_threads::own_thread) {
    return system.spawn<impl, caf::detached>(config, std::move(verifier), std::move(folder));
  }
  return system.spawn<impl>(config, std::move(verifier), std::move(folder));
}

}  // namespace troupe::actors
