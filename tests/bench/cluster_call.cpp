// A tiny forward_backward as a C++ program inside the cluster sees it: what the gateway is compared
// with.

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include <boost/json.hpp>

#include "apps/client/service_client.hpp"
#include "config/deadlines.hpp"

namespace {

using namespace troupe;

constexpr std::size_t length = 16;

result<std::vector<double>> measure(const std::string& data_folder, const std::string& model,
                                    std::size_t calls) {
  const auto endpoint = apps::read_cluster_endpoint(data_folder);
  if (!endpoint) return fail(endpoint.error());
  auto service = client::service_client::connect(*endpoint);
  if (!service) return fail(service.error());
  create_run_request wanted;
  wanted.model.directory = model;
  auto training = service->create_training_run(wanted);
  if (!training) return fail(training.error());
  datum row;
  row.tokens.assign(length, 1);
  row.target_tokens.assign(length, 1);
  row.weights.assign(length, 1.0F);
  std::vector<double> out;
  for (std::size_t i = 0; i < calls; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    const auto passed = training->forward_backward({row}, loss_fn::cross_entropy, {});
    if (const auto done = passed.get(deadlines::op); !done) return fail(done.error());
    const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - begin;
    out.push_back(took.count());
  }
  if (const auto parked = training->park(); !parked) return fail(parked.error());
  std::sort(out.begin(), out.end());
  return out;
}

}  // namespace

int main(int count, char** words) {
  if (count != 4) {
    std::fprintf(stderr, "usage: cluster_call DATA_FOLDER MODEL_DIRECTORY CALLS\n");
    return 2;
  }
  const auto times = measure(words[1], words[2], std::strtoul(words[3], nullptr, 10));
  if (!times || times->empty()) {
    std::fprintf(stderr, "%s\n", times ? "nothing to do" : to_string(times.error()).c_str());
    return 1;
  }
  const boost::json::object out{{"p50_ms", times->at(times->size() / 2)},
                                {"p95_ms", times->at(times->size() * 95 / 100)}};
  std::printf("%s\n", boost::json::serialize(out).c_str());
  return 0;
}
