#include "apps/gateway/cluster_link.hpp"

#include "actors/runtime/errors.hpp"

namespace troupe::gateway {
namespace {

constexpr std::uint32_t attempts_max = 60;
/// A lost control node is noticed within this; until then its requests fail one by one.
constexpr std::chrono::milliseconds retry_pause{500};

}  // namespace

class cluster_link::watcher final : public client::link_listener {
 public:
  explicit watcher(cluster_link& owner) : owner_(owner) {}

  void link_lost(client::hub_actor::pointer) override {
    boost::asio::post(owner_.loop_, [&owner = owner_] { owner.link_lost(); });
  }
  void link_restored(client::hub_actor::pointer, const result<void>& outcome) override {
    boost::asio::post(owner_.loop_, [&owner = owner_, outcome] { owner.link_restored(outcome); });
  }

 private:
  cluster_link& owner_;
};

cluster_link::cluster_link(boost::asio::io_context& loop, std::shared_ptr<client::connection> link)
    : loop_(loop), link_(std::move(link)), watcher_(std::make_shared<watcher>(*this)) {
  link_->listen(watcher_);
}

cluster_link::~cluster_link() = default;

void cluster_link::watch(std::function<void()> lost, std::function<void(result<void>)> restored) {
  watchers_.emplace_back(std::move(lost), std::move(restored));
}

bool cluster_link::is_lost(std::uint64_t number, std::uint64_t generation, const error& e) {
  if (generation != generation_) return true;
  const auto known = open_.find(number);
  if (known == open_.end() || !actors::is_lost(e)) return false;
  if (++known->second.attempts >= attempts_max) return false;
  auto pause = std::make_shared<boost::asio::steady_timer>(loop_, retry_pause);
  pause->async_wait([this, pause, number, generation](boost::system::error_code) {
    const auto waiting = open_.find(number);
    if (generation == generation_ && waiting != open_.end()) waiting->second.send(number);
  });
  return true;
}

void cluster_link::link_lost() {
  is_linked_ = false;
  ++generation_;
  for (const auto& [lost, restored] : watchers_)
    lost();
}

void cluster_link::link_restored(const result<void>& outcome) {
  is_linked_ = true;
  if (outcome) {
    for (const auto& [number, request] : open_)
      request.send(number);
  } else {
    for (const auto& [number, request] : std::exchange(open_, {}))
      request.give_up(outcome.error());
  }
  for (const auto& [lost, restored] : watchers_)
    restored(outcome);
}

}  // namespace troupe::gateway
