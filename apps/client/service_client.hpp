#pragma once

// The way into a cluster for a program of one's own: connect once, then make or take over training
// runs and deployments.
//
// Threading: calls from any thread; they block, each with a deadline of config/deadlines.hpp.
// Errors: errc::peer_lost when nothing listens, else what the cluster answers.

#include <memory>
#include <string>
#include <vector>

#include "apps/client/sampling_client.hpp"
#include "apps/client/training_client.hpp"
#include "apps/support/cluster_endpoint.hpp"
#include "messages/checkpoint.hpp"
#include "messages/status.hpp"

namespace troupe::client {

class connection;

class service_client {
 public:
  static result<service_client> connect(const apps::cluster_endpoint& endpoint);

  result<training_client> create_training_run(const create_run_request& request);
  /// Takes over an existing run; the client that had it is refused from then on.
  result<training_client> attach_training_run(const run_id& run);

  result<sampling_client> create_deployment(const create_deployment_request& request);
  result<sampling_client> find_deployment(const deployment_id& deployment);
  result<void> remove_deployment(const deployment_id& deployment);
  result<deployment_info> scale_deployment(const deployment_id& deployment, std::uint32_t replicas);
  /// What its replicas were asked to serve and how it went, oldest first.
  result<ledger_list> deployment_ledger(const deployment_id& deployment);

  result<cluster_status> status();
  /// What happened to a run, without taking it over.
  result<std::vector<run_event>> run_events(const run_id& run);
  /// Lets a run that lost ops for good go on from its snapshot.
  result<run_info> acknowledge_rollback(const run_id& run);
  /// Of one run, or of all for an empty id.
  result<checkpoint_list> checkpoints(const run_id& run);
  /// By full id or a unique prefix of at least 6 digits.
  result<checkpoint_record> checkpoint(const std::string& id_or_prefix);
  /// From the newest base to the asked one.
  result<checkpoint_list> checkpoint_chain(const checkpoint_id& checkpoint);

  result<void> remove_checkpoint(const checkpoint_id& checkpoint);
  result<garbage_report> collect_garbage(const collect_garbage_request& request);

  result<void> shutdown(const std::string& reason);

  /// Absolute folder of the cluster's database and blobs.
  [[nodiscard]] const std::string& storage_root() const;

 private:
  explicit service_client(std::shared_ptr<connection> link);

  std::shared_ptr<connection> link_;
};

}  // namespace troupe::client
