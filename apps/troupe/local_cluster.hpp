#pragma once

// A cluster of this program's own, for as long as a command needs one: processes, a thread that
// restarts them, and a connected client.
//
// Threading: one thread at a time; `on_event` comes from another one. Ctrl-C ends the processes and
// this program with exit status 1. Errors: those of the launcher and the client.

#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "apps/client/service_client.hpp"
#include "apps/troupe/launcher.hpp"
#include "config/cluster_config.hpp"

namespace troupe::apps {

enum class folder_lifetime : std::uint8_t { kept = 0, removed_at_end = 1 };

class local_cluster {
 public:
  static result<std::unique_ptr<local_cluster>> start(const config::cluster_config& cluster,
                                                      folder_lifetime lifetime,
                                                      launcher::event_listener on_event);

  local_cluster(const local_cluster&) = delete;
  local_cluster& operator=(const local_cluster&) = delete;
  ~local_cluster();

  [[nodiscard]] client::service_client& service() { return *service_; }

 private:
  local_cluster(std::vector<process_plan> plans, std::string root, folder_lifetime lifetime,
                launcher::event_listener on_event);
  void end();

  launcher processes_;
  std::string root_;
  folder_lifetime lifetime_;
  std::optional<client::service_client> service_;
  std::thread watcher_;
};

/// A new empty folder for a cluster that ends with its command.
[[nodiscard]] result<std::string> make_scratch_folder();

}  // namespace troupe::apps
