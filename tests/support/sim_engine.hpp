#pragma once

// A model that costs nothing and forgets nothing: every effect of an op is folded into one 24-bit
// history number, from which logprobs and weights follow exactly. A lost, repeated or reordered op
// changes every later digest, which is what cluster simulations look for.
//
// Ranks of one set share memory through the communicator's token, since a simulation runs all of
// them on one thread and nobody could wait in a collective.
//
// Threading: one thread.

#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "gpu/engine_factory.hpp"
#include "messages/ids.hpp"

namespace troupe::tests {

/// What the ranks of one incarnation share.
struct sim_set {
  std::uint64_t gradient = 0;  ///< order-free sum over the datums of all ranks
  std::uint64_t prepared = 0;  ///< ranks that took part in the current optim_step
};

/// A prompt that begins with it breaks the sampler that decodes it.
inline constexpr token_id engine_breaking_token = 13;

class sim_engine_factory final : public gpu::engine_factory {
 public:
  result<std::unique_ptr<gpu::comm_listener>> listen(std::uint32_t rank, std::uint32_t world_size,
                                                     const std::string& token) override;
  result<std::unique_ptr<gpu::trainer_engine>> make_trainer(const model_config& model,
                                                            gpu::rank_set ranks) override;
  result<std::unique_ptr<gpu::sampler_engine>> make_sampler(const model_config& model) override;

  /// A batch with exactly these tokens breaks every engine that meets it.
  std::vector<token_id> poison = {};
  /// Ranks of a set that came together under the token of an earlier one.
  [[nodiscard]] std::uint64_t num_repeated_sets() const { return num_repeated_sets_; }
  mutable std::uint64_t num_broken = 0;  ///< by it

  /// No engine computes until a process starts anew.
  bool device_is_lost = false;
  result<void> check_device() override;
  /// Engines made from now on compute something else: another kind of machine.
  std::uint64_t drift = 0;

 private:
  std::map<std::string, std::shared_ptr<sim_set>> sets_;
  std::set<std::pair<std::string, std::uint32_t>> seen_ranks_;
  std::uint64_t num_repeated_sets_ = 0;
};

}  // namespace troupe::tests
