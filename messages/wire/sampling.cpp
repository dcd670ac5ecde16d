#include <algorithm>

#include "messages/wire/detail_checkpoint.hpp"
#include "messages/wire/detail_codec.hpp"
#include "messages/wire/detail_common.hpp"
#include "messages/wire/detail_fields.hpp"
#include "messages/wire/detail_sampling.hpp"

namespace troupe::wire::detail {

static void build(const sampling_params& in, schema::SamplingParams::Builder out, checks& check) {
  out.setMaxTokens(in.max_tokens);
  out.setTemperature(in.temperature);
  out.setTopK(in.top_k);
  out.setTopP(in.top_p);
  out.setSeed(in.seed);
  write_numbers(in.stop_tokens, limits::stop_tokens_max, "stop_tokens", check,
                [&](unsigned n) { return out.initStopTokens(n); });
  out.setMinP(in.min_p);
  out.setTopkLogprobs(in.topk_logprobs);
  out.setWithOtherLogprobs(in.with_other_logprobs);
}

std::uint32_t read_topk(std::uint32_t in, std::string_view field, checks& check) {
  check.require(in <= limits::topk_logprobs_max, field,
                "be at most " + std::to_string(limits::topk_logprobs_max));
  return in;
}

static sampling_params read(schema::SamplingParams::Reader in, checks& check) {
  sampling_params out;
  out.max_tokens = in.getMaxTokens();
  check.require(out.max_tokens >= 1 && out.max_tokens <= limits::sample_tokens_max, "max_tokens",
                "be 1 to " + std::to_string(limits::sample_tokens_max));
  out.temperature = read_not_negative(in.getTemperature(), "temperature", check);
  out.top_k = in.getTopK();
  check.require(out.top_k == -1 || out.top_k >= 1, "top_k", "be at least 1, or -1 for no limit");
  out.top_p = in.getTopP();
  check.require(out.top_p > 0.0 && out.top_p <= 1.0, "top_p", "be more than 0 and at most 1");
  out.seed = in.getSeed();
  out.stop_tokens = read_tokens(in.getStopTokens(), limits::stop_tokens_max, "stop_tokens", check);
  out.min_p = in.getMinP();
  check.require(out.min_p >= 0.0 && out.min_p <= 1.0, "min_p", "be in [0, 1]");
  out.topk_logprobs = read_topk(in.getTopkLogprobs(), "topk_logprobs", check);
  out.with_other_logprobs = in.getWithOtherLogprobs();
  return out;
}

void build(const sample_request& in, schema::SampleRequest::Builder out, checks& check) {
  out.setDeployment(text(in.deployment.value));
  write_numbers(in.prompt, limits::datum_tokens_max, "prompt", check,
                [&](unsigned n) { return out.initPrompt(n); });
  build(in.params, out.initParams(), check);
  out.setNumSamples(in.num_samples);
  out.setMinVersion(in.min_version);
  out.setPromptLogprobs(in.prompt_logprobs);
  out.setTopkPromptLogprobs(in.topk_prompt_logprobs);
  out.setMaxVersion(in.max_version);
  out.setTicket(in.ticket);
  if (!in.adapter.value.empty()) out.setAdapter(text(in.adapter.value));
  if (in.adapter_record) build(*in.adapter_record, out.initAdapterRecord(), check);
  write_numbers(in.prompt_targets, limits::topk_cells_max, "prompt_targets", check,
                [&](unsigned n) { return out.initPromptTargets(n); });
}

/// Tokens whose logprobs an answer may name, prompt and samples together.
static std::uint64_t num_topk_cells(const sample_request& in) {
  return in.prompt_targets.size() + in.prompt.size() * std::uint64_t{in.topk_prompt_logprobs} +
         std::uint64_t{in.num_samples} * in.params.max_tokens * in.params.topk_logprobs;
}

sample_request read(schema::SampleRequest::Reader in, checks& check) {
  sample_request out;
  out.deployment.value = read_name(in.getDeployment(), presence::required, "deployment", check);
  out.prompt = read_tokens(in.getPrompt(), limits::datum_tokens_max, "prompt", check);
  check.require(!out.prompt.empty(), "prompt", "hold at least one token");
  out.params = read(in.getParams(), check);
  out.num_samples = in.getNumSamples();
  check.require(out.num_samples >= 1 && out.num_samples <= limits::samples_per_request_max,
                "num_samples", "be 1 to " + std::to_string(limits::samples_per_request_max));
  out.min_version = in.getMinVersion();
  out.prompt_logprobs = in.getPromptLogprobs();
  out.topk_prompt_logprobs = read_topk(in.getTopkPromptLogprobs(), "topk_prompt_logprobs", check);
  out.max_version = in.getMaxVersion();
  check.require(out.max_version >= out.min_version, "max_version", "be at least min_version");
  out.ticket = in.getTicket();
  out.adapter.value = read_hash(in.getAdapter(), presence::optional, "adapter", check);
  if (in.hasAdapterRecord()) {
    out.adapter_record = read(in.getAdapterRecord(), check);
    check.require(out.adapter_record->id == out.adapter, "adapter_record", "be the adapter's");
  }
  out.prompt_targets =
      read_tokens(in.getPromptTargets(), limits::topk_cells_max, "prompt_targets", check);
  check.require(
      out.prompt_targets.empty() ||
          (out.prompt.size() > 1 && out.prompt_targets.size() % (out.prompt.size() - 1) == 0),
      "prompt_targets", "be equally many for each token of the prompt but the first");
  check.require(!check.ok() || num_topk_cells(out) <= limits::topk_cells_max, "topk_logprobs",
                "name at most " + std::to_string(limits::topk_cells_max) +
                    " tokens over all positions of the answer");
  return out;
}

void build(const likeliest_tokens& in, schema::LikeliestTokens::Builder out, checks& check) {
  out.setPerPosition(in.per_position);
  write_numbers(in.tokens, limits::topk_cells_max, "tokens", check,
                [&](unsigned n) { return out.initTokens(n); });
  write_numbers(in.logprobs, limits::topk_cells_max, "logprobs", check,
                [&](unsigned n) { return out.initLogprobs(n); });
}

likeliest_tokens read(schema::LikeliestTokens::Reader in, std::string_view field, checks& check) {
  likeliest_tokens out;
  out.per_position = read_topk(in.getPerPosition(), field, check);
  out.tokens = read_tokens(in.getTokens(), limits::topk_cells_max, field, check);
  out.logprobs = read_floats(in.getLogprobs(), limits::topk_cells_max, field, check);
  const std::size_t step = std::max<std::size_t>(1, out.per_position);
  check.require(out.logprobs.size() == out.tokens.size() && out.tokens.size() % step == 0 &&
                    (out.per_position > 0 || out.tokens.empty()),
                field, "hold as many tokens and logprobs at each position");
  return out;
}

static void build(const version_span& in, schema::VersionSpan::Builder out, checks&) {
  out.setFirstToken(in.first_token);
  out.setVersion(in.version);
}

static version_span read(schema::VersionSpan::Reader in, checks&) {
  return {in.getFirstToken(), in.getVersion()};
}

static void build(const sampled_sequence& in, schema::SampledSequence::Builder out, checks& check) {
  write_numbers(in.tokens, limits::sample_tokens_max, "tokens", check,
                [&](unsigned n) { return out.initTokens(n); });
  write_numbers(in.logprobs, limits::sample_tokens_max, "logprobs", check,
                [&](unsigned n) { return out.initLogprobs(n); });
  out.setReason(wire_enum<schema::StopReason>(in.reason));
  out.setFirstVersion(in.first_version);
  out.setLastVersion(in.last_version);
  write_list(in.versions, limits::version_spans_max, "versions", check,
             [&](unsigned n) { return out.initVersions(n); });
  if (in.topk.per_position > 0) build(in.topk, out.initTopk(), check);
  write_numbers(in.raw_logprobs, limits::sample_tokens_max, "raw_logprobs", check,
                [&](unsigned n) { return out.initRawLogprobs(n); });
  write_numbers(in.sampling_logprobs, limits::sample_tokens_max, "sampling_logprobs", check,
                [&](unsigned n) { return out.initSamplingLogprobs(n); });
}

/// Logprobs of another kind than the usual ones, for all of `tokens` or none.
static std::vector<float> read_others(capnp::List<float>::Reader in, std::size_t tokens,
                                      std::string_view field, checks& check) {
  auto out = read_floats(in, limits::sample_tokens_max, field, check);
  check.require(out.empty() || out.size() == tokens, field, "be as long as tokens, or empty");
  return out;
}

static sampled_sequence read(schema::SampledSequence::Reader in, checks& check) {
  sampled_sequence out;
  out.tokens = read_tokens(in.getTokens(), limits::sample_tokens_max, "tokens", check);
  out.logprobs = read_floats(in.getLogprobs(), limits::sample_tokens_max, "logprobs", check);
  check.require(out.logprobs.size() == out.tokens.size(), "logprobs", "be as long as tokens");
  out.reason = read_enum(in.getReason(), stop_reason::length, "reason", check);
  out.first_version = in.getFirstVersion();
  out.last_version = in.getLastVersion();
  out.versions =
      read_list<version_span>(in.getVersions(), limits::version_spans_max, "versions", check);
  out.topk = read(in.getTopk(), "topk", check);
  const std::size_t length = out.tokens.size();
  out.raw_logprobs = read_others(in.getRawLogprobs(), length, "raw_logprobs", check);
  out.sampling_logprobs = read_others(in.getSamplingLogprobs(), length, "sampling_logprobs", check);
  return out;
}

void build(const sample_reply& in, schema::SampleReply::Builder out, checks& check) {
  write_list(in.sequences, limits::samples_per_request_max, "sequences", check,
             [&](unsigned n) { return out.initSequences(n); });
  write_numbers(in.prompt_logprobs, limits::datum_tokens_max, "prompt_logprobs", check,
                [&](unsigned n) { return out.initPromptLogprobs(n); });
  if (in.prompt_topk.per_position > 0) build(in.prompt_topk, out.initPromptTopk(), check);
  out.setCachedPromptTokens(in.cached_prompt_tokens);
  write_numbers(in.prompt_target_logprobs, limits::topk_cells_max, "prompt_target_logprobs", check,
                [&](unsigned n) { return out.initPromptTargetLogprobs(n); });
}

sample_reply read(schema::SampleReply::Reader in, checks& check) {
  sample_reply out;
  out.sequences = read_list<sampled_sequence>(in.getSequences(), limits::samples_per_request_max,
                                              "sequences", check);
  out.prompt_logprobs =
      read_floats(in.getPromptLogprobs(), limits::datum_tokens_max, "prompt_logprobs", check);
  out.prompt_topk = read(in.getPromptTopk(), "prompt_topk", check);
  out.cached_prompt_tokens = in.getCachedPromptTokens();
  out.prompt_target_logprobs = read_floats(in.getPromptTargetLogprobs(), limits::topk_cells_max,
                                           "prompt_target_logprobs", check);
  return out;
}

void build(const create_deployment_request& in, schema::CreateDeploymentRequest::Builder out,
           checks&) {
  out.setName(text(in.name));
  build(in.model, out.initModel());
  out.setReplicas(in.replicas);
}

static std::uint32_t read_replicas(std::uint32_t in, checks& check) {
  check.require(in >= 1 && in <= limits::replicas_max, "replicas",
                "be 1 to " + std::to_string(limits::replicas_max));
  return in;
}

create_deployment_request read(schema::CreateDeploymentRequest::Reader in, checks& check) {
  create_deployment_request out;
  out.name = read_name(in.getName(), presence::optional, "deployment name", check);
  out.model = read(in.getModel(), check);
  out.replicas = read_replicas(in.getReplicas(), check);
  return out;
}

static void build(const scale_deployment_request& in, schema::ScaleDeploymentRequest::Builder out,
                  checks&) {
  out.setDeployment(text(in.deployment.value));
  out.setReplicas(in.replicas);
}

static scale_deployment_request read(schema::ScaleDeploymentRequest::Reader in, checks& check) {
  return {deployment_id{read_name(in.getDeployment(), presence::required, "deployment", check)},
          read_replicas(in.getReplicas(), check)};
}

static void build(const replica_info& in, schema::ReplicaInfo::Builder out, checks&) {
  out.setReplica(in.replica);
  out.setNode(text(in.node.value));
  out.setPhase(wire_enum<schema::ReplicaPhase>(in.phase));
  out.setVersion(in.version);
  out.setActiveRequests(in.active_requests);
  out.setAnsweredRequests(in.answered_requests);
  out.setRestarts(in.restarts);
}

static replica_info read(schema::ReplicaInfo::Reader in, checks& check) {
  replica_info out;
  out.replica = in.getReplica();
  out.node.value = read_name(in.getNode(), presence::optional, "node", check);
  out.phase = read_enum(in.getPhase(), replica_phase::draining, "phase", check);
  out.version = in.getVersion();
  out.active_requests = in.getActiveRequests();
  out.answered_requests = in.getAnsweredRequests();
  out.restarts = in.getRestarts();
  return out;
}

void build(const deployment_info& in, schema::DeploymentInfo::Builder out, checks& check) {
  out.setDeployment(text(in.deployment.value));
  out.setVersion(in.version);
  out.setCheckpoint(text(in.checkpoint.value));
  out.setReplicas(in.replicas);
  out.setActiveSequences(in.active_sequences);
  build(in.model, out.initModel());
  out.setWantedReplicas(in.wanted_replicas);
  write_list(in.places, 2 * limits::replicas_max, "places", check,
             [&](unsigned n) { return out.initPlaces(n); });
  out.setWaitingRequests(in.waiting_requests);
  out.setLogprobGapMean(in.logprob_gap_mean);
  out.setLogprobGapMax(in.logprob_gap_max);
}

deployment_info read(schema::DeploymentInfo::Reader in, checks& check) {
  deployment_info out;
  out.deployment.value = read_name(in.getDeployment(), presence::required, "deployment", check);
  out.version = in.getVersion();
  out.checkpoint.value = read_hash(in.getCheckpoint(), presence::optional, "checkpoint", check);
  out.replicas = in.getReplicas();
  out.active_sequences = in.getActiveSequences();
  out.model = read(in.getModel(), check);
  out.wanted_replicas = in.getWantedReplicas();
  out.places = read_list<replica_info>(in.getPlaces(), 2 * limits::replicas_max, "places", check);
  out.waiting_requests = in.getWaitingRequests();
  out.logprob_gap_mean = read_not_negative(in.getLogprobGapMean(), "logprob_gap_mean", check);
  out.logprob_gap_max = read_not_negative(in.getLogprobGapMax(), "logprob_gap_max", check);
  return out;
}

static void build(const deployment_status_request& in, schema::DeploymentStatusRequest::Builder out,
                  checks&) {
  out.setDeployment(text(in.deployment.value));
}

static deployment_status_request read(schema::DeploymentStatusRequest::Reader in, checks& check) {
  return {deployment_id{read_name(in.getDeployment(), presence::required, "deployment", check)}};
}

static void build(const remove_deployment_request& in, schema::RemoveDeploymentRequest::Builder out,
                  checks&) {
  out.setDeployment(text(in.deployment.value));
}

static remove_deployment_request read(schema::RemoveDeploymentRequest::Reader in, checks& check) {
  return {deployment_id{read_name(in.getDeployment(), presence::required, "deployment", check)}};
}

template <>
struct schema_of<sample_request> : is_schema<schema::SampleRequest> {};
template <>
struct schema_of<sample_reply> : is_schema<schema::SampleReply> {};
template <>
struct schema_of<create_deployment_request> : is_schema<schema::CreateDeploymentRequest> {};
template <>
struct schema_of<deployment_info> : is_schema<schema::DeploymentInfo> {};
template <>
struct schema_of<remove_deployment_request> : is_schema<schema::RemoveDeploymentRequest> {};
template <>
struct schema_of<scale_deployment_request> : is_schema<schema::ScaleDeploymentRequest> {};
template <>
struct schema_of<deployment_status_request> : is_schema<schema::DeploymentStatusRequest> {};

}  // namespace troupe::wire::detail

namespace troupe::wire {

template struct codec<sample_request>;
template struct codec<sample_reply>;
template struct codec<create_deployment_request>;
template struct codec<deployment_info>;
template struct codec<scale_deployment_request>;
template struct codec<deployment_status_request>;
template struct codec<remove_deployment_request>;

}  // namespace troupe::wire
