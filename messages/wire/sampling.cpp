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
  return out;
}

static void build(const sample_request& in, schema::SampleRequest::Builder out, checks& check) {
  out.setDeployment(text(in.deployment.value));
  write_numbers(in.prompt, limits::datum_tokens_max, "prompt", check,
                [&](unsigned n) { return out.initPrompt(n); });
  build(in.params, out.initParams(), check);
  out.setNumSamples(in.num_samples);
  out.setMinVersion(in.min_version);
}

static sample_request read(schema::SampleRequest::Reader in, checks& check) {
  sample_request out;
  out.deployment.value = read_name(in.getDeployment(), presence::required, "deployment", check);
  out.prompt = read_tokens(in.getPrompt(), limits::datum_tokens_max, "prompt", check);
  check.require(!out.prompt.empty(), "prompt", "hold at least one token");
  out.params = read(in.getParams(), check);
  out.num_samples = in.getNumSamples();
  check.require(out.num_samples >= 1 && out.num_samples <= limits::samples_per_request_max,
                "num_samples", "be 1 to " + std::to_string(limits::samples_per_request_max));
  out.min_version = in.getMinVersion();
  return out;
}

static void build(const sampled_sequence& in, schema::SampledSequence::Builder out, checks& check) {
  write_numbers(in.tokens, limits::sample_tokens_max, "tokens", check,
                [&](unsigned n) { return out.initTokens(n); });
  write_numbers(in.logprobs, limits::sample_tokens_max, "logprobs", check,
                [&](unsigned n) { return out.initLogprobs(n); });
  out.setReason(wire_enum<schema::StopReason>(in.reason));
  out.setFirstVersion(in.first_version);
  out.setLastVersion(in.last_version);
}

static sampled_sequence read(schema::SampledSequence::Reader in, checks& check) {
  sampled_sequence out;
  out.tokens = read_tokens(in.getTokens(), limits::sample_tokens_max, "tokens", check);
  out.logprobs = read_floats(in.getLogprobs(), limits::sample_tokens_max, "logprobs", check);
  check.require(out.logprobs.size() == out.tokens.size(), "logprobs", "be as long as tokens");
  out.reason = read_enum(in.getReason(), stop_reason::length, "reason", check);
  out.first_version = in.getFirstVersion();
  out.last_version = in.getLastVersion();
  return out;
}

static void build(const sample_reply& in, schema::SampleReply::Builder out, checks& check) {
  write_list(in.sequences, limits::samples_per_request_max, "sequences", check,
             [&](unsigned n) { return out.initSequences(n); });
}

static sample_reply read(schema::SampleReply::Reader in, checks& check) {
  return {read_list<sampled_sequence>(in.getSequences(), limits::samples_per_request_max,
                                      "sequences", check)};
}

void build(const create_deployment_request& in, schema::CreateDeploymentRequest::Builder out,
           checks&) {
  out.setName(text(in.name));
  build(in.model, out.initModel());
}

create_deployment_request read(schema::CreateDeploymentRequest::Reader in, checks& check) {
  create_deployment_request out;
  out.name = read_name(in.getName(), presence::optional, "deployment name", check);
  out.model = read(in.getModel(), check);
  return out;
}

void build(const deployment_info& in, schema::DeploymentInfo::Builder out, checks&) {
  out.setDeployment(text(in.deployment.value));
  out.setVersion(in.version);
  out.setCheckpoint(text(in.checkpoint.value));
  out.setReplicas(in.replicas);
  out.setActiveSequences(in.active_sequences);
  build(in.model, out.initModel());
}

deployment_info read(schema::DeploymentInfo::Reader in, checks& check) {
  deployment_info out;
  out.deployment.value = read_name(in.getDeployment(), presence::required, "deployment", check);
  out.version = in.getVersion();
  out.checkpoint.value = read_hash(in.getCheckpoint(), presence::optional, "checkpoint", check);
  out.replicas = in.getReplicas();
  out.active_sequences = in.getActiveSequences();
  out.model = read(in.getModel(), check);
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
struct schema_of<deployment_status_request> : is_schema<schema::DeploymentStatusRequest> {};

}  // namespace troupe::wire::detail

namespace troupe::wire {

template struct codec<sample_request>;
template struct codec<sample_reply>;
template struct codec<create_deployment_request>;
template struct codec<deployment_info>;
template struct codec<deployment_status_request>;
template struct codec<remove_deployment_request>;

}  // namespace troupe::wire
