#pragma once

// A simulated cluster with a run "r" on one trainer and a deployment "d" of its model, and the ops
// that give the deployment something new to serve.
//
// Threading: of the running test, whose checks these are.

#include <string>
#include <tuple>
#include <utility>

#include <boost/test/unit_test.hpp>

#include "tests/support/sim_cluster.hpp"

namespace troupe::tests {

struct served_run {
  sim_cluster cluster;
  actors::training_run_actor run;
  actors::deployment_actor deployment;
  std::uint64_t seq_id = 0;

  served_run(std::uint64_t seed, std::uint32_t samplers, std::uint32_t replicas)
      : cluster(seed, 1, samplers) {
    const model_source model{tiny_model_directory()};
    auto created = cluster.ask<run_info, actors::training_run_actor>(
        cluster.manager(), create_run_request{"r", model, 1, 1, 0});
    auto deployed = cluster.ask<deployment_info, actors::deployment_actor>(
        cluster.manager(), create_deployment_request{"d", model, replicas});
    BOOST_REQUIRE(created.has_value());
    BOOST_REQUIRE(deployed.has_value());
    run = std::get<1>(*created);
    deployment = std::get<1>(*deployed);
  }

  op_reply op(op_body body) {
    auto reply =
        cluster.ask<op_reply>(run, op_request{run_id{"r"}, 1, ++seq_id, std::move(body), ""});
    BOOST_REQUIRE(reply.has_value());
    return std::get<0>(*reply);
  }

  /// Trains one step and writes a sampler checkpoint of that name.
  checkpoint_id next_weights(const std::string& name = {}) {
    datum d;
    d.tokens = {1, 2, static_cast<token_id>(seq_id % 32)};
    d.target_tokens = d.tokens;
    d.weights = {1, 1, 1};
    op(forward_backward_op{{d}, loss_fn::cross_entropy, {}});
    op(optim_step_op{});
    return std::get<checkpoint_result>(op(save_weights_op{name}).output).checkpoint;
  }
};

}  // namespace troupe::tests
