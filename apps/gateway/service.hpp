#pragma once

// Everything the handlers share, in one place: the models and sampling sessions of all clients, and
// the parts that requests pass through.
//
// Threading: the loop's thread.

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "apps/gateway/base_model.hpp"
#include "apps/gateway/cluster_link.hpp"
#include "apps/gateway/completion_feed.hpp"
#include "apps/gateway/export_shop.hpp"
#include "apps/gateway/future_table.hpp"
#include "apps/gateway/options.hpp"
#include "apps/gateway/quota_ledger.hpp"
#include "apps/gateway/request_desk.hpp"
#include "apps/gateway/sample_pool.hpp"
#include "apps/gateway/sampler_table.hpp"
#include "apps/gateway/session_table.hpp"
#include "apps/gateway/shared_room.hpp"
#include "apps/gateway/training_model.hpp"
#include "apps/gateway/weights_book.hpp"
#include "config/limits.hpp"

namespace troupe::gateway {

class service {
 public:
  service(boost::asio::io_context& loop, options wanted, base_models models,
          std::shared_ptr<client::connection> link);

  /// A model of this process, or one that an earlier gateway made.
  [[nodiscard]] result<std::shared_ptr<training_model>> find_model(const std::string& key_id,
                                                                   const std::string& model_id);
  /// The model of this record, which is started when it was not.
  std::shared_ptr<training_model> open_model(model_record record);
  /// Tells when the nodes of the session's models are idle again.
  void end_session(const std::string& session_id, boost::json::object ending,
                   std::function<void()> then);

  /// Gives up a sample that is not answered yet, wherever it is. False when there is none.
  bool cancel_sample(const std::string& request_id);

  /// Takes a name from weights, and the weights away with their last name.
  [[nodiscard]] result<void> forget_weights(const tinker::checkpoint_path& path);

  /// Keeps the weights of all sampling sessions from being collected as garbage.
  void hold_weights();

  /// 0: it was not used since the gateway started.
  [[nodiscard]] std::uint64_t last_use_unix_ms(const std::string& model_id) const;

  /// Of the URLs that lead here.
  [[nodiscard]] std::string scheme() const { return wanted.scheme(); }

  [[nodiscard]] sample_pool& pool_of(const base_model& base);
  [[nodiscard]] std::size_t num_samples() const;
  /// Of a key, that were used and not given back.
  [[nodiscard]] std::size_t num_models(const std::string& key_id) const;

  options wanted;
  base_models bases;
  key_ring keys;
  cluster_link cluster;
  future_table futures;
  quota_ledger quotas;
  request_desk desk;
  completion_feed completions;
  shared_room sample_room{limits::gateway_samples_max};
  session_table sessions;
  metrics watched;
  sampler_table samplers;
  model_book records;
  weights_book weights;
  export_shop exports;

 private:
  void watch_sessions();
  void drop_expired();

  std::map<std::string, std::shared_ptr<training_model>> models_;
  std::map<std::string, std::uint64_t> last_use_unix_ms_;
  std::map<std::string, std::shared_ptr<sample_pool>> pools_;  ///< by directory
  std::vector<checkpoint_id> held_;
  std::chrono::steady_clock::time_point held_at_{};
  boost::asio::steady_timer timer_;
};

}  // namespace troupe::gateway
