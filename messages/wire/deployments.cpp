#include "messages/journal.hpp"
#include "messages/schema/journal.capnp.h"
#include "messages/wire/detail_codec.hpp"
#include "messages/wire/detail_fields.hpp"
#include "messages/wire/detail_sampling.hpp"

namespace troupe::wire::detail {

static void build(const deployment_record& in, schema::DeploymentRecord::Builder out,
                  checks& check) {
  build(in.request, out.initRequest(), check);
  out.setVersion(in.version);
  out.setCheckpoint(text(in.checkpoint.value));
}

static deployment_record read(schema::DeploymentRecord::Reader in, checks& check) {
  deployment_record out;
  out.request = read(in.getRequest(), check);
  out.version = in.getVersion();
  out.checkpoint.value = read_hash(in.getCheckpoint(), presence::optional, "checkpoint", check);
  return out;
}

static void build(const put_deployment_request& in, schema::PutDeploymentRequest::Builder out,
                  checks& check) {
  build(in.record, out.initRecord(), check);
}

static put_deployment_request read(schema::PutDeploymentRequest::Reader in, checks& check) {
  return {read(in.getRecord(), check)};
}

static void build(const forget_deployment_request& in, schema::ForgetDeploymentRequest::Builder out,
                  checks&) {
  out.setDeployment(text(in.deployment.value));
}

static forget_deployment_request read(schema::ForgetDeploymentRequest::Reader in, checks& check) {
  return {deployment_id{read_name(in.getDeployment(), presence::required, "deployment", check)}};
}

static void build(const list_deployments_request&, schema::ListDeploymentsRequest::Builder,
                  checks&) {}

static list_deployments_request read(schema::ListDeploymentsRequest::Reader, checks&) {
  return {};
}

static void build(const deployment_list& in, schema::DeploymentList::Builder out, checks& check) {
  write_list(in.deployments, limits::deployments_max, "deployments", check,
             [&](unsigned n) { return out.initDeployments(n); });
}

static deployment_list read(schema::DeploymentList::Reader in, checks& check) {
  return {read_list<deployment_record>(in.getDeployments(), limits::deployments_max, "deployments",
                                       check)};
}

template <>
struct schema_of<deployment_record> : is_schema<schema::DeploymentRecord> {};
template <>
struct schema_of<put_deployment_request> : is_schema<schema::PutDeploymentRequest> {};
template <>
struct schema_of<forget_deployment_request> : is_schema<schema::ForgetDeploymentRequest> {};
template <>
struct schema_of<list_deployments_request> : is_schema<schema::ListDeploymentsRequest> {};
template <>
struct schema_of<deployment_list> : is_schema<schema::DeploymentList> {};

}  // namespace troupe::wire::detail

namespace troupe::wire {

template struct codec<deployment_record>;
template struct codec<put_deployment_request>;
template struct codec<forget_deployment_request>;
template struct codec<list_deployments_request>;
template struct codec<deployment_list>;

}  // namespace troupe::wire
