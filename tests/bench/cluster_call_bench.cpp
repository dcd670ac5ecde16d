// A tiny forward_backward as a C++ program inside the cluster sees it: what the gateway is compared
// with.

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <vector>

#include <CLI/CLI.hpp>
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
  CLI::App app("The latency of one small operation on a running cluster.");
  std::string data_folder;
  std::string model;
  std::size_t calls = 100;
  bool as_json = false;
  app.add_option("--data-folder", data_folder)->required();
  app.add_option("--model", model)->required();
  app.add_option("--calls", calls)->check(CLI::Range(1, 100'000));
  app.add_flag("--json", as_json);
  CLI11_PARSE(app, count, words);
  const auto times = measure(data_folder, model, calls);
  if (!times) {
    std::fprintf(stderr, "%s\n", to_string(times.error()).c_str());
    return 1;
  }
  const double middle = times->at(times->size() / 2);
  const double late = times->at(times->size() * 95 / 100);
  if (as_json) {
    const boost::json::object out{{"p50_ms", middle}, {"p95_ms", late}};
    std::printf("%s\n", boost::json::serialize(out).c_str());
  } else {
    std::printf("p50 %.2f ms, p95 %.2f ms\n", middle, late);
  }
  return 0;
}
