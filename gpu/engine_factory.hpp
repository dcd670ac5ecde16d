#pragma once

// Makes the engines of one node. `make_engine.hpp` gives the real one; simulations and actor tests
// bring their own, so that no actor knows what stands behind it.
//
// Threading: called from engine workers; implementations are stateless or locked.
// Errors: errc::engine_not_built for a device this build has no code for, errc::unsupported for a
// model it cannot run.

#include <cstdint>
#include <memory>
#include <string>

#include "gpu/comm.hpp"
#include "gpu/sampler_engine.hpp"
#include "gpu/trainer_engine.hpp"
#include "messages/error.hpp"
#include "messages/model.hpp"

namespace troupe::gpu {

/// What matrix products of training, attention's among them, may round their operands to; how they
/// sum then is in gpu/torch/product.hpp. What lies between two products is fp32, as are weights,
/// gradients and moments.
enum class compute_type : std::uint8_t { fp32 = 0, bf16 = 1 };

/// What adapters stand on. Engines of one factory with the same identity, model and rank hold one
/// copy of the frozen weights, which the first of them loads; an empty identity is never shared.
struct adapter_base {
  model_config model;
  std::string identity = {};  ///< of the weights' content, not of their place alone
};

class engine_factory {
 public:
  virtual ~engine_factory() = default;

  /// `token` is shared by the ranks of one incarnation and unknown to others.
  virtual result<std::unique_ptr<comm_listener>> listen(std::uint32_t rank,
                                                        std::uint32_t world_size,
                                                        const std::string& token) = 0;

  /// Weights are undefined until load.
  virtual result<std::unique_ptr<trainer_engine>> make_trainer(const model_config& model,
                                                               rank_set ranks) = 0;

  /// The same with low-rank adapters beside frozen weights; errc::unsupported where an engine has
  /// none, errc::invalid_argument for impossible ones.
  virtual result<std::unique_ptr<trainer_engine>> make_adapter_trainer(const adapter_base& base,
                                                                       const lora_config& lora,
                                                                       rank_set ranks);

  virtual result<std::unique_ptr<sampler_engine>> make_sampler(const model_config& model) = 0;

  /// After errc::engine: whether this process can still compute. errc::engine when its device is
  /// lost to it, whatever engine is made; waits for what the device was given.
  [[nodiscard]] virtual result<void> check_device();
};

inline result<void> engine_factory::check_device() {
  return {};
}

inline result<std::unique_ptr<trainer_engine>> engine_factory::make_adapter_trainer(
    const adapter_base&, const lora_config&, rank_set) {
  return fail(errc::unsupported, "this engine trains no low-rank adapters", "",
              "create the run without LoRA");
}

}  // namespace troupe::gpu
