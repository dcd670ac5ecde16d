#pragma once

// The handle of every actor: a typed list of what it answers, one request struct per signature. The
// contract of an actor stands at the top of its own header; this file holds the types and their
// numbers, because handles name each other.
//
// Threading: handles are values; copy and send them freely.

#include <vector>

#include <caf/typed_actor.hpp>

#include "actors/protocol/local_types.hpp"
#include "actors/protocol/wire_types.hpp"

namespace troupe::actors {

/// Sole owner of the durable state; every answer means "durable".
using checkpoint_store_actor = caf::typed_actor<
    caf::result<done>(append_op_request), caf::result<done>(finish_op_request),
    caf::result<read_log_reply>(read_log_request), caf::result<done>(trim_log_request),
    caf::result<done>(put_run_request), caf::result<run_list>(list_runs_request),
    caf::result<checkpoint_record>(commit_checkpoint_request),
    caf::result<checkpoint_record>(get_checkpoint_request),
    caf::result<checkpoint_list>(list_checkpoints_request),
    caf::result<checkpoint_list>(checkpoint_chain_request),
    caf::result<done>(verify_checkpoint_request), caf::result<done>(ledger_entry),
    caf::result<done>(put_deployment_request), caf::result<done>(forget_deployment_request),
    caf::result<deployment_list>(list_deployments_request),
    caf::result<done>(remove_checkpoint_request),
    caf::result<garbage_report>(collect_garbage_request),
    caf::result<done>(lease_checkpoints_request), caf::result<done>(doubt_chain_request),
    caf::result<publish_plan>(plan_publish_request), caf::result<ledger_list>(list_ledger_request),
    caf::result<done>(keep_event_request), caf::result<run_events_reply>(run_events_request)>;

/// Reads blobs back for the store, beside its writes.
using blob_verifier_actor = caf::typed_actor<caf::result<done>(verify_blobs)>;

/// Folds a chain of deltas into one file, beside the store's writes; answers the record to commit.
using chain_folder_actor = caf::typed_actor<caf::result<commit_checkpoint_request>(fold_chain)>;

/// One rank. Refuses messages of another incarnation with errc::fenced.
using trainer_shard_actor = caf::typed_actor<caf::result<start_shard_reply>(start_shard_request),
                                             caf::result<shard_work_reply>(shard_work),
                                             caf::result<done>(close_shard_request)>;

/// One replica of a deployment.
using sampler_actor = caf::typed_actor<
    caf::result<sample_reply>(sample_request), caf::result<done>(stream_sample_request),
    caf::result<sample_chunk>(read_sample_request), caf::result<done>(cancel_sample_request),
    caf::result<stage_weights_reply>(stage_weights_request),
    caf::result<commit_weights_reply>(commit_weights_request),
    caf::result<replica_status>(replica_status_request)>;

/// Hosts shards and samplers on its node.
using node_agent_actor =
    caf::typed_actor<caf::result<open_shard_reply, trainer_shard_actor>(open_shard_request),
                     caf::result<replica_status, sampler_actor>(open_sampler_request),
                     caf::result<done>(shutdown_request)>;

struct node_grant {
  std::vector<node_id> nodes;
  std::vector<node_agent_actor> agents;
  std::string comm_token;  ///< fresh for each grant: lets the ranks recognise each other
};

/// The shards of one base model, as one thing: formed, given work, lost.
using trainer_group_actor =
    caf::typed_actor<caf::result<group_formed>(form_group), caf::result<group_reply>(group_work),
                     caf::result<void>(close_group), caf::result<void>(node_silent)>;

using training_run_actor = caf::typed_actor<
    caf::result<op_reply>(op_request), caf::result<run_info>(attach_run_request),
    caf::result<run_info>(run_status_request), caf::result<run_info>(park_run_request),
    caf::result<run_info>(acknowledge_rollback_request),
    caf::result<run_events_reply>(run_events_request), caf::result<void>(group_lost),
    caf::result<void>(move_away), caf::result<void>(node_silent), caf::result<void>(park_idle)>;

/// Brings a sampler checkpoint to every replica of its deployment.
using weight_syncer_actor = caf::typed_actor<caf::result<sync_reply>(sync_request)>;

using deployment_actor = caf::typed_actor<
    caf::result<sample_reply>(sample_request), caf::result<done>(stream_sample_request),
    caf::result<sample_chunk>(read_sample_request), caf::result<done>(cancel_sample_request),
    caf::result<sync_reply>(sync_request), caf::result<deployment_info>(deployment_status_request),
    caf::result<deployment_info>(scale_deployment_request), caf::result<void>(node_silent)>;

using job_manager_actor = caf::typed_actor<
    caf::result<run_info, training_run_actor>(create_run_request),
    caf::result<run_info, training_run_actor>(attach_run_request),
    caf::result<deployment_info, deployment_actor>(create_deployment_request),
    caf::result<deployment_info, deployment_actor>(deployment_status_request),
    caf::result<run_events_reply>(run_events_request), caf::result<run_info>(park_run_request),
    caf::result<run_info>(acknowledge_rollback_request), caf::result<done>(node_leaving_request),
    caf::result<done>(remove_deployment_request),
    caf::result<deployment_info>(scale_deployment_request),
    caf::result<cluster_status>(cluster_status_request), caf::result<done>(renew_lease_request),
    caf::result<done>(shutdown_request), caf::result<done>(attach_request, node_agent_actor),
    caf::result<node_grant>(acquire_nodes), caf::result<void>(release_nodes),
    caf::result<done>(take_turn), caf::result<void>(end_turn), caf::result<void>(run_changed),
    caf::result<void>(deployment_changed)>;

/// The one published actor of a cluster: checks who comes, then hands out the real handles.
using front_door_actor = caf::typed_actor<
    caf::result<attach_reply, job_manager_actor, checkpoint_store_actor>(attach_request),
    caf::result<attach_reply, job_manager_actor>(attach_request, node_agent_actor)>;

}  // namespace troupe::actors
