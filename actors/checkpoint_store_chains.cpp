// Care of chains and garbage: what the store does beside its answers, in slices or on other
// threads.

#include <utility>

#include "actors/checkpoint_store.hpp"
#include "actors/runtime/ask.hpp"
#include "actors/runtime/clock.hpp"
#include "config/deadlines.hpp"
#include "config/failpoint.hpp"
#include "config/limits.hpp"

namespace troupe::actors {

namespace {

constexpr std::size_t collections_waiting_max = 16;

bool is_damage(const error& e) {
  return e.code == errc::corrupt || e.code == errc::wrong_base || e.code == errc::not_found;
}

}  // namespace

caf::result<checkpoint_list> checkpoint_store_state::chain(
    const checkpoint_chain_request& request) {
  auto records = checkpoints_.chain(request.checkpoint, request.form);
  if (!records) return to_caf(records.error());
  garbage_.lease(*records, unix_time_ms());
  return checkpoint_list{std::move(*records)};
}

// -- folds ---------------------------------------------------------------------------------------

caf::result<publish_plan> checkpoint_store_state::plan(const plan_publish_request& request) {
  const auto advice = chains_.plan(request.published);
  if (!advice) return to_caf(advice.error());
  // What a control node that ended could not fold is found here again.
  if (advice->unfolded) fold(*advice->unfolded);
  return advice->plan;
}

/// One chain at a time; the newest wish waits, because it contains the older ones.
void checkpoint_store_state::fold(const checkpoint_id& checkpoint) {
  if (is_folding_) {
    next_fold_ = checkpoint;
    return;
  }
  auto chain = checkpoints_.chain(checkpoint, chain_form::complete);
  if (!chain) return fold_ended(checkpoint, chain.error());
  is_folding_ = true;
  garbage_.lease(*chain, unix_time_ms());
  ask(
      self_, folder_, deadlines::fold, fold_chain{std::move(*chain)},
      [this, checkpoint](const commit_checkpoint_request& folded) {
        const auto committed = checkpoints_.commit(folded.manifest);
        config::failpoint("f3");
        fold_ended(checkpoint, committed ? std::nullopt : std::optional(committed.error()));
      },
      [this, checkpoint](const error& e) { fold_ended(checkpoint, e); });
}

/// A chain that cannot be folded can be loaded no more: the next publish must not build on it.
void checkpoint_store_state::fold_ended(const checkpoint_id& checkpoint,
                                        const std::optional<error>& failure) {
  is_folding_ = false;
  if (failure) {
    if (fold_failed_) fold_failed_(*failure);
    if (is_damage(*failure)) {
      const auto doubted = chains_.doubt(checkpoint, to_string(*failure));
      if (!doubted && fold_failed_) fold_failed_(doubted.error());
    }
  }
  if (next_fold_) {
    const checkpoint_id next = *std::exchange(next_fold_, std::nullopt);
    if (next != checkpoint) fold(next);
  }
}

// -- garbage -------------------------------------------------------------------------------------

caf::result<garbage_report> checkpoint_store_state::collect(
    const collect_garbage_request& request) {
  if (collections_.size() >= collections_waiting_max)
    return to_caf({errc::busy, "too many collections of garbage wait", "", "try again later"});
  auto promise = self_->make_response_promise<garbage_report>();
  begin_collection({request, storage::garbage_scope::files, promise});
  return promise;
}

void checkpoint_store_state::collect_by_itself() {
  for (const collection& waiting : collections_) {
    if (!waiting.promise) return;
  }
  begin_collection({garbage_.by_itself(), storage::garbage_scope::records, std::nullopt});
}

void checkpoint_store_state::begin_collection(collection next) {
  collections_.push_back(std::move(next));
  if (collections_.size() == 1) begin_first();
}

void checkpoint_store_state::begin_first() {
  garbage_.begin(collections_.front().request, collections_.front().scope);
  tell(self_, checkpoint_store_self{self_}, garbage_slice{});
}

/// Between two slices what waits in the mailbox has its turn.
void checkpoint_store_state::collect_slice() {
  if (collections_.empty()) return;
  auto step = garbage_.step(unix_time_ms());
  if (step && !step->has_value()) {
    tell(self_, checkpoint_store_self{self_}, garbage_slice{});
    return;
  }
  collection done = std::move(collections_.front());
  collections_.pop_front();
  if (done.promise && step) done.promise->deliver(std::move(**step));
  if (done.promise && !step) done.promise->deliver(to_caf(step.error()));
  if (!done.promise && !step && garbage_stays_) garbage_stays_(step.error());
  if (!collections_.empty()) begin_first();
}

}  // namespace troupe::actors
