// A client program that ends while it still waits for answers: it prints "submitted", awaits a line
// on its standard input and returns from main, with nothing of it left to run beside the end of the
// process.
//
// Usage: leaving_client DATA_FOLDER MODEL_FOLDER RUN now|answered
//   answered: waits for its first answer after that line, which may come from another control node.

#include <cstdio>
#include <iostream>
#include <string>

#include "apps/client/service_client.hpp"
#include "apps/support/cluster_endpoint.hpp"
#include "config/deadlines.hpp"

using namespace troupe;

namespace {

constexpr int num_pending = 40;

int fail_with(const error& e) {
  std::fprintf(stderr, "%s\n", to_string(e).c_str());
  return 1;
}

int run(const std::string& data_folder, const std::string& model, const std::string& name,
        const std::string& mode) {
  const auto endpoint = apps::read_cluster_endpoint(data_folder);
  if (!endpoint) return fail_with(endpoint.error());
  auto service = client::service_client::connect(*endpoint);
  if (!service) return fail_with(service.error());
  create_run_request wanted;
  wanted.name = name;
  wanted.model.directory = model;
  auto training = service->create_training_run(wanted);
  if (!training) return fail_with(training.error());
  datum row;
  row.tokens.assign(200, 'a');
  row.target_tokens = row.tokens;
  row.weights.assign(200, 1);
  std::vector<client::future<forward_result>> pending;
  for (int i = 0; i < num_pending; ++i)
    pending.push_back(training->forward_backward({row}, loss_fn::cross_entropy, {}));
  std::printf("submitted\n");
  std::fflush(stdout);
  std::string line;
  std::getline(std::cin, line);
  if (mode == "answered") {
    const auto first = pending.front().get(deadlines::op);
    if (!first) return fail_with(first.error());
  }
  return 0;
}

}  // namespace

int main(int count, char** words) {
  return count == 5 ? run(words[1], words[2], words[3], words[4]) : 2;
}
