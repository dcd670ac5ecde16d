#include "gpu/comm/rendezvous.hpp"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <span>
#include <utility>

#include <poll.h>

#include "gpu/comm/rank_names.hpp"

namespace troupe::gpu {
namespace {

enum class stage : std::uint8_t { connecting, greeting, listening, answering, done };

/// One connection on its way to becoming a rank.
struct session {
  descriptor socket;
  stage at = stage::listening;
  std::optional<std::uint32_t> rank;  ///< known at once when this side called
  bool called = false;                ///< this side opened the connection
  hello_buffer out{};
  hello_buffer in{};
  std::size_t sent = 0;
  std::size_t received = 0;

  bool is_sending() const { return at == stage::greeting || at == stage::answering; }
};

/// Strangers that hold connections open without greeting are cut off beyond this number.
constexpr std::size_t unknown_sessions_max = 128;

class rendezvous {
 public:
  rendezvous(const rank_hello& self, const descriptor& listener)
      : self_(self), listener_(listener), peers_(self.world_size) {}

  result<void> call(std::uint32_t rank, const std::string& address) {
    auto socket = start_connecting(address);
    if (!socket) return fail(std::move(socket.error()));
    session caller;
    caller.socket = std::move(*socket);
    caller.at = stage::connecting;
    caller.rank = rank;
    caller.called = true;
    caller.out = encode(self_);
    sessions_.push_back(std::move(caller));
    return {};
  }

  result<std::vector<descriptor>> run(std::chrono::milliseconds deadline) {
    const auto end = std::chrono::steady_clock::now() + deadline;
    while (!missing().empty()) {
      const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
          end - std::chrono::steady_clock::now());
      if (left.count() <= 0) return fail(time_out(deadline));
      if (auto ok = poll_once(static_cast<int>(left.count())); !ok)
        return fail(std::move(ok.error()));
    }
    return std::move(peers_);
  }

 private:
  std::vector<std::uint32_t> missing() const {
    std::vector<std::uint32_t> ranks;
    for (std::uint32_t rank = 0; rank < peers_.size(); ++rank)
      if (rank != self_.rank && !peers_[rank]) ranks.push_back(rank);
    return ranks;
  }

  error time_out(std::chrono::milliseconds deadline) const {
    return {errc::timeout,
            rank_names(missing()) + " did not meet rank " + std::to_string(self_.rank) +
                " within " + std::to_string(deadline.count()) + " ms",
            "it was not started, is paused, or does not know the token of this set",
            "look at the log of that rank"};
  }

  result<void> poll_once(int timeout_ms) {
    std::vector<pollfd> polled{{listener_.get(), POLLIN, 0}};
    for (const session& s : sessions_) {
      const bool writes = s.at == stage::connecting || s.is_sending();
      polled.push_back({s.socket.get(), static_cast<short>(writes ? POLLOUT : POLLIN), 0});
    }
    if (poll(polled.data(), polled.size(), timeout_ms) <= 0) return {};
    for (std::size_t i = 0; i < sessions_.size(); ++i)
      if (polled[i + 1].revents != 0)
        if (auto ok = advance(sessions_[i]); !ok) return ok;
    std::erase_if(sessions_, [](const session& s) { return s.at == stage::done; });
    if (polled[0].revents != 0) accept_waiting();
    return {};
  }

  void accept_waiting() {
    while (descriptor socket = accept_from(listener_)) {
      if (sessions_.size() >= unknown_sessions_max) continue;
      session guest;
      guest.socket = std::move(socket);
      sessions_.push_back(std::move(guest));
    }
  }

  result<void> advance(session& s) {
    if (s.at == stage::connecting) {
      if (auto ok = finish_connecting(s.socket); !ok) return ok;
      s.at = stage::greeting;
    }
    return s.is_sending() ? send_more(s) : receive_more(s);
  }

  result<void> send_more(session& s) {
    const transfer step = send_some(s.socket, std::span(s.out).subspan(s.sent));
    if (step.closed) return lose(s);
    s.sent += step.bytes;
    if (s.sent < s.out.size()) return {};
    if (s.at == stage::greeting) {
      s.at = stage::listening;
    } else {
      admit(s);
    }
    return {};
  }

  result<void> receive_more(session& s) {
    const transfer step = receive_some(s.socket, std::span(s.in).subspan(s.received));
    if (step.closed) return lose(s);
    s.received += step.bytes;
    if (s.received < s.in.size()) return {};
    const rank_hello other = decode(s.in);
    return s.called ? judge_answer(s, other) : judge_guest(s, other);
  }

  result<void> judge_answer(session& s, const rank_hello& other) {
    if (!is_same_set(self_, other) || other.rank != *s.rank)
      return fail(errc::protocol,
                  "rank " + std::to_string(*s.rank) + " refused rank " + std::to_string(self_.rank),
                  "the two were started with different tokens, world sizes or addresses",
                  "start the set again with one token");
    admit(s);
    return {};
  }

  result<void> judge_guest(session& s, const rank_hello& other) {
    const bool is_expected =
        other.rank > self_.rank && other.rank < self_.world_size && !peers_[other.rank];
    rank_hello answer = self_;
    if (is_same_set(self_, other) && is_expected) {
      s.rank = other.rank;
    } else {
      answer = rank_hello{};
      answer.kind = hello_kind::refusal;
    }
    s.out = encode(answer);
    s.at = stage::answering;
    return {};
  }

  void admit(session& s) {
    if (s.rank && !peers_[*s.rank]) peers_[*s.rank] = std::move(s.socket);
    s.at = stage::done;
  }

  result<void> lose(session& s) {
    s.at = stage::done;
    if (!s.called) return {};
    return fail(errc::peer_lost,
                "rank " + std::to_string(*s.rank) + " closed the connection during the handshake",
                "it has ended", "start the set again");
  }

  const rank_hello& self_;
  const descriptor& listener_;
  std::vector<session> sessions_;
  std::vector<descriptor> peers_;
};

}  // namespace

result<std::vector<descriptor>> meet_ranks(const rank_hello& self, const descriptor& listener,
                                           const std::vector<std::string>& addresses,
                                           std::chrono::milliseconds deadline) {
  rendezvous meeting(self, listener);
  for (std::uint32_t rank = 0; rank < self.rank; ++rank)
    if (auto ok = meeting.call(rank, addresses[rank]); !ok) return fail(std::move(ok.error()));
  return meeting.run(deadline);
}

}  // namespace troupe::gpu
