#include "apps/gateway/future_table.hpp"

#include <algorithm>

#include "apps/support/tls_authority.hpp"

namespace troupe::gateway {
namespace {

constexpr std::chrono::milliseconds tick_interval{500};

}  // namespace

future_table::future_table(boost::asio::io_context& loop, std::chrono::milliseconds patience)
    : timer_(loop), patience_of_polls_(patience) {
  tick();
}

result<std::string> future_table::open(const std::string& key_id) {
  if (!room_.has_room_for(key_id)) {
    return fail(errc::busy, "the gateway keeps as many results of this key as it can",
                "clients submit faster than the cluster works", "send the request again later");
  }
  auto id = apps::random_token();
  if (!id) return fail(id.error());
  entries_[*id].key_id = key_id;
  room_.take(key_id);
  ++num_open_;
  return id;
}

bool future_table::erase(const std::string& request_id) {
  const auto gone = entries_.extract(request_id);
  if (!gone) return false;
  room_.give_back(gone.mapped().key_id);
  return true;
}

void future_table::answer(waiter& who, const reply& value) {
  if (!who.respond) return;
  --num_waiting_;
  std::exchange(who.respond, nullptr)(value);
}

void future_table::resolve(const std::string& request_id, reply value) {
  const auto known = entries_.find(request_id);
  if (known == entries_.end() || known->second.value) return;
  known->second.value = std::make_shared<const reply>(std::move(value));
  --num_open_;
  resolved_.emplace_back(request_id, std::chrono::steady_clock::now());
  if (listener_.resolved) listener_.resolved(request_id, *known->second.value);
  const auto waiters = std::exchange(known->second.waiters, {});
  for (const auto& who : waiters)
    answer(*who, *known->second.value);
}

void future_table::drop(const std::string& request_id) {
  if (erase(request_id)) --num_open_;
}

void future_table::restore(const std::string& request_id, const std::string& key_id,
                           const std::optional<reply>& value) {
  entry& made = entries_[request_id];
  made.key_id = key_id;
  room_.take(key_id);
  if (!value) {
    ++num_open_;
    return;
  }
  made.value = std::make_shared<const reply>(*value);
  resolved_.emplace_back(request_id, std::chrono::steady_clock::now());
}

void future_table::retrieve(const std::string& request_id, const std::string& key_id,
                            responder respond) {
  const auto known = entries_.find(request_id);
  if (known == entries_.end() || known->second.key_id != key_id) {
    return respond(refusal(410, {errc::not_found, "this result is not kept here",
                                 "the gateway was restarted, or the result was fetched long ago",
                                 "submit the request again"}));
  }
  if (known->second.value) return respond(*known->second.value);
  auto who = std::make_shared<waiter>(waiter{
      request_id, std::move(respond), std::chrono::steady_clock::now() + patience_of_polls_});
  auto& waiters = known->second.waiters;
  std::erase_if(waiters, [](const auto& earlier) { return !earlier->respond; });
  waiters.push_back(who);
  patience_.push_back(std::move(who));
  ++num_waiting_;
}

bool future_table::is_of(const std::string& request_id, const std::string& key_id) const {
  const auto known = entries_.find(request_id);
  return known != entries_.end() && known->second.key_id == key_id;
}

void future_table::end_patience(time_point now) {
  while (!patience_.empty() && (!patience_.front()->respond || patience_.front()->until <= now)) {
    const auto who = patience_.front();
    patience_.pop_front();
    if (!who->respond) continue;
    if (const auto known = entries_.find(who->request_id); known != entries_.end()) {
      known->second.unattended_since = now;
      unattended_.emplace_back(who->request_id, now);
    }
    reply not_yet = json_reply({{"queue_state", "active"}});
    not_yet.status = 408;
    answer(*who, not_yet);
  }
}

void future_table::tell_abandoned(time_point now) {
  while (!unattended_.empty() && now - unattended_.front().second > 2 * patience_of_polls_) {
    const auto [request_id, since] = std::move(unattended_.front());
    unattended_.pop_front();
    const auto known = entries_.find(request_id);
    if (known == entries_.end() || known->second.value) continue;
    // A later poll ended later, or has not ended.
    const auto& waiters = known->second.waiters;
    const bool is_awaited = std::any_of(waiters.begin(), waiters.end(),
                                        [](const auto& who) { return who->respond != nullptr; });
    if (is_awaited || known->second.unattended_since != since) continue;
    if (abandoned_) abandoned_(request_id);
  }
}

void future_table::tick() {
  const auto now = std::chrono::steady_clock::now();
  end_patience(now);
  tell_abandoned(now);
  while (!resolved_.empty() && now - resolved_.front().second > deadlines::future_kept) {
    if (listener_.forgotten) listener_.forgotten(resolved_.front().first);
    erase(resolved_.front().first);
    resolved_.pop_front();
  }
  timer_.expires_after(tick_interval);
  timer_.async_wait([this](boost::system::error_code problem) {
    if (!problem) tick();
  });
}

}  // namespace troupe::gateway
