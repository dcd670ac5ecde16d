#include "storage/chain_planner.hpp"

#include <algorithm>

#include "config/limits.hpp"
#include "storage/keys.hpp"

namespace troupe::storage {

namespace {

constexpr std::string_view doubted_name = "doubted";

const checkpoint_id& base_of(const checkpoint_record& record) {
  return record.manifest.base.empty() ? record.id : record.manifest.base;
}

}  // namespace

bool is_fold_due(const checkpoint_manifest& manifest) {
  return manifest.kind == checkpoint_kind::sampler_delta && manifest.folds.empty() &&
         manifest.depth % limits::fold_every_deltas == 0;
}

result<void> chain_planner::doubt(const checkpoint_id& checkpoint, const std::string& reason) {
  const auto record = checkpoints_.get(checkpoint.value);
  if (!record) return fail(record.error());
  return values_.write(
      {{{column::refs, ended(doubted_name) + base_of(*record).value, reason}}, {}});
}

result<chain_advice> chain_planner::plan(const checkpoint_id& published) {
  const auto chain = checkpoints_.chain(published, chain_form::complete);
  if (!chain) {
    const errc code = chain.error().code;
    if (code == errc::not_found || code == errc::corrupt)
      return chain_advice{{publish_advice::base_for_doubt}, {}};
    return fail(chain.error());
  }
  const auto doubted =
      values_.get(column::refs, ended(doubted_name) + base_of(chain->front()).value);
  if (!doubted) return fail(doubted.error());
  if (doubted->has_value()) return chain_advice{{publish_advice::base_for_doubt}, {}};
  chain_advice advice;
  const auto newest = std::find_if(chain->rbegin(), chain->rend(),
                                   [](const auto& record) { return is_fold_due(record.manifest); });
  if (newest != chain->rend()) {
    const auto fold = checkpoints_.fold_of(newest->id);
    if (!fold) return fail(fold.error());
    if (!fold->has_value()) advice.unfolded = newest->id;
  }
  std::uint64_t delta_bytes = 0;
  for (std::size_t i = 1; i < chain->size(); ++i)
    delta_bytes += total_bytes((*chain)[i].manifest);
  const std::uint64_t base_bytes = total_bytes(chain->front().manifest);
  if (delta_bytes > base_bytes * limits::chain_bytes_percent / 100)
    advice.plan.advice = publish_advice::base_for_bytes;
  if (chain->back().manifest.depth >= limits::delta_depth_max)
    advice.plan.advice = publish_advice::base_for_depth;
  return advice;
}

}  // namespace troupe::storage
