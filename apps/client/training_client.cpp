#include "apps/client/training_client.hpp"

#include <exception>

#include "apps/client/training_session.hpp"
#include "config/deadlines.hpp"

namespace troupe::client {
namespace {

template <class T>
result<T> output_of(const result<op_reply>& reply) {
  if (!reply) return fail(reply.error());
  if (const T* output = std::get_if<T>(&reply->output)) return *output;
  return fail(errc::protocol, "the answer is of another kind than the operation",
              "client and cluster are of different versions", "use the same build for both");
}

template <class T>
future<T> submit_for(training_session& session, op_body body, std::string cursor) {
  const promise<T> answer;
  session.submit(
      {std::move(body), std::move(cursor), [answer](std::uint64_t, const result<op_reply>& reply) {
         answer.deliver(output_of<T>(reply));
         return std::optional<submission>();
       }});
  return answer.get_future();
}

/// The caller's code may throw; nothing may escape into the hub.
result<custom_loss_value> evaluate(const custom_loss& loss, const forward_result& output) {
  try {
    auto value = loss(output.logprobs);
    if (!value) return value;
    bool fits = value->gradients.size() == output.logprobs.size();
    for (std::size_t i = 0; fits && i < output.logprobs.size(); ++i)
      fits = value->gradients[i].size() == output.logprobs[i].size();
    if (!fits) {
      return fail(errc::invalid_argument, "the custom loss gave gradients of another shape",
                  "its gradients must match the logprobs, datum by datum", "correct the loss");
    }
    return value;
  } catch (const std::exception& e) {
    return fail(errc::invalid_argument, "the custom loss threw an exception", e.what(),
                "correct the loss");
  }
}

std::optional<submission> backward_of(const promise<custom_loss_result>& answer,
                                      const custom_loss& loss, const std::string& cursor,
                                      std::uint64_t seq_id, const result<op_reply>& reply) {
  const auto output = output_of<forward_result>(reply);
  if (!output) {
    answer.deliver(fail(output.error()));
    return std::nullopt;
  }
  auto value = evaluate(loss, *output);
  if (!value) {
    answer.deliver(fail(value.error()));
    return std::nullopt;
  }
  const custom_loss_result outcome{value->loss, std::move(value->metrics)};
  submission second{backward_op{seq_id, std::move(value->gradients)}, cursor,
                    [answer, outcome](std::uint64_t, const result<op_reply>& done) {
                      const auto output_back = output_of<backward_result>(done);
                      if (output_back) {
                        answer.deliver(outcome);
                      } else {
                        answer.deliver(fail(output_back.error()));
                      }
                      return std::optional<submission>();
                    }};
  second.phase = pass_phase::second;
  return second;
}

}  // namespace

training_client::training_client(std::shared_ptr<connection> link,
                                 std::shared_ptr<training_session> session)
    : link_(std::move(link)), session_(std::move(session)) {}

future<forward_result> training_client::forward(std::vector<datum> batch) {
  return submit_for<forward_result>(*session_, forward_op{std::move(batch), retention::discard},
                                    "");
}

future<forward_result> training_client::forward(std::vector<datum> batch,
                                                const forward_details& details) {
  return submit_for<forward_result>(*session_,
                                    forward_op{std::move(batch), retention::discard, details}, "");
}

future<forward_result> training_client::forward_backward(std::vector<datum> batch, loss_fn loss,
                                                         loss_fn_config config) {
  return submit_for<forward_result>(
      *session_, forward_backward_op{std::move(batch), loss, std::move(config)}, "");
}

future<forward_result> training_client::forward_backward(std::vector<datum> batch, loss_fn loss,
                                                         loss_fn_config config,
                                                         std::string cursor) {
  return submit_for<forward_result>(
      *session_, forward_backward_op{std::move(batch), loss, std::move(config)}, std::move(cursor));
}

future<custom_loss_result> training_client::forward_backward_custom(std::vector<datum> batch,
                                                                    custom_loss loss,
                                                                    std::string cursor) {
  const promise<custom_loss_result> answer;
  submission first{forward_op{std::move(batch), retention::keep_for_backward}, "",
                   [answer, loss = std::move(loss), cursor = std::move(cursor)](
                       std::uint64_t seq_id, const result<op_reply>& reply) {
                     return backward_of(answer, loss, cursor, seq_id, reply);
                   }};
  first.phase = pass_phase::first;
  session_->submit(std::move(first));
  return answer.get_future();
}

future<kept_forward> training_client::forward_kept(std::vector<datum> batch) {
  const promise<kept_forward> answer;
  session_->submit({forward_op{std::move(batch), retention::keep_for_backward}, "",
                    [answer](std::uint64_t seq_id, const result<op_reply>& reply) {
                      auto output = output_of<forward_result>(reply);
                      if (output) {
                        answer.deliver(kept_forward{seq_id, std::move(*output)});
                      } else {
                        answer.deliver(fail(output.error()));
                      }
                      return std::optional<submission>();
                    }});
  return answer.get_future();
}

future<backward_result> training_client::backward(std::uint64_t handle,
                                                  std::vector<std::vector<float>> gradients,
                                                  std::string cursor) {
  return submit_for<backward_result>(*session_, backward_op{handle, std::move(gradients)},
                                     std::move(cursor));
}

future<optim_step_result> training_client::optim_step(const adam_params& adam, std::string cursor) {
  return submit_for<optim_step_result>(*session_, optim_step_op{adam}, std::move(cursor));
}

future<checkpoint_result> training_client::save_state(std::string name) {
  return submit_for<checkpoint_result>(*session_, save_state_op{std::move(name)}, "");
}

future<load_state_result> training_client::load_state(checkpoint_id checkpoint,
                                                      optimizer_state optimizer) {
  return submit_for<load_state_result>(*session_, load_state_op{std::move(checkpoint), optimizer},
                                       "");
}

future<checkpoint_result> training_client::save_weights_for_sampler(std::string name,
                                                                    publish_kind kind) {
  return submit_for<checkpoint_result>(*session_, save_weights_op{std::move(name), kind}, "");
}

const run_info& training_client::info() const {
  return session_->info();
}

result<run_info> training_client::status() {
  return session_->link().call<run_info>(session_->run(), deadlines::control,
                                         run_status_request{session_->info().run});
}

result<run_info> training_client::settled(std::chrono::milliseconds deadline) {
  return session_->settled().get(deadline);
}

result<run_info> training_client::park() {
  return session_->link().call<run_info>(session_->run(), deadlines::shard_work,
                                         park_run_request{session_->info().run});
}

result<std::vector<run_event>> training_client::events(std::uint64_t after_number) {
  auto reply = session_->link().call<run_events_reply>(
      session_->run(), deadlines::control, run_events_request{session_->info().run, after_number});
  if (!reply) return fail(reply.error());
  return std::move(reply->events);
}

}  // namespace troupe::client
