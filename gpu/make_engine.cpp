#include "gpu/make_engine.hpp"

#include <algorithm>
#include <utility>

#include "config/deadlines.hpp"
#include "config/limits.hpp"
#include "gpu/activation_budget.hpp"
#include "gpu/comm/nccl_comm.hpp"
#include "gpu/comm/socket_comm.hpp"
#include "gpu/device_choice.hpp"
#include "gpu/device_ledger.hpp"
#include "gpu/models/adapters.hpp"
#include "gpu/models/parameter_layout.hpp"
#include "gpu/torch/boundary.hpp"
#include "gpu/torch/devices.hpp"
#include "gpu/torch/frozen_base.hpp"
#include "gpu/torch/maths_library.hpp"
#include "gpu/torch/sampler.hpp"
#include "gpu/torch/trainer.hpp"
#include "gpu/within.hpp"

namespace troupe::gpu {
namespace {

rank_layout layout_of(const rank_set& ranks) {
  return {ranks.group_size(), ranks.all->world_size() / ranks.group_size()};
}

class local_engines final : public engine_factory {
 public:
  local_engines(std::string comm_address, std::uint32_t slots, engine_resources resources)
      : comm_address_(std::move(comm_address)), resources_(std::move(resources)), gpu_(slots) {}

  result<std::unique_ptr<comm_listener>> listen(std::uint32_t rank, std::uint32_t world_size,
                                                const std::string& token) override {
    socket_comm_options options;
    options.rank = rank;
    options.world_size = world_size;
    options.token = token;
    options.interface = comm_address_;
    // One rank has nobody to send to, so it needs no NCCL.
    if (!resources_.place.gpu || world_size == 1) return listen_for_ranks(std::move(options));
    return listen_for_devices(std::move(options), static_cast<int>(*resources_.place.gpu));
  }

  result<std::unique_ptr<trainer_engine>> make_trainer(const model_config& model,
                                                       rank_set ranks) override {
    if (auto ok = validate(model); !ok) return fail(std::move(ok.error()));
    const auto resources = resources_for(ranks, [&] {
      device_demand demand;
      demand.state = trained_state_bytes(make_sharding_plan(model, layout_of(ranks)));
      return demand;
    });
    if (!resources) return fail(resources.error());
    return make_torch_trainer(model, std::nullopt, std::move(ranks), *resources);
  }

  result<std::unique_ptr<trainer_engine>> make_adapter_trainer(const adapter_base& base,
                                                               const lora_config& lora,
                                                               rank_set ranks) override {
    if (auto ok = validate(base.model); !ok) return fail(std::move(ok.error()));
    if (auto ok = validate(base.model, lora); !ok) return fail(std::move(ok.error()));
    const auto resources = resources_for(ranks, [&] {
      const rank_layout layout = layout_of(ranks);
      device_demand demand;
      demand.state = trained_state_bytes(make_adapter_plan(base.model, lora, layout));
      demand.shares = true;
      demand.base = frozen_state_bytes(make_sharding_plan(base.model, layout));
      demand.base_name = base.identity;
      return demand;
    });
    if (!resources) return fail(resources.error());
    auto frozen = bases_.find_or_make(
        {base.identity, base.model, ranks.all->rank(), ranks.all->world_size(), ranks.shard_size});
    return make_torch_trainer(base.model, adapter_setup{lora, std::move(frozen)}, std::move(ranks),
                              *resources);
  }

  result<std::unique_ptr<sampler_engine>> make_sampler(const model_config& model) override {
    if (auto ok = validate(model); !ok) return fail(std::move(ok.error()));
    if (resources_.place.gpu)
      return fail(errc::engine_not_built, "there is no sampler for GPUs",
                  "samplers compute on the processor", "set the device of this node to cpu");
    return make_torch_sampler(model, resources_);
  }

  result<void> check_device() override {
    if (!resources_.place.gpu) return {};
    const auto asked = within(deadlines::collective, [gpu = *resources_.place.gpu] {
      return guarded("looking at the GPU", [&]() -> result<void> {
        wait_for_gpu(gpu);
        return {};
      });
    });
    if (asked) return {};
    return fail(
        errc::engine,
        "GPU " + std::to_string(*resources_.place.gpu) +
            " is lost to this process: " + asked.error().what,
        "a kernel reached memory that is not its own, or the GPU or its link failed",
        "nothing: the process is started again; if it repeats, look for Xid in the kernel's "
        "log");
  }

 private:
  /// With a place on the GPU for what `demand_of()` says. Ranks that form no groups are refused
  /// where these are formed.
  template <class DemandOf>
  result<engine_resources> resources_for(const rank_set& ranks, const DemandOf& demand_of) {
    engine_resources resources = resources_;
    if (!resources_.place.gpu || !ranks.is_even()) return resources;
    device_demand demand = demand_of();
    demand.num_ranks = ranks.all->world_size();
    const auto place = gpu_.take(demand, [&] {
      return guarded("asking for memory", [&]() -> result<std::uint64_t> {
        return memory_for_tensors(*resources.place.gpu);
      });
    });
    if (!place) return fail(place.error());
    resources.batch_activation_bytes = place->budget.batch;
    resources.kept_activation_bytes = place->budget.kept;
    resources.kept_logit_bytes = place->budget.logits;
    resources.place_on_device = place->held;
    return resources;
  }

  const std::string comm_address_;
  const engine_resources resources_;
  device_ledger gpu_;
  frozen_bases bases_;
};

/// Where engines of this process compute; loads what a GPU needs.
result<placement> place_of(const std::string& device) {
  const auto choice = parse_device(device);
  if (!choice) return fail(choice.error());
  if (choice->kind == device_kind::cpu) return placement{};
  if (auto ok = load_gpu_library(); !ok) return fail(std::move(ok.error()));
  const auto gpu = choose_gpu(*choice, num_gpus());
  if (!gpu) return fail(gpu.error());
  return *gpu ? on_gpu(**gpu) : placement{};
}

}  // namespace

result<std::unique_ptr<engine_factory>> make_engine_factory(const engine_options& options) {
  if (options.num_threads == 0 || options.num_threads > limits::node_threads_max)
    return fail(errc::invalid_argument, "num_threads is " + std::to_string(options.num_threads), "",
                "use 1 to " + std::to_string(limits::node_threads_max));
  const auto place = place_of(options.device);
  if (!place) return fail(place.error());
  prepare_maths_library();
  engine_resources resources;
  resources.compute = options.compute;
  resources.kept_activation_bytes =
      std::min(options.kept_activation_bytes, options.batch_activation_bytes);
  resources.batch_activation_bytes = options.batch_activation_bytes;
  resources.place = *place;
  resources.threads = std::make_shared<thread_pool>(options.num_threads);
  return std::make_unique<local_engines>(options.comm_address, options.slots, std::move(resources));
}

}  // namespace troupe::gpu
