#include "gpu/comm/socket_comm.hpp"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <memory>
#include <numeric>
#include <optional>
#include <utility>

#include <poll.h>

#include "config/failpoint.hpp"
#include "config/limits.hpp"
#include "gpu/comm/rank_hello.hpp"
#include "gpu/comm/rank_names.hpp"
#include "gpu/comm/rendezvous.hpp"
#include "gpu/comm/socket.hpp"

namespace troupe::gpu {
namespace {

enum class call_kind : std::uint32_t { gather = 1, scatter = 2, reduce = 3 };

/// Precedes every transfer, so that ranks that disagree about the call find out.
struct call_header {
  call_kind kind{};
  std::uint32_t round = 0;
  std::uint64_t payload_bytes = 0;
  bool operator==(const call_header&) const = default;
};
static_assert(sizeof(call_header) == 16);

/// Both directions of one peer in one collective. Progress counts header and payload together.
struct exchange {
  std::uint32_t peer = 0;   ///< its rank in the whole set
  std::uint32_t place = 0;  ///< its rank in the communicator
  std::uint32_t round = 0;  ///< of the calls that both have made together
  std::span<const std::byte> out;
  std::span<std::byte> in;
  std::size_t sent = 0;
  std::size_t received = 0;
  call_header header_in{};

  bool has_sent() const { return sent == sizeof(call_header) + out.size(); }
  bool has_received() const { return received == sizeof(call_header) + in.size(); }
};

/// The connections of one rank, on which each of its communicators exchanges with some of the
/// peers.
class socket_mesh {
 public:
  socket_mesh(std::uint32_t rank, std::chrono::milliseconds deadline, std::vector<descriptor> peers,
              descriptor abort_event)
      : rank_(rank),
        deadline_(deadline),
        peers_(std::move(peers)),
        abort_event_(std::move(abort_event)),
        rounds_(peers_.size()) {}

  std::uint32_t rank() const { return rank_; }

  result<void> run(call_kind kind, std::vector<exchange>& exchanges) {
    if (broken_ || aborted_.load())
      return fail(errc::peer_lost, "the set of rank " + std::to_string(rank_) + " is broken",
                  broken_ ? "an earlier collective failed" : "the set is being stopped",
                  "start the set again");
    for (exchange& e : exchanges)
      e.round = ++rounds_[e.peer];
    auto ok = transfer_all(kind, exchanges);
    if (!ok) {
      broken_ = true;
      for (const descriptor& peer : peers_)
        shut_down(peer);
    }
    return ok;
  }

  void abort() {
    aborted_.store(true);
    raise(abort_event_);
  }

 private:
  result<void> transfer_all(call_kind kind, std::vector<exchange>& exchanges) {
    const auto end = std::chrono::steady_clock::now() + deadline_;
    const auto is_complete = [](const exchange& e) { return e.has_sent() && e.has_received(); };
    while (!std::ranges::all_of(exchanges, is_complete)) {
      const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
          end - std::chrono::steady_clock::now());
      if (left.count() <= 0) return fail(time_out(exchanges));
      if (auto ok = poll_once(kind, exchanges, static_cast<int>(left.count())); !ok) return ok;
    }
    return {};
  }

  result<void> poll_once(call_kind kind, std::vector<exchange>& exchanges, int timeout_ms) {
    std::vector<pollfd> polled;
    for (const exchange& e : exchanges) {
      const int events = (e.has_sent() ? 0 : POLLOUT) | (e.has_received() ? 0 : POLLIN);
      const int fd = events == 0 ? -1 : peers_[e.peer].get();
      polled.push_back({fd, static_cast<short>(events), 0});
    }
    polled.push_back({abort_event_.get(), POLLIN, 0});
    if (poll(polled.data(), polled.size(), timeout_ms) <= 0) return {};
    if (polled.back().revents != 0)
      return fail(errc::peer_lost, "rank " + std::to_string(rank_) + " aborted the collective",
                  "the set is being stopped", "");
    for (std::size_t i = 0; i < exchanges.size(); ++i) {
      const int events = polled[i].revents;
      if ((events & ~POLLIN) != 0 && !exchanges[i].has_sent())
        if (auto ok = send_more(kind, exchanges[i]); !ok) return ok;
      if ((events & ~POLLOUT) != 0 && !exchanges[i].has_received())
        if (auto ok = receive_more(kind, exchanges[i]); !ok) return ok;
    }
    return {};
  }

  result<void> send_more(call_kind kind, exchange& e) {
    const call_header header{kind, e.round, e.out.size()};
    const auto header_bytes = std::as_bytes(std::span(&header, 1));
    const auto rest = e.sent < sizeof header ? header_bytes.subspan(e.sent)
                                             : e.out.subspan(e.sent - sizeof header);
    const transfer step = send_some(peers_[e.peer], rest);
    if (step.closed) return lose(e.peer);
    e.sent += step.bytes;
    return {};
  }

  result<void> receive_more(call_kind kind, exchange& e) {
    const auto header_bytes = std::as_writable_bytes(std::span(&e.header_in, 1));
    const bool in_header = e.received < sizeof(call_header);
    const auto rest = in_header ? header_bytes.subspan(e.received)
                                : e.in.subspan(e.received - sizeof(call_header));
    const transfer step = receive_some(peers_[e.peer], rest);
    if (step.closed) return lose(e.peer);
    e.received += step.bytes;
    if (in_header && e.received == sizeof(call_header) &&
        e.header_in != call_header{kind, e.round, e.in.size()})
      return fail(errc::internal,
                  "rank " + std::to_string(e.peer) + " made another collective call than rank " +
                      std::to_string(rank_),
                  "the engine's order of calls depends on a rank's data", "report this bug");
    return {};
  }

  result<void> lose(std::uint32_t rank) const {
    return fail(errc::peer_lost, "rank " + std::to_string(rank) + " closed its connection",
                "its process ended or its set broke", "start the set again");
  }

  error time_out(const std::vector<exchange>& exchanges) const {
    std::vector<std::uint32_t> late;
    for (const exchange& e : exchanges)
      if (!e.has_sent() || !e.has_received()) late.push_back(e.peer);
    return {errc::timeout,
            rank_names(late) + " did not come to a collective within " +
                std::to_string(deadline_.count()) + " ms",
            "the rank is stuck, paused or cut off",
            "look at the log of that rank; the set is restarted without it"};
  }

  const std::uint32_t rank_;
  const std::chrono::milliseconds deadline_;
  std::vector<descriptor> peers_;
  descriptor abort_event_;
  std::atomic<bool> aborted_{false};
  bool broken_ = false;
  std::vector<std::uint32_t> rounds_;  ///< calls made with each peer
};

class socket_comm final : public comm {
 public:
  /// `members` are ranks of the mesh, ascending, its own among them.
  socket_comm(std::shared_ptr<socket_mesh> mesh, std::vector<std::uint32_t> members)
      : mesh_(std::move(mesh)),
        members_(std::move(members)),
        rank_(static_cast<std::uint32_t>(std::ranges::find(members_, mesh_->rank()) -
                                         members_.begin())) {}

  std::uint32_t rank() const override { return rank_; }
  std::uint32_t world_size() const override { return static_cast<std::uint32_t>(members_.size()); }

  result<void> all_gather(std::span<const float> mine, std::span<float> all) override {
    std::vector<exchange> exchanges = make_exchanges();
    for (exchange& e : exchanges) {
      e.out = std::as_bytes(mine);
      e.in = std::as_writable_bytes(all.subspan(e.place * mine.size(), mine.size()));
    }
    if (auto ok = mesh_->run(call_kind::gather, exchanges); !ok) return ok;
    const auto own = all.subspan(rank_ * mine.size(), mine.size());
    if (own.data() != mine.data()) std::ranges::copy(mine, own.begin());
    return {};
  }

  result<void> reduce_scatter(std::span<const float> all, std::span<float> mine) override {
    const std::size_t part = mine.size();
    received_.resize(members_.size() * part);
    std::vector<exchange> exchanges = make_exchanges();
    for (exchange& e : exchanges) {
      e.out = std::as_bytes(all.subspan(e.place * part, part));
      e.in = std::as_writable_bytes(std::span(received_).subspan(e.place * part, part));
    }
    config::failpoint("t5");
    if (auto ok = mesh_->run(call_kind::scatter, exchanges); !ok) return ok;
    config::failpoint("t6");
    for (std::size_t rank = 0; rank < members_.size(); ++rank) {
      const float* const from =
          rank == rank_ ? all.data() + rank * part : received_.data() + rank * part;
      if (rank == 0) {
        std::copy_n(from, part, mine.begin());
        continue;
      }
      for (std::size_t i = 0; i < part; ++i)
        mine[i] += from[i];
    }
    return {};
  }

  result<void> all_reduce(std::span<double> values) override {
    std::vector<double> received(members_.size() * values.size());
    const auto place = [&](std::size_t rank) {
      return std::span(received).subspan(rank * values.size(), values.size());
    };
    std::vector<exchange> exchanges = make_exchanges();
    for (exchange& e : exchanges) {
      e.out = std::as_bytes(std::span<const double>(values));
      e.in = std::as_writable_bytes(place(e.place));
    }
    if (auto ok = mesh_->run(call_kind::reduce, exchanges); !ok) return ok;
    std::ranges::copy(values, place(rank_).begin());
    for (std::size_t i = 0; i < values.size(); ++i) {
      double sum = place(0)[i];
      for (std::size_t rank = 1; rank < members_.size(); ++rank)
        sum += place(rank)[i];
      values[i] = sum;
    }
    return {};
  }

  result<std::unique_ptr<comm>> subset(std::span<const std::uint32_t> members) override {
    std::vector<std::uint32_t> chosen;
    for (const std::uint32_t member : members)
      chosen.push_back(members_[member]);
    return std::make_unique<socket_comm>(mesh_, std::move(chosen));
  }

  void abort() override { mesh_->abort(); }

 private:
  std::vector<exchange> make_exchanges() const {
    std::vector<exchange> exchanges;
    for (std::uint32_t rank = 0; rank < members_.size(); ++rank) {
      if (rank == rank_) continue;
      exchange e;
      e.peer = members_[rank];
      e.place = rank;
      exchanges.push_back(e);
    }
    return exchanges;
  }

  const std::shared_ptr<socket_mesh> mesh_;
  const std::vector<std::uint32_t> members_;
  const std::uint32_t rank_;
  std::vector<float> received_;
};

class socket_listener final : public comm_listener {
 public:
  socket_listener(socket_comm_options options, descriptor socket, std::string address)
      : options_(std::move(options)), socket_(std::move(socket)), address_(std::move(address)) {}

  std::string address() const override { return address_; }

  result<std::unique_ptr<comm>> connect(const std::vector<std::string>& addresses) override {
    const std::uint32_t world_size = options_.world_size;
    if (world_size > 1 && addresses.size() != world_size)
      return fail(errc::invalid_argument,
                  std::to_string(addresses.size()) + " addresses for " +
                      std::to_string(world_size) + " ranks",
                  "", "pass the address of every rank, in rank order");
    auto event = make_event();
    if (!event) return fail(std::move(event.error()));
    std::vector<descriptor> peers(world_size);
    if (world_size > 1) {
      const rank_hello self = make_hello(options_.rank, world_size, options_.token);
      auto met = meet_ranks(self, socket_, addresses, options_.deadline);
      if (!met) return fail(std::move(met.error()));
      peers = std::move(*met);
    }
    std::vector<std::uint32_t> everyone(world_size);
    std::iota(everyone.begin(), everyone.end(), 0U);
    auto mesh = std::make_shared<socket_mesh>(options_.rank, options_.deadline, std::move(peers),
                                              std::move(*event));
    return std::make_unique<socket_comm>(std::move(mesh), std::move(everyone));
  }

 private:
  socket_comm_options options_;
  descriptor socket_;
  std::string address_;
};

}  // namespace

result<std::unique_ptr<comm_listener>> listen_for_ranks(socket_comm_options options) {
  if (options.world_size == 0 || options.world_size > limits::world_size_max ||
      options.rank >= options.world_size || options.token.size() > limits::comm_token_bytes_max)
    return fail(errc::invalid_argument,
                "rank " + std::to_string(options.rank) + " of " +
                    std::to_string(options.world_size) + " with a token of " +
                    std::to_string(options.token.size()) + " bytes cannot be formed",
                "", "use fewer ranks or a shorter token");
  if (options.world_size == 1)
    return std::make_unique<socket_listener>(std::move(options), descriptor{}, std::string{});
  auto socket = listen_on(options.interface);
  if (!socket) return fail(std::move(socket.error()));
  auto address = local_address(*socket);
  if (!address) return fail(std::move(address.error()));
  return std::make_unique<socket_listener>(std::move(options), std::move(*socket),
                                           std::move(*address));
}

}  // namespace troupe::gpu
