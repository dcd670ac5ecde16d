#include "apps/gateway/completion_feed.hpp"

#include <algorithm>

#include "apps/gateway/unix_time.hpp"
#include "config/limits.hpp"

namespace troupe::gateway {
namespace {

constexpr std::chrono::milliseconds tick_interval{500};
constexpr std::size_t batch_max = 1024;

}  // namespace

completion_feed::completion_feed(boost::asio::io_context& loop)
    : last_cursor_(now_unix_ms()), timer_(loop) {
  tick();
}

void completion_feed::answer(const channel_state& from, const waiter& who) {
  boost::json::array completions;
  std::uint64_t cursor = who.cursor;
  for (const line& entry : from.lines) {
    if (entry.cursor <= who.cursor) continue;
    if (completions.size() >= batch_max) break;
    boost::json::object shown{{"state", entry.how == end::finished ? "finished" : "failed"},
                              {"request_id", entry.request_id}};
    if (entry.how == end::finished) {
      shown["response_payload_uncompressed_size"] = entry.result_bytes;
    }
    completions.push_back(std::move(shown));
    cursor = entry.cursor;
  }
  who.respond(json_reply({{"completions", std::move(completions)}, {"cursor", cursor}}));
}

void completion_feed::ended(const std::string& channel, const std::string& request_id, end how,
                            std::size_t result_bytes) {
  channel_state& state = channels_[channel];
  state.lines.push_back({++last_cursor_, request_id, how, result_bytes});
  if (state.lines.size() > limits::gateway_samples_max) state.lines.pop_front();
  for (const waiter& who : std::exchange(state.waiters, {}))
    answer(state, who);
}

void completion_feed::await(const std::string& channel, std::uint64_t cursor,
                            std::chrono::milliseconds patience, responder respond) {
  channel_state& state = channels_[channel];
  while (!state.lines.empty() && state.lines.front().cursor <= cursor)
    state.lines.pop_front();
  const auto until = std::chrono::steady_clock::now() + patience;
  waiter who{cursor, until, std::move(respond)};
  if (!state.lines.empty() || patience.count() == 0) return answer(state, who);
  state.waiters.push_back(std::move(who));
}

void completion_feed::forget(const std::string& session_id) {
  const std::string prefix = session_id + ":";
  auto it = channels_.lower_bound(prefix);
  while (it != channels_.end() && it->first.starts_with(prefix)) {
    for (const waiter& who : it->second.waiters)
      answer(it->second, who);
    it = channels_.erase(it);
  }
}

void completion_feed::tick() {
  const auto now = std::chrono::steady_clock::now();
  for (auto& [name, state] : channels_) {
    auto& waiters = state.waiters;
    const auto over = std::stable_partition(waiters.begin(), waiters.end(),
                                            [now](const auto& who) { return who.until > now; });
    const std::vector<waiter> late(std::make_move_iterator(over),
                                   std::make_move_iterator(waiters.end()));
    waiters.erase(over, waiters.end());
    for (const waiter& who : late)
      answer(state, who);
  }
  timer_.expires_after(tick_interval);
  timer_.async_wait([this](boost::system::error_code problem) {
    if (!problem) tick();
  });
}

}  // namespace troupe::gateway
