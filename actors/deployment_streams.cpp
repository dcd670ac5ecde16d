#include <algorithm>
#include <utility>

#include "actors/deployment.hpp"
#include "actors/runtime/ask.hpp"
#include "config/deadlines.hpp"
#include "config/limits.hpp"

namespace troupe::actors {
namespace {

constexpr std::chrono::milliseconds silence_check = deadlines::stream_silence / 4;

}  // namespace

// -- streams -------------------------------------------------------------------------------------

caf::result<done> deployment_state::begin_stream(const stream_sample_request& request) {
  open_request open;
  open.request = request.request;
  open.origin = origin_of(request.request.ticket);
  open_stream stream;
  stream.opened = self_->make_response_promise<done>();
  auto promise = stream.opened;
  open.stream = std::move(stream);
  begin(std::move(open));
  return promise;
}

void deployment_state::forward_stream(std::uint64_t request) {
  const open_request& open = active_.at(request);
  stream_sample_request wanted{open.request};
  wanted.request.ticket = request;
  ask(
      self_, places_.at(open.place).replica, deadlines::sample, std::move(wanted),
      [this, request](const done&) {
        const auto found = active_.find(request);
        if (found == active_.end()) return;
        open_stream& stream = *found->second.stream;
        stream.read_at = now(self_->system());
        if (!std::exchange(stream.is_opened, true)) stream.opened.deliver(done{});
        watch_silence();
        if (stream.reader) relay_read(request);
      },
      [this, request](const error& e) {
        if (e.code != errc::peer_lost) end_active(request, e);
      });
}

caf::result<sample_chunk> deployment_state::read(const read_sample_request& request) {
  const client_ticket origin = origin_of(request.ticket);
  if (const auto over = ended_.extract(origin); !over.empty()) {
    return to_caf(over.mapped().reason);
  }
  open_request* const open = find(origin);
  if (open == nullptr || !open->stream || request.chunk != open->stream->next_chunk) {
    return to_caf({errc::not_found,
                   "there is no chunk " + std::to_string(request.chunk) + " of stream " +
                       std::to_string(request.ticket) + " to be read",
                   "the stream has ended, or its chunks are not read in order",
                   "ask for a new stream"});
  }
  open->stream->read_at = now(self_->system());
  const bool was_asked_for = open->stream->reader.has_value();
  open->stream->reader = self_->make_response_promise<sample_chunk>();
  auto promise = *open->stream->reader;
  const auto placed = by_ticket_.find(origin);
  if (placed != by_ticket_.end() && open->stream->is_opened && !was_asked_for) {
    relay_read(placed->second);
  }
  return promise;
}

void deployment_state::relay_read(std::uint64_t request) {
  const open_request& open = active_.at(request);
  ask(
      self_, places_.at(open.place).replica, deadlines::sample,
      read_sample_request{id_, request, open.stream->next_chunk},
      [this, request](const sample_chunk& chunk) {
        const auto found = active_.find(request);
        if (found == active_.end()) return;
        open_stream& stream = *found->second.stream;
        ++stream.next_chunk;
        stream.read_at = now(self_->system());
        auto reader = std::exchange(stream.reader, std::nullopt);
        if (reader) reader->deliver(chunk);
        if (chunk.is_last) answered(request);
      },
      [this, request](const error& e) {
        if (e.code != errc::peer_lost) end_active(request, e);
      });
}

void deployment_state::watch_silence() {
  if (std::exchange(watches_silence_, true)) return;
  self_->delayed_send(deployment_self{self_}, silence_check, tick{});
}

void deployment_state::end_silent_streams() {
  if (!std::exchange(watches_silence_, false)) return;
  const auto is_over = [this](time_point since) {
    return seconds_since(self_->system(), since) >=
           static_cast<double>(deadlines::stream_silence.count());
  };
  std::erase_if(ended_, [&](const auto& entry) { return is_over(entry.second.at); });
  std::vector<std::uint64_t> silent;
  bool is_any_open = !ended_.empty();
  for (const auto& [request, open] : active_) {
    if (!open.stream) continue;
    is_any_open = true;
    const bool is_silent = open.stream->is_opened && !open.stream->reader;
    if (is_silent && is_over(open.stream->read_at)) silent.push_back(request);
  }
  for (const std::uint64_t request : silent) {
    end_active(request, {errc::timeout,
                         "nothing was read of the stream for " +
                             std::to_string(deadlines::stream_silence.count()) + " s",
                         "its reader hangs, or has forgotten it",
                         "ask for a new stream, and read it as it comes"});
  }
  if (is_any_open) watch_silence();
}

// -- adapters ------------------------------------------------------------------------------------

/// Gives a request the record of its adapter; false while the record is being fetched.
bool deployment_state::find_adapter(sample_request& request) {
  if (request.adapter.empty() || request.adapter_record) return true;
  const auto known = adapters_.find(request.adapter);
  const bool is_fresh =
      known != adapters_.end() && seconds_since(self_->system(), known->second.at) <
                                      static_cast<double>(deadlines::checkpoint_lease.count()) / 2;
  if (!is_fresh) {
    fetch_adapter(request.adapter);
    return false;
  }
  request.adapter_record = known->second.record;
  return true;
}

void deployment_state::fetch_adapter(const checkpoint_id& adapter) {
  if (!fetching_.insert(adapter).second) return;
  ask(
      self_, config_.store, deadlines::store, checkpoint_chain_request{adapter},
      [this, adapter](const checkpoint_list& chain) {
        adapter_fetched(adapter, checked_adapter(chain));
      },
      [this, adapter](const error& e) { adapter_fetched(adapter, fail(e)); });
}

result<checkpoint_record> deployment_state::checked_adapter(const checkpoint_list& chain) const {
  const checkpoint_record& record = chain.records.back();
  if (record.manifest.kind != checkpoint_kind::sampler_adapter) {
    return fail(errc::invalid_argument, "checkpoint " + record.id.value + " is no adapter",
                "it holds whole weights, or training state",
                "sync the deployment to it, or name a sampler checkpoint of an adapter run");
  }
  if (record.manifest.model != config_.model) {
    return fail(errc::invalid_argument,
                "adapter " + record.id.value + " is of another model than the deployment's",
                "it was trained beside " + record.manifest.model_directory,
                "ask a deployment of that model");
  }
  return record;
}

void deployment_state::adapter_fetched(const checkpoint_id& adapter,
                                       const result<checkpoint_record>& record) {
  fetching_.erase(adapter);
  if (record) {
    if (adapters_.size() >= limits::sampler_adapters_max) adapters_.clear();
    adapters_[adapter] = {*record, now(self_->system())};
  }
  for (auto& open : std::exchange(waiting_, {})) {
    if (open.request.adapter != adapter || open.request.adapter_record) {
      waiting_.push_back(std::move(open));
    } else if (!record) {
      refuse(open, record.error());
    } else {
      route(std::move(open));
    }
  }
}

// -- cancelling ----------------------------------------------------------------------------------

caf::result<done> deployment_state::cancel(const cancel_sample_request& request) {
  cancel_open(origin_of(request.ticket), {errc::cancelled, "the request was cancelled", "", ""});
  return done{};
}

deployment_state::open_request* deployment_state::find(const client_ticket& origin) {
  if (const auto placed = by_ticket_.find(origin); placed != by_ticket_.end()) {
    return &active_.at(placed->second);
  }
  const auto waits = std::ranges::find(waiting_, origin, &open_request::origin);
  return waits == waiting_.end() ? nullptr : &*waits;
}

void deployment_state::cancel_open(const client_ticket& origin, const error& reason) {
  const auto placed = by_ticket_.find(origin);
  if (placed != by_ticket_.end()) return end_active(placed->second, reason);
  const auto waits = std::ranges::find(waiting_, origin, &open_request::origin);
  if (waits == waiting_.end()) return;
  refuse(*waits, reason);
  waiting_.erase(waits);
}

void deployment_state::tell_cancelled(std::uint64_t request) {
  const auto found = places_.find(active_.at(request).place);
  if (found == places_.end() || !found->second.replica) return;
  ask(
      self_, found->second.replica, deadlines::control, cancel_sample_request{id_, request},
      [](const done&) {}, [](const error&) {});
}

// -- clients -------------------------------------------------------------------------------------

/// Of the message at hand, as long as no promise was made for its answer: that takes its sender.
deployment_state::client_ticket deployment_state::origin_of(std::uint64_t ticket) {
  return {caf::actor_cast<caf::actor_addr>(self_->current_sender()), ticket};
}

void deployment_state::watch(const client_ticket& origin) {
  if (!origin.client) return;
  if (++clients_[origin.client] > 1) return;
  if (const auto client = caf::actor_cast<caf::actor>(origin.client)) self_->monitor(client);
}

void deployment_state::release(const client_ticket& origin) {
  const auto found = clients_.find(origin.client);
  if (found == clients_.end() || --found->second > 0) return;
  self_->demonitor(origin.client);
  clients_.erase(found);
}

void deployment_state::client_gone(const caf::actor_addr& client) {
  clients_.erase(client);
  std::erase_if(ended_, [&](const auto& entry) { return entry.first.client == client; });
  std::vector<std::uint64_t> active;
  for (const auto& [request, open] : active_)
    if (open.origin.client == client) active.push_back(request);
  for (const std::uint64_t request : active) {
    tell_cancelled(request);
    answered(request);
  }
  std::erase_if(waiting_, [&](const open_request& open) { return open.origin.client == client; });
}

}  // namespace troupe::actors
