#include "gpu/comm/nccl_comm.hpp"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <cuda_runtime_api.h>
#include <nccl.h>

#include "gpu/comm/device_comm.hpp"
#include "gpu/kernels/rank_sums.hpp"
#include "gpu/within.hpp"

namespace troupe::gpu {
namespace {

using namespace std::chrono_literals;

/// Kernels of an aborted communicator leave by themselves; a device that hangs does not.
constexpr auto leaving = 5s;

result<void> done(cudaError_t status, const char* doing) {
  if (status == cudaSuccess) return {};
  return fail(errc::engine, std::string(doing) + " failed: " + cudaGetErrorString(status),
              "the device was lost or is out of memory", "look at it with nvidia-smi");
}

result<void> done(ncclResult_t status, const char* doing, ncclComm_t comm) {
  if (status == ncclSuccess || status == ncclInProgress) return {};
  const char* const words = ncclGetLastError(comm);
  return fail(errc::engine,
              std::string(doing) + " failed: " + ncclGetErrorString(status) +
                  (words == nullptr ? "" : std::string("; ") + words),
              "a peer went away, or the devices cannot reach each other",
              "run with NCCL_DEBUG=WARN to see NCCL's own report");
}

/// Memory of the device that grows with what is asked of it.
class device_floats {
 public:
  device_floats() = default;
  ~device_floats() { cudaFree(data_); }
  device_floats(const device_floats&) = delete;
  device_floats& operator=(const device_floats&) = delete;

  result<float*> get(std::size_t count) {
    if (count <= count_) return data_;
    cudaFree(std::exchange(data_, nullptr));
    count_ = 0;
    void* memory = nullptr;
    if (auto ok = done(cudaMalloc(&memory, count * sizeof(float)), "reserving device memory"); !ok)
      return fail(std::move(ok.error()));
    data_ = static_cast<float*>(memory);
    count_ = count;
    return data_;
  }

 private:
  float* data_ = nullptr;
  std::size_t count_ = 0;
};

bool is_on_device(const void* data) {
  cudaPointerAttributes attributes{};
  if (cudaPointerGetAttributes(&attributes, data) != cudaSuccess) {
    [[maybe_unused]] const cudaError_t forgotten = cudaGetLastError();
    return false;
  }
  return attributes.type == cudaMemoryTypeDevice || attributes.type == cudaMemoryTypeManaged;
}

class nccl_link final : public device_link {
 public:
  explicit nccl_link(int device) : device_(device) {}

  ~nccl_link() override {
    cudaSetDevice(device_);
    // Not destroy, which may wait for the other ranks; nothing of this one is under way.
    [[maybe_unused]] const auto ended = nccl_link::abort();
    if (stream_ != nullptr) cudaStreamDestroy(stream_);
    if (after_ != nullptr) cudaEventDestroy(after_);
  }
  nccl_link(const nccl_link&) = delete;
  nccl_link& operator=(const nccl_link&) = delete;

  result<void> open() {
    if (auto ok = enter(); !ok) return ok;
    int lowest = 0;
    int highest = 0;
    if (auto ok = done(cudaDeviceGetStreamPriorityRange(&lowest, &highest), "asking the device");
        !ok)
      return ok;
    if (auto ok = done(cudaStreamCreateWithPriority(&stream_, cudaStreamNonBlocking, highest),
                       "making a stream");
        !ok)
      return ok;
    return done(cudaEventCreateWithFlags(&after_, cudaEventDisableTiming), "making an event");
  }

  /// An event of its own, because several gathers may be asked for before the first begins.
  result<device_moment> now() override {
    if (auto ok = enter(); !ok) return fail(std::move(ok.error()));
    cudaEvent_t made = nullptr;
    if (auto ok = done(cudaEventCreateWithFlags(&made, cudaEventDisableTiming), "making an event");
        !ok)
      return fail(std::move(ok.error()));
    const std::shared_ptr<CUevent_st> event(made, cudaEventDestroy);
    // The default stream is the one that engines compute on.
    if (auto ok = done(cudaEventRecord(made, nullptr), "marking the stream"); !ok)
      return fail(std::move(ok.error()));
    return event;
  }

  result<link_id> make_id() override {
    ncclUniqueId made{};
    if (auto ok = done(ncclGetUniqueId(&made), "making an id", nullptr); !ok)
      return fail(std::move(ok.error()));
    link_id id{};
    static_assert(sizeof made == sizeof id);
    std::memcpy(id.data(), &made, sizeof made);
    return id;
  }

  result<void> start_joining(const link_id& id, std::uint32_t rank,
                             std::uint32_t world_size) override {
    if (auto ok = enter(); !ok) return ok;
    world_size_ = world_size;
    ncclUniqueId joined{};
    std::memcpy(&joined, id.data(), sizeof joined);
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    config.blocking = 0;
    kind_ = operation::join;
    return done(ncclCommInitRankConfig(&comm_, static_cast<int>(world_size), joined,
                                       static_cast<int>(rank), &config),
                "joining", comm_);
  }

  result<void> start_gather(const device_moment& after, std::span<const float> mine,
                            std::span<float> all) override {
    const auto from = prepare(after, mine, all.size(), all.data());
    if (!from) return fail(from.error());
    kind_ = operation::gather;
    return done(ncclAllGather(*from, into_, mine.size(), ncclFloat, comm_, stream_), "gathering",
                comm_);
  }

  result<void> start_scatter(std::span<const float> all, std::span<float> mine) override {
    const auto from = prepare({}, all, mine.size(), mine.data());
    if (!from) return fail(from.error());
    const auto parts = parts_.get(all.size());
    if (!parts) return fail(parts.error());
    kind_ = operation::scatter;
    sum_ = {world_size_, mine.size(), *parts, into_};
    ncclResult_t first = ncclGroupStart();
    for (std::uint32_t peer = 0; peer < world_size_ && first == ncclSuccess; ++peer) {
      const auto at = static_cast<std::size_t>(peer) * mine.size();
      first = ncclSend(*from + at, mine.size(), ncclFloat, static_cast<int>(peer), comm_, stream_);
      if (first == ncclSuccess)
        first =
            ncclRecv(*parts + at, mine.size(), ncclFloat, static_cast<int>(peer), comm_, stream_);
    }
    const ncclResult_t last = ncclGroupEnd();
    return done(first == ncclSuccess ? last : first, "exchanging parts", comm_);
  }

  result<bool> is_done() override {
    ncclResult_t state = ncclSuccess;
    if (auto ok = done(ncclCommGetAsyncError(comm_, &state), "asking NCCL", comm_); !ok)
      return fail(std::move(ok.error()));
    if (auto ok = done(state, "a collective", comm_); !ok) return fail(std::move(ok.error()));
    if (state == ncclInProgress) return false;
    if (kind_ == operation::join) return true;
    // Until NCCL has put its work on the stream, what is put behind it would come before it.
    if (!is_marked_) {
      if (auto ok = mark(); !ok) return fail(std::move(ok.error()));
    }
    const cudaError_t reached = cudaEventQuery(after_);
    if (reached == cudaErrorNotReady) return false;
    if (auto ok = done(reached, "a collective"); !ok) return fail(std::move(ok.error()));
    return true;
  }

  result<void> finish() override {
    if (kind_ == operation::join || copied_to_ == nullptr) return {};
    return done(cudaMemcpy(copied_to_, into_, count_out_ * sizeof(float), cudaMemcpyDeviceToHost),
                "copying from the device");
  }

  result<void> abort() override {
    if (comm_ == nullptr) return {};
    const auto end = std::chrono::steady_clock::now() + leaving;
    // It waits for the device, for ever where that hangs; the thread then goes with its process.
    const auto aborted =
        within(leaving, [comm = std::exchange(comm_, nullptr), device = device_]() -> result<void> {
          cudaSetDevice(device);
          ncclCommAbort(comm);
          return {};
        });
    if (!aborted) return hangs();
    while (cudaStreamQuery(stream_) == cudaErrorNotReady) {
      if (std::chrono::steady_clock::now() >= end) return hangs();
      std::this_thread::yield();
    }
    return {};
  }

 private:
  enum class operation : std::uint8_t { join, gather, scatter };

  result<void> hangs() const {
    return fail(errc::engine,
                "device " + std::to_string(device_) + " did not end a collective that was aborted",
                "the device hangs", "look at it with nvidia-smi; the process is started again");
  }

  result<void> enter() const { return done(cudaSetDevice(device_), "choosing the device"); }

  /// Where the operand is on the device; sets where the result goes.
  result<const float*> prepare(const device_moment& after, std::span<const float> operand,
                               std::size_t count_out, float* out) {
    if (auto ok = enter(); !ok) return fail(std::move(ok.error()));
    is_marked_ = false;
    count_out_ = count_out;
    into_ = out;
    copied_to_ = nullptr;
    if (auto ok = wait_for(after); !ok) return fail(std::move(ok.error()));
    if (!is_on_device(out)) {
      const auto staged = staged_out_.get(count_out);
      if (!staged) return fail(staged.error());
      copied_to_ = out;
      into_ = *staged;
    }
    if (is_on_device(operand.data())) return operand.data();
    const auto staged = staged_in_.get(operand.size());
    if (!staged) return fail(staged.error());
    if (auto ok = done(cudaMemcpyAsync(*staged, operand.data(), operand.size_bytes(),
                                       cudaMemcpyHostToDevice, stream_),
                       "copying to the device");
        !ok)
      return fail(std::move(ok.error()));
    return *staged;
  }

  /// On the stream, not here.
  result<void> wait_for(const device_moment& after) {
    if (!after) {
      const auto current = now();
      return current ? wait_for(*current) : fail(current.error());
    }
    // CUDA takes events as if it changed them.
    auto* const event = static_cast<cudaEvent_t>(const_cast<void*>(after.get()));
    return done(cudaStreamWaitEvent(stream_, event, 0), "ordering the streams");
  }

  result<void> mark() {
    if (kind_ == operation::scatter)
      if (auto ok = kernels::sum_ranks(sum_, stream_); !ok) return ok;
    is_marked_ = true;
    return done(cudaEventRecord(after_, stream_), "marking the stream");
  }

  const int device_;
  std::uint32_t world_size_ = 1;
  ncclComm_t comm_ = nullptr;
  cudaStream_t stream_ = nullptr;
  cudaEvent_t after_ = nullptr;  ///< the end of the operation
  operation kind_ = operation::join;
  bool is_marked_ = false;
  kernels::rank_sum sum_;
  float* into_ = nullptr;
  float* copied_to_ = nullptr;  ///< null: the result is where it belongs
  std::size_t count_out_ = 0;
  device_floats parts_;
  device_floats staged_in_;
  device_floats staged_out_;
};

class nccl_listener final : public comm_listener {
 public:
  nccl_listener(std::unique_ptr<comm_listener> hosts, std::chrono::milliseconds deadline,
                int device)
      : hosts_(std::move(hosts)), deadline_(deadline), device_(device) {}

  std::string address() const override { return hosts_->address(); }

  result<std::unique_ptr<comm>> connect(const std::vector<std::string>& addresses) override {
    auto hosts = hosts_->connect(addresses);
    if (!hosts) return hosts;
    const auto open = [device = device_]() -> result<std::unique_ptr<device_link>> {
      auto link = std::make_unique<nccl_link>(device);
      if (auto ok = link->open(); !ok) return fail(std::move(ok.error()));
      return link;
    };
    return join_devices(std::move(*hosts), open, deadline_);
  }

 private:
  std::unique_ptr<comm_listener> hosts_;
  std::chrono::milliseconds deadline_;
  int device_;
};

}  // namespace

result<std::unique_ptr<comm_listener>> listen_for_devices(socket_comm_options ranks, int device) {
  const auto deadline = ranks.deadline;
  auto hosts = listen_for_ranks(std::move(ranks));
  if (!hosts) return hosts;
  return std::make_unique<nccl_listener>(std::move(*hosts), deadline, device);
}

}  // namespace troupe::gpu
