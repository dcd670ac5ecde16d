#pragma once

// Checkpoint records, which shards, deployments and the store exchange.
//
// Threading, Errors: as detail_fields.hpp.

#include "messages/checkpoint.hpp"
#include "messages/schema/checkpoint.capnp.h"
#include "messages/wire/detail_checks.hpp"

namespace troupe::wire::detail {

void build(const checkpoint_file& in, schema::CheckpointFile::Builder out, checks& check);
void build(const checkpoint_manifest& in, schema::CheckpointManifest::Builder out, checks& check);
void build(const checkpoint_record& in, schema::CheckpointRecord::Builder out, checks& check);

[[nodiscard]] checkpoint_file read(schema::CheckpointFile::Reader in, checks& check);
[[nodiscard]] checkpoint_manifest read(schema::CheckpointManifest::Reader in, checks& check);
[[nodiscard]] checkpoint_record read(schema::CheckpointRecord::Reader in, checks& check);

}  // namespace troupe::wire::detail
