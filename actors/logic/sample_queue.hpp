#pragma once

// Which sequences a sampler decodes and which wait, and the request that each belongs to. A request
// for n samples is n sequences; it is answered when the last of them ends, or its tokens go to a
// stream as they come.
//
// Threading: a plain value, one owner. Errors: errc::busy when too many sequences wait.
// Invariants: QUEUE-1 sequences start in order of arrival. QUEUE-2 every accepted sequence ends in
//             exactly one finished request or failure.

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "actors/logic/sample_stream.hpp"
#include "messages/error.hpp"
#include "messages/sampling.hpp"

namespace troupe::logic {

struct queued_sequence {
  std::uint64_t sequence = 0;
  std::uint64_t request = 0;
  std::uint32_t sample_index = 0;
};

class sample_queue {
 public:
  /// Takes a request in; its sequences wait. Answers the request's number. With a stream its tokens
  /// go there, and the finished request's reply is empty.
  [[nodiscard]] result<std::uint64_t> add(sample_request request,
                                          std::shared_ptr<sample_stream> stream);

  /// The next sequence to start, or none.
  [[nodiscard]] std::optional<queued_sequence> front() const;
  void pop_front();

  [[nodiscard]] const sample_request& request(std::uint64_t number) const;
  /// Whether any of its sequences has not ended.
  [[nodiscard]] bool has(std::uint64_t number) const { return requests_.contains(number); }
  /// The request of a sequence that has not ended.
  [[nodiscard]] std::optional<std::uint64_t> request_of(std::uint64_t sequence) const;

  /// Appends a token; answers the finished request's reply when it was the last one of it.
  [[nodiscard]] std::optional<std::pair<std::uint64_t, sample_reply>> add_token(
      std::uint64_t sequence, const scored_token& token, std::uint64_t version,
      std::optional<stop_reason> finished);

  /// What was learnt of the prompt; told of every sequence, the first of a request counts.
  void set_prompt(std::uint64_t sequence, std::vector<float> logprobs, likeliest_tokens topk,
                  std::uint32_t cached_tokens, std::vector<float> target_logprobs);

  /// Requests that allow no version as new as this.
  [[nodiscard]] std::vector<std::uint64_t> limited_below(std::uint64_t version) const;

  /// Gives up a request: its waiting sequences are dropped, its active ones are answered.
  [[nodiscard]] std::vector<std::uint64_t> drop(std::uint64_t request);

  [[nodiscard]] std::size_t num_waiting() const { return waiting_.size(); }

 private:
  struct open_request {
    sample_request request;
    std::uint64_t first_sequence = 0;
    sample_reply reply;
    std::size_t num_open = 0;
    std::shared_ptr<sample_stream> stream;
  };

  std::uint64_t next_request_ = 1;
  std::uint64_t next_sequence_ = 1;
  std::map<std::uint64_t, open_request> requests_;
  std::map<std::uint64_t, std::uint64_t> request_of_;
  std::deque<queued_sequence> waiting_;
};

}  // namespace troupe::logic
