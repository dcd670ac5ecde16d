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
#include "apps/gateway/future_table.hpp"
#include "apps/gateway/options.hpp"
#include "apps/gateway/request_desk.hpp"
#include "apps/gateway/sample_pool.hpp"
#include "apps/gateway/sampler_table.hpp"
#include "apps/gateway/session_table.hpp"
#include "apps/gateway/training_model.hpp"

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
  void end_session(const std::string& session_id, std::function<void()> then);

  [[nodiscard]] sample_pool& pool_of(const base_model& base);
  [[nodiscard]] std::size_t num_samples() const;

  options wanted;
  base_models bases;
  key_ring keys;
  cluster_link cluster;
  future_table futures;
  request_desk desk;
  session_table sessions;
  metrics watched;
  sampler_table samplers;

 private:
  void watch_sessions();

  std::map<std::string, std::shared_ptr<training_model>> models_;
  std::map<std::string, std::shared_ptr<sample_pool>> pools_;  ///< by directory
  boost::asio::steady_timer timer_;
};

}  // namespace troupe::gateway
