#pragma once

// One served model, as its users see it: sample from it, whole answers or token by token, and bring
// it to a new checkpoint while it goes on serving.
//
// Threading: calls from any thread. Errors: in the futures; busy replicas are asked again.

#include <memory>
#include <vector>

#include "apps/client/future.hpp"
#include "messages/sampling.hpp"
#include "messages/weight_sync.hpp"

namespace troupe::client {

class connection;
class sampling_session;

/// A request under way that may be given up.
class open_sample {
 public:
  open_sample(std::shared_ptr<sampling_session> session, std::uint64_t ticket,
              future<sample_reply> answer);

  [[nodiscard]] const future<sample_reply>& answer() const { return answer_; }
  /// The answer becomes errc::cancelled, unless it is there already.
  void cancel() const;

 private:
  std::shared_ptr<sampling_session> session_;
  std::uint64_t ticket_;
  future<sample_reply> answer_;
};

/// An answer that comes token by token. The cluster decodes only a little ahead of its reader, and
/// ends a stream of which nothing is read for deadlines::stream_silence; one that is destroyed
/// early is cancelled.
class sample_stream {
 public:
  sample_stream(std::shared_ptr<sampling_session> session, std::uint64_t ticket);
  sample_stream(sample_stream&& other) noexcept;
  sample_stream& operator=(sample_stream&& other) noexcept;
  sample_stream(const sample_stream&) = delete;
  sample_stream& operator=(const sample_stream&) = delete;
  ~sample_stream();

  /// Waits for new tokens. After the last chunk, and after an error, there is nothing more.
  [[nodiscard]] result<sample_chunk> next();
  [[nodiscard]] bool is_over() const { return session_ == nullptr; }
  void cancel();

 private:
  std::shared_ptr<sampling_session> session_;  ///< null once it is over
  std::uint64_t ticket_ = 0;
  std::uint64_t next_chunk_ = 0;
};

class sampling_client {
 public:
  sampling_client(std::shared_ptr<connection> link, std::shared_ptr<sampling_session> session);

  future<sample_reply> sample(std::vector<token_id> prompt, const sampling_params& params,
                              std::uint32_t num_samples);
  /// Deployment and ticket are filled in here.
  [[nodiscard]] open_sample begin(sample_request request);
  /// Returns when a replica has taken the request.
  [[nodiscard]] result<sample_stream> stream(sample_request request);
  future<sync_reply> sync(checkpoint_id checkpoint,
                          in_flight_policy in_flight = in_flight_policy::keep_cache);

  [[nodiscard]] result<deployment_info> status();

 private:
  std::shared_ptr<connection> link_;  ///< open as long as somebody uses it
  std::shared_ptr<sampling_session> session_;
};

}  // namespace troupe::client
