#pragma once

// Requests and answers that other messages hold, and what the cluster's status and its stored
// records hold of deployments.
//
// Threading, Errors: as detail_fields.hpp.

#include "messages/sampling.hpp"
#include "messages/schema/sampling.capnp.h"
#include "messages/wire/detail_checks.hpp"

namespace troupe::wire::detail {

void build(const sample_request& in, schema::SampleRequest::Builder out, checks& check);
void build(const sample_reply& in, schema::SampleReply::Builder out, checks& check);
void build(const create_deployment_request& in, schema::CreateDeploymentRequest::Builder out,
           checks& check);
void build(const deployment_info& in, schema::DeploymentInfo::Builder out, checks& check);

void build(const likeliest_tokens& in, schema::LikeliestTokens::Builder out, checks& check);

[[nodiscard]] std::uint32_t read_topk(std::uint32_t in, std::string_view field, checks& check);
[[nodiscard]] likeliest_tokens read(schema::LikeliestTokens::Reader in, std::string_view field,
                                    checks& check);
[[nodiscard]] sample_request read(schema::SampleRequest::Reader in, checks& check);
[[nodiscard]] sample_reply read(schema::SampleReply::Reader in, checks& check);
[[nodiscard]] create_deployment_request read(schema::CreateDeploymentRequest::Reader in,
                                             checks& check);
[[nodiscard]] deployment_info read(schema::DeploymentInfo::Reader in, checks& check);

}  // namespace troupe::wire::detail
