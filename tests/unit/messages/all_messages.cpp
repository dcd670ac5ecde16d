#include <array>

#include "messages/journal.hpp"
#include "messages/shard.hpp"
#include "messages/status.hpp"
#include "messages/weight_sync.hpp"
#include "messages/wire/codec.hpp"
#include "tests/unit/messages/samples.hpp"

namespace troupe::test {

namespace {

template <class T>
constexpr message_case make_case(std::string_view name, std::uint64_t num_variants = 1) {
  return {name, num_variants, [](std::uint64_t seed) { return wire::encode(sample<T>(seed)); },
          [](std::uint64_t seed) {
            const T value = sample<T>(seed);
            const auto frame = wire::encode(value);
            if (!frame) return false;
            const auto decoded = wire::decode<T>(frame->words());
            return decoded && *decoded == value;
          },
          [](std::span<const std::uint64_t> words) -> result<wire::frame> {
            const auto decoded = wire::decode<T>(words);
            if (!decoded) return fail(decoded.error());
            return wire::encode(*decoded);
          }};
}

constexpr std::array cases{
    make_case<error>("error"),
    make_case<op_request>("op_request", 7),
    make_case<op_reply>("op_reply", 5),
    make_case<create_run_request>("create_run_request"),
    make_case<attach_run_request>("attach_run_request"),
    make_case<run_info>("run_info", 2),
    make_case<run_status_request>("run_status_request"),
    make_case<park_run_request>("park_run_request"),
    make_case<acknowledge_rollback_request>("acknowledge_rollback_request"),
    make_case<run_event>("run_event"),
    make_case<run_events_request>("run_events_request"),
    make_case<run_events_reply>("run_events_reply"),
    make_case<keep_event_request>("keep_event_request"),
    make_case<sample_request>("sample_request"),
    make_case<sample_reply>("sample_reply"),
    make_case<stream_sample_request>("stream_sample_request"),
    make_case<read_sample_request>("read_sample_request"),
    make_case<sample_chunk>("sample_chunk"),
    make_case<cancel_sample_request>("cancel_sample_request"),
    make_case<create_deployment_request>("create_deployment_request"),
    make_case<deployment_info>("deployment_info"),
    make_case<deployment_status_request>("deployment_status_request"),
    make_case<remove_deployment_request>("remove_deployment_request"),
    make_case<checkpoint_manifest>("checkpoint_manifest"),
    make_case<checkpoint_record>("checkpoint_record"),
    make_case<commit_checkpoint_request>("commit_checkpoint_request"),
    make_case<get_checkpoint_request>("get_checkpoint_request"),
    make_case<list_checkpoints_request>("list_checkpoints_request"),
    make_case<checkpoint_list>("checkpoint_list"),
    make_case<checkpoint_chain_request>("checkpoint_chain_request"),
    make_case<verify_checkpoint_request>("verify_checkpoint_request"),
    make_case<lease_checkpoints_request>("lease_checkpoints_request"),
    make_case<doubt_chain_request>("doubt_chain_request"),
    make_case<plan_publish_request>("plan_publish_request"),
    make_case<publish_plan>("publish_plan"),
    make_case<sync_request>("sync_request"),
    make_case<sync_reply>("sync_reply"),
    make_case<stage_weights_request>("stage_weights_request"),
    make_case<stage_weights_reply>("stage_weights_reply"),
    make_case<commit_weights_request>("commit_weights_request"),
    make_case<commit_weights_reply>("commit_weights_reply"),
    make_case<replica_status>("replica_status"),
    make_case<replica_status_request>("replica_status_request"),
    make_case<ledger_entry>("ledger_entry"),
    make_case<list_ledger_request>("list_ledger_request"),
    make_case<ledger_list>("ledger_list"),
    make_case<scale_deployment_request>("scale_deployment_request"),
    make_case<remove_checkpoint_request>("remove_checkpoint_request"),
    make_case<collect_garbage_request>("collect_garbage_request"),
    make_case<garbage_report>("garbage_report"),
    make_case<attach_request>("attach_request"),
    make_case<attach_reply>("attach_reply"),
    make_case<renew_lease_request>("renew_lease_request"),
    make_case<node_leaving_request>("node_leaving_request"),
    make_case<node_status>("node_status"),
    make_case<cluster_status_request>("cluster_status_request"),
    make_case<cluster_status>("cluster_status"),
    make_case<shutdown_request>("shutdown_request"),
    make_case<done>("done"),
    make_case<open_shard_request>("open_shard_request"),
    make_case<open_shard_reply>("open_shard_reply"),
    make_case<start_shard_request>("start_shard_request"),
    make_case<start_shard_reply>("start_shard_reply"),
    make_case<shard_work>("shard_work", 10),
    make_case<shard_work_reply>("shard_work_reply"),
    make_case<close_shard_request>("close_shard_request"),
    make_case<open_sampler_request>("open_sampler_request"),
    make_case<append_op_request>("append_op_request", 7),
    make_case<finish_op_request>("finish_op_request", 2),
    make_case<logged_op>("logged_op", 2),
    make_case<read_log_request>("read_log_request"),
    make_case<read_log_reply>("read_log_reply"),
    make_case<trim_log_request>("trim_log_request"),
    make_case<run_record>("run_record"),
    make_case<put_run_request>("put_run_request"),
    make_case<list_runs_request>("list_runs_request"),
    make_case<run_list>("run_list"),
    make_case<deployment_record>("deployment_record"),
    make_case<put_deployment_request>("put_deployment_request"),
    make_case<forget_deployment_request>("forget_deployment_request"),
    make_case<list_deployments_request>("list_deployments_request"),
    make_case<deployment_list>("deployment_list"),
};

}  // namespace

std::span<const message_case> all_messages() {
  return cases;
}

}  // namespace troupe::test
