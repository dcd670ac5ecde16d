#include "tests/support/sim_network.hpp"

#include <algorithm>
#include <utility>

namespace troupe::tests {
namespace {

/// Who it is from; 0 for what a place says to itself: alarms, and mail without a sender.
caf::actor_id sender_of(const caf::mailbox_element& mail) {
  if (const auto down = caf::make_const_typed_message_view<caf::down_msg>(mail.payload))
    return caf::get<0>(down).source.id();
  return mail.sender ? mail.sender->id() : 0;
}

bool tells_of_an_end(const caf::mailbox_element& mail) {
  return mail.payload.match_elements<caf::down_msg>() ||
         mail.payload.match_elements<caf::exit_msg>();
}

caf::mailbox_element_ptr first_of(caf::scheduled_actor& actor) {
  auto& queues = actor.mailbox().queue().queues();
  auto& urgent = std::get<caf::scheduled_actor::urgent_queue_index>(queues);
  if (!urgent.empty()) return urgent.take_front();
  return std::get<caf::scheduled_actor::normal_queue_index>(queues).take_front();
}

}  // namespace

sim_network::place sim_network::place_of(caf::actor_id actor) const {
  const auto known = place_of_.find(actor);
  return known == place_of_.end() ? control : known->second;
}

bool sim_network::happens(std::uint32_t one_in) {
  return one_in > 0 && random_() % one_in == 0;
}

void sim_network::set_weather(const weather& next, time until) {
  weather_ = next;
  weather_until_ = until;
}

bool sim_network::is_fair(time now) const {
  const bool is_whole =
      std::ranges::none_of(cuts_, [now](const auto& c) { return now < c.second; });
  return now >= weather_until_ && in_flight_.empty() && is_whole;
}

void sim_network::clear_up(time now) {
  if (now >= weather_until_) weather_ = {};
}

void sim_network::cut_off(place where, way which, time until) {
  for (place other = 0; other <= newest_; ++other) {
    if (other == where) continue;
    if (which != way::out) cuts_[{other, where}] = until;
    if (which != way::in) cuts_[{where, other}] = until;
  }
}

bool sim_network::is_cut(const link& over, time now) const {
  const auto cut = cuts_.find(over);
  return cut != cuts_.end() && now < cut->second;
}

void sim_network::drop(place where) {
  num_lost_ += std::erase_if(in_flight_, [where](const in_flight& each) {
    return !each.is_news && (each.over.first == where || each.over.second == where);
  });
}

void sim_network::heal() {
  weather_ = {};
  cuts_.clear();
  for (in_flight& each : in_flight_)
    each.due = time{0};
}

bool sim_network::passes_at_once(const link& over, time now) const {
  const bool is_fair =
      weather_.lose_one_in == 0 && weather_.repeat_one_in == 0 && weather_.delay_max.count() == 0;
  return is_fair && !is_cut(over, now) &&
         std::ranges::none_of(in_flight_, [&over](const auto& each) { return each.over == over; });
}

void sim_network::inspect(caf::scheduled_actor& receiver, time now) {
  clear_up(now);
  const place to = place_of(receiver.id());
  auto& arrived = arrived_[receiver.id()];
  while (const caf::mailbox_element* mail = receiver.mailbox().peek()) {
    const caf::actor_id sender = sender_of(*mail);
    const link over{sender == 0 ? to : place_of(sender), to};
    if (over.first == to) return;
    if (const auto known = arrived.find({sender, mail->mid.integer_value()});
        known != arrived.end()) {
      arrived.erase(known);
      return;
    }
    if (passes_at_once(over, now)) return;
    take(over, caf::actor_cast<caf::strong_actor_ptr>(&receiver), first_of(receiver), now);
  }
}

void sim_network::take(const link& over, const caf::strong_actor_ptr& receiver,
                       caf::mailbox_element_ptr mail, time now) {
  const bool is_news = tells_of_an_end(*mail);
  if (!is_news && happens(weather_.lose_one_in)) {
    ++num_lost_;
    return;
  }
  if (!is_news && happens(weather_.repeat_one_in)) {
    ++num_repeated_;
    send(over, receiver,
         caf::make_mailbox_element(mail->sender, mail->mid, mail->stages, mail->payload), false,
         now);
  }
  send(over, receiver, std::move(mail), is_news, now);
}

void sim_network::send(const link& over, const caf::strong_actor_ptr& receiver,
                       caf::mailbox_element_ptr mail, bool is_news, time now) {
  ++num_held_;
  const auto delay_max = static_cast<std::uint64_t>(weather_.delay_max.count());
  time due = now + time(delay_max == 0 ? 0 : random_() % (delay_max + 1));
  for (const in_flight& each : in_flight_) {
    const bool stays_behind = weather_.keeps_order || is_news || each.is_news;
    if (each.over == over && stays_behind) due = std::max(due, each.due);
  }
  in_flight_.push_back({due, over, receiver, std::move(mail), is_news});
}

void sim_network::deliver(time now) {
  if (in_flight_.empty()) return;
  const auto has_come = [this, now](const in_flight& each) {
    return each.due <= now && !is_cut(each.over, now);
  };
  std::vector<in_flight> here;
  for (in_flight& each : in_flight_) {
    if (has_come(each)) here.push_back(std::move(each));
  }
  std::erase_if(in_flight_, [](const in_flight& each) { return each.mail == nullptr; });
  std::ranges::stable_sort(here, {}, &in_flight::due);
  for (in_flight& each : here) {
    const stamp known{sender_of(*each.mail), each.mail->mid.integer_value()};
    arrived_[each.receiver->id()].insert(known);
    auto* receiver = caf::actor_cast<caf::abstract_actor*>(each.receiver);
    receiver->enqueue(std::move(each.mail), nullptr);
  }
}

}  // namespace troupe::tests
