#include "messages/shard.hpp"

#include "messages/wire/detail_checkpoint.hpp"
#include "messages/wire/detail_codec.hpp"
#include "messages/wire/detail_shard.hpp"

namespace troupe::wire::detail {

void build(const shard_identity& in, schema::ShardIdentity::Builder out) {
  out.setRun(text(in.run.value));
  out.setIncarnation(in.incarnation);
  out.setRank(in.rank);
  out.setWorldSize(in.world_size);
}

shard_identity read(schema::ShardIdentity::Reader in, checks& check) {
  shard_identity out;
  out.run.value = read_name(in.getRun(), presence::required, "identity.run", check);
  out.incarnation = in.getIncarnation();
  out.rank = in.getRank();
  out.world_size = in.getWorldSize();
  check.require(out.world_size >= 1 && out.world_size <= limits::world_size_max,
                "identity.world_size", "be 1 to " + std::to_string(limits::world_size_max));
  check.require(out.rank < out.world_size, "identity.rank", "be less than world_size");
  return out;
}

static void build(const open_shard_request& in, schema::OpenShardRequest::Builder out, checks&) {
  build(in.identity, out.initIdentity());
  build(in.model, out.initModel());
  out.setSeed(in.seed);
  out.setCommToken(data(in.comm_token));
  if (in.lora) build(*in.lora, out.initLora());
  out.setShardSize(in.shard_size);
}

static open_shard_request read(schema::OpenShardRequest::Reader in, checks& check) {
  open_shard_request out;
  out.identity = read(in.getIdentity(), check);
  out.model = read(in.getModel(), check);
  out.seed = in.getSeed();
  out.comm_token = read_data(in.getCommToken(), limits::comm_token_bytes_max, "comm_token", check);
  if (in.hasLora()) out.lora = read(in.getLora(), check);
  out.shard_size = in.getShardSize();
  require_shard_size(out.shard_size, out.identity.world_size, check);
  return out;
}

static void build(const open_shard_reply& in, schema::OpenShardReply::Builder out, checks&) {
  out.setCommAddress(text(in.comm_address));
}

static open_shard_reply read(schema::OpenShardReply::Reader in, checks& check) {
  return {read_text(in.getCommAddress(), limits::address_bytes_max, "comm_address", check)};
}

static void build(const start_shard_request& in, schema::StartShardRequest::Builder out,
                  checks& check) {
  build(in.identity, out.initIdentity());
  if (!in.comm_addresses.empty() &&
      check.at_most(in.comm_addresses.size(), limits::world_size_max, "comm_addresses")) {
    auto addresses = out.initCommAddresses(static_cast<unsigned>(in.comm_addresses.size()));
    unsigned rank = 0;
    for (const std::string& address : in.comm_addresses)
      addresses.set(rank++, text(address));
  }
  write_list(in.resume, 1, "resume", check, [&](unsigned n) { return out.initResume(n); });
  out.setPublished(text(in.published.value));
  write_list(in.published_chain, limits::checkpoint_chain_max, "published_chain", check,
             [&](unsigned n) { return out.initPublishedChain(n); });
}

static start_shard_request read(schema::StartShardRequest::Reader in, checks& check) {
  start_shard_request out;
  out.identity = read(in.getIdentity(), check);
  const auto addresses = in.getCommAddresses();
  if (check.at_most(addresses.size(), limits::world_size_max, "comm_addresses")) {
    for (const auto address : addresses)
      out.comm_addresses.push_back(
          read_text(address, limits::address_bytes_max, "comm_addresses", check));
  }
  const std::size_t ranks = out.identity.world_size;
  check.require(out.comm_addresses.size() == ranks || (ranks == 1 && out.comm_addresses.empty()),
                "comm_addresses", "hold one address for each rank");
  out.resume = read_list<checkpoint_record>(in.getResume(), 1, "resume", check);
  out.published.value = read_hash(in.getPublished(), presence::optional, "published", check);
  out.published_chain = read_list<checkpoint_record>(
      in.getPublishedChain(), limits::checkpoint_chain_max, "published_chain", check);
  return out;
}

static void build(const start_shard_reply& in, schema::StartShardReply::Builder out, checks&) {
  build(in.model, out.initModel());
  build(in.weights, out.initWeights());
}

static start_shard_reply read(schema::StartShardReply::Reader in, checks& check) {
  return {read(in.getModel(), check), read(in.getWeights())};
}

static void build(const close_shard_request& in, schema::CloseShardRequest::Builder out, checks&) {
  build(in.identity, out.initIdentity());
}

static close_shard_request read(schema::CloseShardRequest::Reader in, checks& check) {
  return {read(in.getIdentity(), check)};
}

static void build(const open_sampler_request& in, schema::OpenSamplerRequest::Builder out,
                  checks&) {
  out.setDeployment(text(in.deployment.value));
  build(in.model, out.initModel());
}

static open_sampler_request read(schema::OpenSamplerRequest::Reader in, checks& check) {
  open_sampler_request out;
  out.deployment.value = read_name(in.getDeployment(), presence::required, "deployment", check);
  out.model = read(in.getModel(), check);
  return out;
}

template <>
struct schema_of<open_shard_request> : is_schema<schema::OpenShardRequest> {};
template <>
struct schema_of<open_shard_reply> : is_schema<schema::OpenShardReply> {};
template <>
struct schema_of<start_shard_request> : is_schema<schema::StartShardRequest> {};
template <>
struct schema_of<start_shard_reply> : is_schema<schema::StartShardReply> {};
template <>
struct schema_of<close_shard_request> : is_schema<schema::CloseShardRequest> {};
template <>
struct schema_of<open_sampler_request> : is_schema<schema::OpenSamplerRequest> {};

}  // namespace troupe::wire::detail

namespace troupe::wire {

template struct codec<open_shard_request>;
template struct codec<open_shard_reply>;
template struct codec<start_shard_request>;
template struct codec<start_shard_reply>;
template struct codec<close_shard_request>;
template struct codec<open_sampler_request>;

}  // namespace troupe::wire
