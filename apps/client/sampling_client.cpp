#include "apps/client/sampling_client.hpp"

#include "apps/client/sampling_session.hpp"
#include "config/deadlines.hpp"

namespace troupe::client {

open_sample::open_sample(std::shared_ptr<sampling_session> session, std::uint64_t ticket,
                         future<sample_reply> answer)
    : session_(std::move(session)), ticket_(ticket), answer_(std::move(answer)) {}

void open_sample::cancel() const {
  // The answer itself says what became of it.
  (void)session_->ask<done>(deadlines::control,
                            cancel_sample_request{session_->deployment(), ticket_});
}

sample_stream::sample_stream(std::shared_ptr<sampling_session> session, std::uint64_t ticket)
    : session_(std::move(session)), ticket_(ticket) {}

sample_stream::sample_stream(sample_stream&& other) noexcept
    : session_(std::exchange(other.session_, nullptr)),
      ticket_(other.ticket_),
      next_chunk_(other.next_chunk_) {}

sample_stream& sample_stream::operator=(sample_stream&& other) noexcept {
  std::swap(session_, other.session_);
  std::swap(ticket_, other.ticket_);
  std::swap(next_chunk_, other.next_chunk_);
  return *this;
}

sample_stream::~sample_stream() {
  cancel();
}

result<sample_chunk> sample_stream::next() {
  if (!session_) return fail(errc::not_found, "the stream is over");
  using repeating = sampling_session::repeating;
  auto chunk =
      session_
          ->ask<sample_chunk>(deadlines::sample,
                              read_sample_request{session_->deployment(), ticket_, next_chunk_},
                              repeating::never)
          .get(deadlines::sample + std::chrono::seconds(1));
  ++next_chunk_;
  if (!chunk || chunk->is_last) session_ = nullptr;
  return chunk;
}

void sample_stream::cancel() {
  const auto session = std::exchange(session_, nullptr);
  if (!session) return;
  (void)session->ask<done>(deadlines::control,
                           cancel_sample_request{session->deployment(), ticket_});
}

sampling_client::sampling_client(std::shared_ptr<connection> link,
                                 std::shared_ptr<sampling_session> session)
    : link_(std::move(link)), session_(std::move(session)) {}

future<sample_reply> sampling_client::sample(std::vector<token_id> prompt,
                                             const sampling_params& params,
                                             std::uint32_t num_samples) {
  return session_->ask<sample_reply>(
      deadlines::sample,
      sample_request{session_->deployment(), std::move(prompt), params, num_samples, 0});
}

open_sample sampling_client::begin(sample_request request) {
  request.deployment = session_->deployment();
  request.ticket = session_->new_ticket();
  const std::uint64_t ticket = request.ticket;
  return {session_, ticket, session_->ask<sample_reply>(deadlines::sample, std::move(request))};
}

result<sample_stream> sampling_client::stream(sample_request request) {
  request.deployment = session_->deployment();
  request.ticket = session_->new_ticket();
  const std::uint64_t ticket = request.ticket;
  const auto opened =
      session_->ask<done>(deadlines::sample, stream_sample_request{std::move(request)})
          .get(deadlines::sample + std::chrono::seconds(1));
  if (!opened) return fail(opened.error());
  return sample_stream(session_, ticket);
}

future<sync_reply> sampling_client::sync(checkpoint_id checkpoint, in_flight_policy in_flight) {
  return session_->ask<sync_reply>(
      deadlines::sync, sync_request{session_->deployment(), std::move(checkpoint), in_flight});
}

result<deployment_info> sampling_client::status() {
  return session_
      ->ask<deployment_info>(deadlines::control, deployment_status_request{session_->deployment()})
      .get(deadlines::op);
}

}  // namespace troupe::client
