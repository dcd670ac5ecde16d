#include "gpu/torch/library/host_copies.hpp"

#include <optional>

#include <c10/core/Event.h>
#include <c10/core/StreamGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>

namespace troupe::gpu::library {

struct host_copies::slot {
  at::Tensor host;
  std::optional<c10::Event> copied;
};

host_copies::host_copies() : slots_{std::make_unique<slot>(), std::make_unique<slot>()} {}
host_copies::~host_copies() = default;

void host_copies::start(const at::Tensor& part) {
  slot& into = *slots_[num_started_++ % slots_.size()];
  into.copied.reset();
  if (part.is_cpu()) {
    into.host = part;
    return;
  }
  const c10::impl::VirtualGuardImpl device(part.device().type());
  const c10::Stream computing = device.getStream(part.device());
  const c10::Stream copying =
      device.getStreamFromGlobalPool(part.device(), /*isHighPriority=*/false);
  c10::Event given(part.device().type());
  given.record(computing);
  given.block(copying);
  into.host = at::empty(part.sizes(), at::TensorOptions(at::kFloat).pinned_memory(true));
  const c10::StreamGuard guard(copying);
  into.host.copy_(part, /*non_blocking=*/true);
  into.copied.emplace(part.device().type());
  into.copied->record(copying);
}

std::span<const float> host_copies::take() {
  slot& from = *slots_[num_taken_++ % slots_.size()];
  if (from.copied) from.copied->synchronize();
  const at::Tensor& host = from.host;
  return {values(host), count(host)};
}

}  // namespace troupe::gpu::library
