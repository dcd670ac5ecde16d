#pragma once

// Values that many topics hold: errors, digests, named numbers, models.
//
// Threading, Errors: as detail_fields.hpp.

#include <string>
#include <utility>
#include <vector>

#include "messages/error.hpp"
#include "messages/model.hpp"
#include "messages/schema/common.capnp.h"
#include "messages/schema/model.capnp.h"
#include "messages/wire/detail_checks.hpp"

namespace troupe::wire::detail {

using named_number = std::pair<std::string, double>;

void build(const error& in, schema::Error::Builder out, checks& check);
void build(const state_digest& in, schema::StateDigest::Builder out);
void build(const named_number& in, schema::NamedNumber::Builder out, checks& check);
void build(const model_config& in, schema::ModelConfig::Builder out);
void build(const model_source& in, schema::ModelSource::Builder out);
void build(const lora_config& in, schema::LoraConfig::Builder out);

[[nodiscard]] error read(schema::Error::Reader in, checks& check);
[[nodiscard]] state_digest read(schema::StateDigest::Reader in);
[[nodiscard]] named_number read(schema::NamedNumber::Reader in, checks& check);
[[nodiscard]] model_config read(schema::ModelConfig::Reader in, checks& check);
[[nodiscard]] model_source read(schema::ModelSource::Reader in, checks& check);
[[nodiscard]] lora_config read(schema::LoraConfig::Reader in, checks& check);

}  // namespace troupe::wire::detail
