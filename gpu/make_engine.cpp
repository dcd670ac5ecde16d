#include "gpu/make_engine.hpp"

#include <utility>

#include "config/limits.hpp"
#include "gpu/comm/socket_comm.hpp"
#include "gpu/kernels/cpu_bf16.hpp"
#include "gpu/models/adapters.hpp"
#include "gpu/models/parameter_layout.hpp"
#include "gpu/torch/frozen_base.hpp"
#include "gpu/torch/maths_library.hpp"
#include "gpu/torch/sampler.hpp"
#include "gpu/torch/trainer.hpp"

namespace troupe::gpu {
namespace {

class cpu_engines final : public engine_factory {
 public:
  cpu_engines(std::string comm_address, engine_resources resources)
      : comm_address_(std::move(comm_address)), resources_(std::move(resources)) {}

  result<std::unique_ptr<comm_listener>> listen(std::uint32_t rank, std::uint32_t world_size,
                                                const std::string& token) override {
    socket_comm_options options;
    options.rank = rank;
    options.world_size = world_size;
    options.token = token;
    options.interface = comm_address_;
    return listen_for_ranks(std::move(options));
  }

  result<std::unique_ptr<trainer_engine>> make_trainer(const model_config& model,
                                                       rank_set ranks) override {
    if (auto ok = validate(model); !ok) return fail(std::move(ok.error()));
    return make_torch_trainer(model, std::nullopt, std::move(ranks), resources_);
  }

  result<std::unique_ptr<trainer_engine>> make_adapter_trainer(const adapter_base& base,
                                                               const lora_config& lora,
                                                               rank_set ranks) override {
    if (auto ok = validate(base.model); !ok) return fail(std::move(ok.error()));
    if (auto ok = validate(base.model, lora); !ok) return fail(std::move(ok.error()));
    auto frozen = bases_.find_or_make(
        {base.identity, base.model, ranks.all->rank(), ranks.all->world_size(), ranks.shard_size});
    return make_torch_trainer(base.model, adapter_setup{lora, std::move(frozen)}, std::move(ranks),
                              resources_);
  }

  result<std::unique_ptr<sampler_engine>> make_sampler(const model_config& model) override {
    if (auto ok = validate(model); !ok) return fail(std::move(ok.error()));
    return make_torch_sampler(model, resources_);
  }

 private:
  const std::string comm_address_;
  const engine_resources resources_;
  frozen_bases bases_;
};

}  // namespace

result<std::unique_ptr<engine_factory>> make_engine_factory(const engine_options& options) {
  if (options.device != "cpu")
    return fail(errc::engine_not_built, "no engine for device \"" + options.device + "\"",
                "this build has code for \"cpu\" only", "set the device of this node to cpu");
  if (options.num_threads == 0 || options.num_threads > limits::node_threads_max)
    return fail(errc::invalid_argument, "num_threads is " + std::to_string(options.num_threads), "",
                "use 1 to " + std::to_string(limits::node_threads_max));
  if (options.compute == compute_type::bf16 && kernels::bf16_for_this_cpu() == nullptr)
    return fail(errc::engine_not_built, "this processor computes no products in bf16",
                "it lacks AVX-512 BF16, or TROUPE_ISA asks for an older instruction set",
                "set compute of the trainers to fp32");
  prepare_maths_library();
  engine_resources resources;
  resources.compute = options.compute;
  resources.kept_activation_bytes = options.kept_activation_bytes;
  resources.threads = std::make_shared<thread_pool>(options.num_threads);
  return std::make_unique<cpu_engines>(options.comm_address, std::move(resources));
}

}  // namespace troupe::gpu
