#include "apps/troupe/local_cluster.hpp"

#include <cstdlib>
#include <filesystem>

#include "apps/support/cluster_endpoint.hpp"

namespace troupe::apps {

local_cluster::local_cluster(std::vector<process_plan> plans, std::string root,
                             folder_lifetime lifetime, launcher::event_listener on_event)
    : processes_(std::move(plans), std::move(on_event)),
      root_(std::move(root)),
      lifetime_(lifetime) {}

result<std::unique_ptr<local_cluster>> local_cluster::start(const config::cluster_config& cluster,
                                                            folder_lifetime lifetime,
                                                            launcher::event_listener on_event) {
  const auto program = find_node_program();
  if (!program) return fail(program.error());
  std::error_code problem;
  const std::string root = std::filesystem::absolute(cluster.data_folder, problem).string();
  take_signals();
  std::unique_ptr<local_cluster> out(new local_cluster(plan_cluster(cluster, root, *program), root,
                                                       lifetime, std::move(on_event)));
  if (auto ok = out->processes_.start(); !ok) return fail(ok.error());
  out->watcher_ = std::thread([cluster = out.get()] {
    if (cluster->processes_.run() != launch_end::interrupted) return;
    cluster->end();
    std::_Exit(1);
  });
  const auto endpoint = read_cluster_endpoint(root);
  if (!endpoint) return fail(endpoint.error());
  auto service = client::service_client::connect(*endpoint);
  if (!service) return fail(service.error());
  out->service_.emplace(std::move(*service));
  return out;
}

void local_cluster::end() {
  processes_.stop();
  std::error_code problem;
  if (lifetime_ == folder_lifetime::removed_at_end) std::filesystem::remove_all(root_, problem);
}

local_cluster::~local_cluster() {
  processes_.request_stop();
  if (watcher_.joinable()) watcher_.join();
  service_.reset();
  end();
}

result<std::string> make_scratch_folder() {
  std::error_code problem;
  std::string pattern = (std::filesystem::temp_directory_path(problem) / "troupe-XXXXXX").string();
  if (problem || ::mkdtemp(pattern.data()) == nullptr) {
    return fail(errc::storage, "cannot make a temporary folder", "the disk is full or read-only",
                "set TMPDIR to a folder that is writable");
  }
  return pattern;
}

}  // namespace troupe::apps
