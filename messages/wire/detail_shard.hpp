#pragma once

// The identity that every message to a rank carries.
//
// Threading, Errors: as detail_fields.hpp.

#include "messages/schema/shard.capnp.h"
#include "messages/shard.hpp"
#include "messages/wire/detail_checks.hpp"
#include "messages/wire/detail_training.hpp"

namespace troupe::wire::detail {

void build(const shard_identity& in, schema::ShardIdentity::Builder out);

[[nodiscard]] shard_identity read(schema::ShardIdentity::Reader in, checks& check);

}  // namespace troupe::wire::detail
