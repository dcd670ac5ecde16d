#pragma once

// One model being trained, as its loop sees it. Operations keep the order of their calls; each
// returns at once with a future. An operation whose answer was lost is asked again under its own
// number, so it is never applied twice; a recovery of the cluster shows only as a delay.
//
// Threading: calls from one thread at a time; futures from any.
// Errors: in the futures; errc::cancelled for those that outlive all clients of their link. After
// an error later operations go on: check before you step.

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "apps/client/future.hpp"
#include "messages/training.hpp"

namespace troupe::client {

class connection;
class training_session;

/// What a loss of one's own gives back.
struct custom_loss_value {
  double loss = 0;
  std::vector<std::vector<float>> gradients;  ///< d(loss)/d(logprob), as the logprobs
  metric_list metrics;
};

/// Reads the logprob of every target token, by datum and position. Runs on the client's own
/// thread between forward and backward: it must not wait for futures.
using custom_loss =
    std::function<result<custom_loss_value>(const std::vector<std::vector<float>>& logprobs)>;

struct custom_loss_result {
  double loss = 0;
  metric_list metrics;
};

/// A forward whose graph the cluster keeps, for one `backward`.
struct kept_forward {
  std::uint64_t handle = 0;
  forward_result output;
};

class training_client {
 public:
  training_client(std::shared_ptr<connection> link, std::shared_ptr<training_session> session);

  future<forward_result> forward(std::vector<datum> batch);
  /// The same, and what it is asked to tell of each datum.
  future<forward_result> forward(std::vector<datum> batch, const forward_details& details);
  future<forward_result> forward_backward(std::vector<datum> batch, loss_fn loss,
                                          loss_fn_config config);
  /// `cursor` says, here and below, where the loop stands once the operation is done: a loop that
  /// was itself killed goes on from that of the last one (see `settled`).
  future<forward_result> forward_backward(std::vector<datum> batch, loss_fn loss,
                                          loss_fn_config config, std::string cursor);
  /// One forward, the loss of the caller, one backward, which carries the cursor. Of passes called
  /// one after the other, the next one's forward runs while this one's loss is computed.
  future<custom_loss_result> forward_backward_custom(std::vector<datum> batch, custom_loss loss,
                                                     std::string cursor = {});
  /// The two phases on their own, for losses that take other machines or a while. At most 64
  /// handles are open; an `optim_step` or `load_state` ends them all, and so does their backward:
  /// errc::not_found then. Backwards may come in any order.
  future<kept_forward> forward_kept(std::vector<datum> batch);
  /// `gradients` are d(loss)/d(logprob), as the logprobs.
  future<backward_result> backward(std::uint64_t handle, std::vector<std::vector<float>> gradients,
                                   std::string cursor = {});
  future<optim_step_result> optim_step(const adam_params& adam, std::string cursor);
  future<checkpoint_result> save_state(std::string name);
  future<load_state_result> load_state(checkpoint_id checkpoint, optimizer_state optimizer);
  future<checkpoint_result> save_weights_for_sampler(std::string name, publish_kind kind);

  /// As it was when this client took the run.
  [[nodiscard]] const run_info& info() const;
  [[nodiscard]] result<run_info> status();
  /// The run once it has done all that an earlier client asked of it: only then its cursor says
  /// where to go on. errc::timeout after `deadline`.
  [[nodiscard]] result<run_info> settled(std::chrono::milliseconds deadline);
  [[nodiscard]] result<std::vector<run_event>> events(std::uint64_t after_number);

  /// Gives the run's nodes back; its next operation wakes it. Requires: all futures answered.
  result<run_info> park();

 private:
  std::shared_ptr<connection> link_;  ///< open as long as somebody uses it
  std::shared_ptr<training_session> session_;
};

}  // namespace troupe::client
