#include "actors/logic/sample_queue.hpp"

#include <algorithm>
#include <utility>

#include "actors/logic/sequence_parts.hpp"
#include "config/limits.hpp"

namespace troupe::logic {
result<std::uint64_t> sample_queue::add(sample_request request,
                                        std::shared_ptr<sample_stream> stream) {
  if (waiting_.size() + request.num_samples > limits::sampler_waiting_max) {
    return fail(errc::busy, std::to_string(waiting_.size()) + " sequences wait already",
                "the deployment gets more requests than it decodes",
                "send the request again in a moment, or add a sampler");
  }
  const std::uint64_t number = next_request_++;
  open_request open;
  open.first_sequence = next_sequence_;
  open.stream = std::move(stream);
  if (!open.stream) open.reply.sequences.resize(request.num_samples);
  open.num_open = request.num_samples;
  for (std::uint32_t index = 0; index < request.num_samples; ++index) {
    request_of_[next_sequence_] = number;
    waiting_.push_back({next_sequence_++, number, index});
  }
  open.request = std::move(request);
  requests_.emplace(number, std::move(open));
  return number;
}

std::optional<queued_sequence> sample_queue::front() const {
  if (waiting_.empty()) return std::nullopt;
  return waiting_.front();
}

void sample_queue::pop_front() {
  waiting_.pop_front();
}

const sample_request& sample_queue::request(std::uint64_t number) const {
  return requests_.at(number).request;
}

std::optional<std::uint64_t> sample_queue::request_of(std::uint64_t sequence) const {
  const auto owner = request_of_.find(sequence);
  if (owner == request_of_.end()) return std::nullopt;
  return owner->second;
}

std::optional<std::pair<std::uint64_t, sample_reply>> sample_queue::add_token(
    std::uint64_t sequence, const scored_token& token, std::uint64_t version,
    std::optional<stop_reason> finished) {
  const auto owner = request_of_.find(sequence);
  if (owner == request_of_.end()) return std::nullopt;
  const std::uint64_t number = owner->second;
  open_request& open = requests_.at(number);
  const auto sample = static_cast<std::uint32_t>(sequence - open.first_sequence);
  if (open.stream) {
    open.stream->add_token(sample, token, version, open.request.params, finished);
  } else {
    append_token(open.reply.sequences[sample], token, version, open.request.params);
    if (finished) open.reply.sequences[sample].reason = *finished;
  }
  if (!finished) return std::nullopt;
  request_of_.erase(owner);
  if (--open.num_open > 0) return std::nullopt;
  sample_reply reply = std::move(open.reply);
  requests_.erase(number);
  return std::pair{number, std::move(reply)};
}

void sample_queue::set_prompt(std::uint64_t sequence, std::vector<float> logprobs,
                              likeliest_tokens topk, std::uint32_t cached_tokens,
                              std::vector<float> target_logprobs) {
  const auto owner = request_of_.find(sequence);
  if (owner == request_of_.end()) return;
  open_request& open = requests_.at(owner->second);
  if (sequence != open.first_sequence) return;
  if (open.stream)
    return open.stream->set_prompt(std::move(logprobs), std::move(topk), cached_tokens,
                                   std::move(target_logprobs));
  open.reply.prompt_logprobs = std::move(logprobs);
  open.reply.prompt_topk = std::move(topk);
  open.reply.cached_prompt_tokens = cached_tokens;
  open.reply.prompt_target_logprobs = std::move(target_logprobs);
}

std::vector<std::uint64_t> sample_queue::limited_below(std::uint64_t version) const {
  std::vector<std::uint64_t> out;
  for (const auto& [number, open] : requests_) {
    if (open.request.max_version < version) out.push_back(number);
  }
  return out;
}

std::vector<std::uint64_t> sample_queue::drop(std::uint64_t request) {
  std::vector<std::uint64_t> active;
  for (auto it = request_of_.begin(); it != request_of_.end();) {
    if (it->second == request) {
      active.push_back(it->first);
      it = request_of_.erase(it);
    } else {
      ++it;
    }
  }
  std::erase_if(waiting_, [request](const auto& s) { return s.request == request; });
  requests_.erase(request);
  return active;
}

}  // namespace troupe::logic
