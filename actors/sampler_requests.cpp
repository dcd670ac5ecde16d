#include <utility>

#include "actors/runtime/ask.hpp"
#include "actors/sampler.hpp"
#include "config/deadlines.hpp"

namespace troupe::actors {

caf::result<sample_reply> sampler_state::sample(const sample_request& request) {
  open_request open;
  open.request = request;
  open.answer = self_->make_response_promise<sample_reply>();
  auto promise = open.answer;
  accept(std::move(open));
  return promise;
}

caf::result<done> sampler_state::open_stream(const stream_sample_request& request) {
  open_request open;
  open.request = request.request;
  open.stream = std::make_shared<logic::sample_stream>(request.request.num_samples);
  open.opened = self_->make_response_promise<done>();
  auto promise = open.opened;
  accept(std::move(open));
  return promise;
}

std::optional<error> sampler_state::refusal(const sample_request& request) const {
  if (request.min_version > version_) {
    return error{errc::busy,
                 "version " + std::to_string(request.min_version) + " is not live yet, " +
                     std::to_string(version_) + " is",
                 "a sync is under way", "ask again"};
  }
  if (request.max_version < version_) {
    return error{errc::not_found,
                 "version " + std::to_string(request.max_version) + " is not served any more, " +
                     std::to_string(version_) + " is",
                 "newer weights went live", "ask for the live version"};
  }
  if (!request.adapter.empty() && !request.adapter_record && !shelf_.has(request.adapter)) {
    return error{errc::not_found, "the replica does not hold adapter " + request.adapter.value,
                 "its record did not come with the request", "send its record along"};
  }
  return std::nullopt;
}

void sampler_state::accept(open_request open) {
  if (const auto refused = refusal(open.request)) return refuse(open, *refused);
  const checkpoint_id adapter = open.request.adapter;
  if (adapter.empty()) return take_in(std::move(open));
  if (shelf_.has(adapter)) {
    shelf_.pin(adapter);
    return take_in(std::move(open));
  }
  auto& waiters = loading_[adapter];
  waiters.push_back(std::move(open));
  if (waiters.size() == 1) load(waiters.front().request);
}

void sampler_state::refuse(open_request& open, const error& reason) {
  if (open.stream) return open.opened.deliver(to_caf(reason));
  open.answer.deliver(to_caf(reason));
}

// -- adapters ------------------------------------------------------------------------------------

void sampler_state::load(const sample_request& request) {
  ask(
      self_, stager_, deadlines::stage, load_adapter{*request.adapter_record},
      [this, id = request.adapter](const adapter_loaded& ready) { loaded(id, ready); },
      [this, id = request.adapter](const error& e) { load_failed(id, e); });
}

void sampler_state::loaded(const checkpoint_id& adapter, const adapter_loaded& ready) {
  if (ready.base != base_) {
    return load_failed(adapter, {errc::aborted, "other weights went live under the adapter",
                                 "a sync came between", "ask again"});
  }
  const auto gone = shelf_.add(adapter, ready.adapter->num_bytes());
  if (!gone) return load_failed(adapter, gone.error());
  for (const checkpoint_id& id : *gone)
    adapters_.erase(id);
  adapters_[adapter] = ready.adapter;
  for (auto& open : std::exchange(loading_[adapter], {})) {
    shelf_.pin(adapter);
    take_in(std::move(open));
  }
  loading_.erase(adapter);
  shelf_.unpin(adapter);
}

void sampler_state::load_failed(const checkpoint_id& adapter, const error& reason) {
  for (auto& open : std::exchange(loading_[adapter], {}))
    refuse(open, reason);
  loading_.erase(adapter);
}

void sampler_state::unpin(const sample_request& request) {
  if (!request.adapter.empty()) shelf_.unpin(request.adapter);
}

// -- from the queue to the answer ----------------------------------------------------------------

/// Its adapter is there and pinned.
void sampler_state::take_in(open_request open) {
  open.request.adapter_record.reset();
  const auto refused = refusal(open.request);
  auto number =
      refused ? result<std::uint64_t>(fail(*refused)) : queue_.add(open.request, open.stream);
  if (!number) {
    unpin(open.request);
    return refuse(open, number.error());
  }
  if (open.stream) open.opened.deliver(done{});
  if (open.request.ticket != 0) tickets_[open.request.ticket] = *number;
  open_.emplace(*number, std::move(open));
  go_on();
}

void sampler_state::note_token(std::uint64_t request, const gpu::decoded_token& token) {
  const auto found = open_.find(request);
  if (found == open_.end() || !found->second.stream) return;
  if (token.finished || !found->second.stream->is_full()) return;
  engine_->hold(token.sequence);
  found->second.held.push_back(token.sequence);
}

void sampler_state::finish(std::uint64_t request, sample_reply reply) {
  const auto found = open_.find(request);
  if (found == open_.end()) return;
  unpin(found->second.request);
  if (found->second.stream) return;
  found->second.answer.deliver(std::move(reply));
  forget(request);
}

void sampler_state::forget(std::uint64_t request) {
  const auto node = open_.extract(request);
  if (!node.empty()) tickets_.erase(node.mapped().request.ticket);
}

void sampler_state::give_up(std::uint64_t request, const error& reason) {
  const auto found = open_.find(request);
  if (queue_.has(request) && found != open_.end()) unpin(found->second.request);
  for (const std::uint64_t sequence : queue_.drop(request))
    engine_->cancel(sequence);
  if (found == open_.end()) return;
  open_request& open = found->second;
  if (!open.stream) {
    open.answer.deliver(to_caf(reason));
    return forget(request);
  }
  open.held.clear();
  open.failure = reason;
  serve(request);
}

// -- streams -------------------------------------------------------------------------------------

caf::result<sample_chunk> sampler_state::read(const read_sample_request& request) {
  const auto known = tickets_.find(request.ticket);
  const auto found = known == tickets_.end() ? open_.end() : open_.find(known->second);
  if (found == open_.end() || !found->second.stream) {
    return to_caf({errc::not_found, "there is no stream " + std::to_string(request.ticket),
                   "it has ended, or was given up", "ask for a new one"});
  }
  open_request& open = found->second;
  if (request.chunk != open.stream->next_chunk()) {
    return to_caf({errc::invalid_argument,
                   "chunk " + std::to_string(request.chunk) + " was asked for, the next one is " +
                       std::to_string(open.stream->next_chunk()),
                   "chunks are read in order, each once", "ask for the next one"});
  }
  open.reader = self_->make_response_promise<sample_chunk>();
  auto promise = *open.reader;
  serve(found->first);
  return promise;
}

void sampler_state::serve_readers() {
  std::vector<std::uint64_t> readable;
  for (const auto& [number, open] : open_) {
    if (open.reader && open.stream->has_news()) readable.push_back(number);
  }
  for (const std::uint64_t number : readable)
    serve(number);
}

/// Gives a waiting reader what there is, and lets decoding go on when it has caught up.
void sampler_state::serve(std::uint64_t request) {
  open_request& open = open_.at(request);
  if (!open.reader || (!open.failure && !open.stream->has_news())) return;
  auto reader = *std::exchange(open.reader, std::nullopt);
  if (open.failure) {
    reader.deliver(to_caf(*open.failure));
    return forget(request);
  }
  sample_chunk chunk = open.stream->take();
  const bool is_last = chunk.is_last;
  reader.deliver(std::move(chunk));
  if (is_last) return forget(request);
  if (open.held.empty() || !open.stream->has_room()) return;
  for (const std::uint64_t sequence : std::exchange(open.held, {}))
    engine_->resume(sequence);
  go_on();
}

caf::result<done> sampler_state::cancel(const cancel_sample_request& request) {
  const error cancelled{errc::cancelled, "the request was cancelled",
                        "its client wanted that, or went away", "send it again if it is needed"};
  for (auto& [adapter, waiters] : loading_) {
    for (open_request& open : waiters)
      if (open.request.ticket == request.ticket) refuse(open, cancelled);
    std::erase_if(waiters,
                  [&](const open_request& open) { return open.request.ticket == request.ticket; });
  }
  const auto known = tickets_.find(request.ticket);
  if (known == tickets_.end()) return done{};
  const std::uint64_t number = known->second;
  give_up(number, cancelled);
  forget(number);
  go_on();
  return done{};
}

}  // namespace troupe::actors
