#pragma once

// The Tinker endpoints, by topic. Each function adds its routes; together they are the gateway.
//
// Threading: the loop's thread.

#include "apps/gateway/router.hpp"
#include "apps/gateway/service.hpp"

namespace troupe::gateway {

void add_session_routes(router& routes, service& all);
void add_session_list_routes(router& routes, service& all);
void add_future_routes(router& routes, service& all);
void add_training_routes(router& routes, service& all);
void add_weights_routes(router& routes, service& all);
void add_runs_routes(router& routes, service& all);
void add_sampling_routes(router& routes, service& all);

/// The request's JSON object; a refusal is sent when it holds none.
[[nodiscard]] std::optional<boost::json::object> object_of(const call& from,
                                                           const responder& respond);

/// What the desk is to know of an operation on a model.
[[nodiscard]] request_desk::asked asked_op(const std::shared_ptr<training_model>& model,
                                           std::uint64_t seq_id);

/// Makes the run of a new model: checks its base and that nodes are idle, then answers the model or
/// why there is none. One that starts from weights trains what their model `like` trained; null:
/// what the cluster file says.
void make_model(service& all, const std::string& model_id, const tinker::create_model_call& wanted,
                const model_record* like,
                std::function<void(result<std::shared_ptr<training_model>>)> then);

}  // namespace troupe::gateway
