#include "tests/support/fake_devices.hpp"

#include <algorithm>
#include <map>
#include <mutex>
#include <string>
#include <utility>

namespace troupe::tests {

/// Operands of all ranks, by round.
class fake_fabric {
 public:
  explicit fake_fabric(std::uint32_t world_size) : world_size_(world_size) {}

  void bring(std::uint64_t round, std::uint32_t rank, std::span<const float> operand) {
    const std::lock_guard lock(mutex_);
    auto& ranks = rounds_[round];
    ranks.resize(world_size_);
    ranks[rank] = {operand.begin(), operand.end()};
    ++num_brought_[round];
  }

  bool is_complete(std::uint64_t round) {
    const std::lock_guard lock(mutex_);
    return num_brought_[round] == world_size_;
  }

  /// Of a complete round.
  std::vector<std::vector<float>> take(std::uint64_t round) {
    const std::lock_guard lock(mutex_);
    auto operands = rounds_[round];
    if (++num_taken_[round] == world_size_) rounds_.erase(round);
    return operands;
  }

 private:
  const std::uint32_t world_size_;
  std::mutex mutex_;
  std::map<std::uint64_t, std::vector<std::vector<float>>> rounds_;
  std::map<std::uint64_t, std::uint32_t> num_brought_;
  std::map<std::uint64_t, std::uint32_t> num_taken_;
};

/// One for each id that a link made.
class fake_fabrics {
 public:
  gpu::link_id make_id() {
    const std::lock_guard lock(mutex_);
    gpu::link_id id{std::byte{0x7f}, std::byte{0xff}, std::byte{0x00}, std::byte{0x80}};
    id.back() = static_cast<std::byte>(++num_ids_);
    fabrics_[id] = nullptr;
    return id;
  }

  /// Null for an id that nobody made.
  std::shared_ptr<fake_fabric> join(const gpu::link_id& id, std::uint32_t world_size) {
    const std::lock_guard lock(mutex_);
    const auto found = fabrics_.find(id);
    if (found == fabrics_.end()) return nullptr;
    if (!found->second) found->second = std::make_shared<fake_fabric>(world_size);
    return found->second;
  }

  void log_gather(std::uint64_t behind) {
    const std::lock_guard lock(mutex_);
    began_behind_.push_back(behind);
  }
  std::vector<std::uint64_t> began_behind() {
    const std::lock_guard lock(mutex_);
    return began_behind_;
  }

  std::atomic<std::uint32_t> num_aborts{0};
  std::atomic<std::uint64_t> num_given{0};

 private:
  std::mutex mutex_;
  unsigned char num_ids_ = 0;
  std::map<gpu::link_id, std::shared_ptr<fake_fabric>> fabrics_;
  std::vector<std::uint64_t> began_behind_;
};

namespace {

result<void> refusal(const char* doing) {
  return fail(errc::engine, std::string("the device refused ") + doing);
}

class fake_link final : public gpu::device_link {
 public:
  fake_link(std::shared_ptr<fake_fabrics> fabrics, device_fault fault)
      : fabrics_(std::move(fabrics)), fault_(fault) {}

  result<gpu::link_id> make_id() override {
    if (fault_ == device_fault::makes_no_id) return fail(errc::engine, "the device made no id");
    return fabrics_->make_id();
  }

  result<void> start_joining(const gpu::link_id& id, std::uint32_t rank,
                             std::uint32_t world_size) override {
    if (fault_ == device_fault::refuses_joining) return refusal("joining");
    fabric_ = fabrics_->join(id, world_size);
    if (!fabric_) return refusal("an id that rank 0 did not make");
    rank_ = rank;
    return start({});
  }

  result<gpu::device_moment> now() override {
    return std::make_shared<const std::uint64_t>(fabrics_->num_given.load());
  }

  result<void> start_gather(const gpu::device_moment& after, std::span<const float> mine,
                            std::span<float> all) override {
    const auto* const behind = static_cast<const std::uint64_t*>(after.get());
    if (rank_ == 0) fabrics_->log_gather(behind == nullptr ? fabrics_->num_given.load() : *behind);
    into_ = all;
    kind_ = operation::gather;
    return start(mine);
  }

  result<void> start_scatter(std::span<const float> all, std::span<float> mine) override {
    into_ = mine;
    kind_ = operation::scatter;
    return start(all);
  }

  result<bool> is_done() override {
    if (kind_ != operation::join) {
      if (fault_ == device_fault::fails_running)
        return fail(errc::engine, "the device failed in a collective");
      if (fault_ == device_fault::hangs_running || fault_ == device_fault::hangs_aborting)
        return false;
    } else if (fault_ == device_fault::hangs_joining) {
      return false;
    }
    return fabric_->is_complete(round_);
  }

  result<void> finish() override {
    if (kind_ != operation::join && fault_ == device_fault::fails_finishing)
      return refusal("copying the result");
    const auto operands = fabric_->take(round_);
    if (kind_ == operation::join) return {};
    if (kind_ == operation::gather) {
      for (std::size_t rank = 0; rank < operands.size(); ++rank)
        std::ranges::copy(operands[rank], into_.subspan(rank * operands[rank].size()).begin());
      return {};
    }
    const std::size_t first = rank_ * into_.size();
    for (std::size_t i = 0; i < into_.size(); ++i) {
      into_[i] = operands[0][first + i];
      for (std::size_t rank = 1; rank < operands.size(); ++rank)
        into_[i] += operands[rank][first + i];
    }
    return {};
  }

  result<void> abort() override {
    if (!std::exchange(is_aborted_, true)) ++fabrics_->num_aborts;
    if (fault_ == device_fault::hangs_aborting) return refusal("to abort");
    return {};
  }

 private:
  enum class operation : std::uint8_t { join, gather, scatter };

  result<void> start(std::span<const float> operand) {
    if (kind_ != operation::join && fault_ == device_fault::refuses_starting)
      return refusal("a collective");
    fabric_->bring(++round_, rank_, operand);
    return {};
  }

  const std::shared_ptr<fake_fabrics> fabrics_;
  const device_fault fault_;
  std::shared_ptr<fake_fabric> fabric_;
  std::uint32_t rank_ = 0;
  std::uint64_t round_ = 0;
  operation kind_ = operation::join;
  std::span<float> into_;
  bool is_aborted_ = false;
};

}  // namespace

fake_devices::fake_devices() : fabrics_(std::make_shared<fake_fabrics>()) {}

fake_devices::~fake_devices() = default;

gpu::link_maker fake_devices::links(device_fault fault) const {
  return [fabrics = fabrics_, fault]() -> result<std::unique_ptr<gpu::device_link>> {
    return std::make_unique<fake_link>(fabrics, fault);
  };
}

void fake_devices::give_work() {
  ++fabrics_->num_given;
}

std::vector<std::uint64_t> fake_devices::gathers_began_behind() const {
  return fabrics_->began_behind();
}

std::uint32_t fake_devices::num_aborts() const {
  return fabrics_->num_aborts.load();
}

}  // namespace troupe::tests
