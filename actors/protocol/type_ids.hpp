#pragma once

// The numbers of all message types. Included by every unit that sends or receives; the order of the
// block is the wire numbering.
//
// Threading: constants.

#include "actors/protocol/handles.hpp"

CAF_BEGIN_TYPE_ID_BLOCK(troupe, first_custom_type_id)
CAF_ADD_TYPE_ID(troupe, (troupe::errc))
#define TROUPE_ADD_WIRE(type) CAF_ADD_TYPE_ID(troupe, (troupe::type))
TROUPE_WIRE_MESSAGES(TROUPE_ADD_WIRE)
#undef TROUPE_ADD_WIRE
CAF_ADD_TYPE_ID(troupe, (troupe::actors::checkpoint_store_actor))
CAF_ADD_TYPE_ID(troupe, (troupe::actors::trainer_shard_actor))
CAF_ADD_TYPE_ID(troupe, (troupe::actors::sampler_actor))
CAF_ADD_TYPE_ID(troupe, (troupe::actors::node_agent_actor))
CAF_ADD_TYPE_ID(troupe, (troupe::actors::training_run_actor))
CAF_ADD_TYPE_ID(troupe, (troupe::actors::deployment_actor))
CAF_ADD_TYPE_ID(troupe, (troupe::actors::job_manager_actor))
CAF_ADD_TYPE_ID(troupe, (troupe::actors::group_lost))
CAF_ADD_TYPE_ID(troupe, (troupe::actors::form_group))
CAF_ADD_TYPE_ID(troupe, (troupe::actors::group_formed))
CAF_ADD_TYPE_ID(troupe, (troupe::actors::group_work))
CAF_ADD_TYPE_ID(troupe, (troupe::actors::group_reply))
CAF_ADD_TYPE_ID(troupe, (troupe::actors::acquire_nodes))
CAF_ADD_TYPE_ID(troupe, (troupe::actors::release_nodes))
CAF_ADD_TYPE_ID(troupe, (troupe::actors::node_grant))
CAF_ADD_TYPE_ID(troupe, (troupe::actors::run_changed))
CAF_ADD_TYPE_ID(troupe, (troupe::actors::deployment_changed))
CAF_ADD_TYPE_ID(troupe, (troupe::actors::tick))
CAF_ADD_TYPE_ID(troupe, (troupe::actors::close_group))
CAF_ADD_TYPE_ID(troupe, (troupe::actors::opened_engine))
CAF_ADD_TYPE_ID(troupe, (troupe::actors::weights_staged))
CAF_ADD_TYPE_ID(troupe, (troupe::actors::weights_live))
CAF_END_TYPE_ID_BLOCK(troupe)

CAF_ERROR_CODE_ENUM(troupe::errc)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::actors::tick)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::actors::close_group)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::actors::opened_engine)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::actors::weights_staged)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::actors::weights_live)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::actors::group_lost)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::actors::form_group)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::actors::group_formed)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::actors::group_work)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::actors::group_reply)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::actors::acquire_nodes)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::actors::release_nodes)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::actors::node_grant)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::actors::run_changed)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::actors::deployment_changed)
