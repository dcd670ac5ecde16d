#pragma once

// Everything the handlers share, in one place, and the two steps that every request with a future
// goes through: find its repeat, or open a future and acknowledge it.
//
// Threading: the loop's thread.

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>

#include "apps/gateway/base_model.hpp"
#include "apps/gateway/cluster_link.hpp"
#include "apps/gateway/future_table.hpp"
#include "apps/gateway/options.hpp"
#include "apps/gateway/router.hpp"
#include "apps/gateway/sample_pool.hpp"
#include "apps/gateway/session_table.hpp"
#include "apps/gateway/training_model.hpp"

namespace troupe::gateway {

/// What a client samples from.
struct sampling_session {
  const base_model* base = nullptr;
  checkpoint_id weights;   ///< empty: the base's own
  std::string model_path;  ///< empty for the base and for unnamed weights
};

class service {
 public:
  service(boost::asio::io_context& loop, options wanted, base_models models,
          std::shared_ptr<client::connection> link);

  /// The reply to a request that is answered by a future. `key` is what identifies a repeat,
  /// `body` what must be the same in it. A new request gets an id, `extra` beside it, and `start`
  /// is called with the id after the acknowledgement was made.
  [[nodiscard]] reply acknowledge(const std::string& key_id, const std::string& key,
                                  std::string_view body, const boost::json::object& extra,
                                  const std::function<void(const std::string&)>& start);

  /// A model of this process, or one that an earlier gateway made.
  [[nodiscard]] result<std::shared_ptr<training_model>> find_model(const std::string& key_id,
                                                                   const std::string& model_id);
  std::shared_ptr<training_model> add_model(model_record record);
  /// Tells when the nodes of the session's models are idle again.
  void end_session(const std::string& session_id, std::function<void()> then);

  [[nodiscard]] sample_pool& pool_of(const base_model& base);
  [[nodiscard]] std::size_t num_samples() const;

  options wanted;
  base_models bases;
  key_ring keys;
  cluster_link cluster;
  future_table futures;
  session_table sessions;
  metrics watched;
  std::map<std::string, sampling_session> samplers;  ///< by sampling_session_id

 private:
  struct repeat {
    std::string digest;
    std::string ack;
  };

  void watch_sessions();

  std::unordered_map<std::string, repeat> repeats_;
  std::deque<std::string> repeat_order_;
  std::map<std::string, std::shared_ptr<training_model>> models_;
  std::map<std::string, std::shared_ptr<sample_pool>> pools_;  ///< by directory
  boost::asio::steady_timer timer_;
};

}  // namespace troupe::gateway
