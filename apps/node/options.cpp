#include "apps/node/options.hpp"

#include <map>

#include <CLI/CLI.hpp>

#include "config/limits.hpp"
#include "messages/ids.hpp"

namespace troupe::node {

result<options> parse_options(int count, const char* const* words) {
  CLI::App app("One node of a Troupe cluster.", "troupe-node");
  options out;
  const std::map<std::string, node_role> roles{{"control", node_role::control},
                                               {"trainer", node_role::trainer},
                                               {"sampler", node_role::sampler}};
  std::string role;
  app.add_option("--role", role, "what it is in the cluster")
      ->required()
      ->check(CLI::IsMember({"control", "trainer", "sampler"}));
  app.add_option("--name", out.name, "unique in the cluster")->required();
  app.add_option("--data-folder", out.data_folder, "of the cluster")->required();
  app.add_option("--threads", out.threads, "that compute")
      ->check(CLI::Range(1U, limits::node_threads_max));
  app.add_option("--slots", out.slots, "trainer: adapter runs that share it")
      ->check(CLI::Range(1U, limits::node_slots_max));
  std::string compute = "fp32";
  app.add_option("--compute", compute, "trainer: precision of matrix products")
      ->check(CLI::IsMember({"fp32", "bf16"}));
  app.add_option("--kept-activations-mib", out.kept_activations_mib,
                 "trainer: what a batch keeps for its backward")
      ->check(CLI::Range(std::size_t{0}, limits::batch_activation_bytes_max / limits::mebibyte));
  app.add_option("--device", out.device, "cpu; a trainer also cuda:N, or auto:N for either");
  app.add_option("--share-index", out.share.index, "which of this machine's processes of its role");
  app.add_option("--share-count", out.share.count, "how many there are")
      ->check(CLI::Range(std::size_t{1}, limits::nodes_max));
  std::string numa = "near";
  app.add_option("--numa", numa, "near: stay on the memory nodes of this share")
      ->check(CLI::IsMember({"near", "any"}));
  app.add_option("--cluster", out.cluster, "control: the cluster's name");
  app.add_option("--host", out.host, "control: address to listen on");
  app.add_option("--port", out.port, "control: 0 picks one");
  app.add_option("--snapshot-every-steps", out.snapshot_every_steps,
                 "control: 0: by what one costs and how often nodes are lost")
      ->check(CLI::Range(0, 1'000'000));
  app.add_option("--park-idle-runs-after-s", out.park_idle_runs_after_s,
                 "control: a run whose client has gone gives its nodes back; 0: never")
      ->check(CLI::Range(0, 31'536'000));
  app.add_option("--ready-descriptor", out.ready_descriptor, "where a launcher listens");
  try {
    app.parse(count, words);
  } catch (const CLI::CallForHelp&) {
    out.help = app.help();
    return out;
  } catch (const CLI::ParseError& e) {
    return fail(errc::invalid_argument, e.what(), "a wrong option", "see troupe-node --help");
  }
  out.role = roles.at(role);
  out.compute = compute == "bf16" ? gpu::compute_type::bf16 : gpu::compute_type::fp32;
  out.stays_near = numa == "near";
  if (out.share.index >= out.share.count) {
    return fail(errc::invalid_argument, "--share-index is not below --share-count");
  }
  if (!is_valid_name(out.name) || !is_valid_name(out.cluster)) {
    return fail(errc::invalid_argument, "names are letters, digits and . _ -");
  }
  return out;
}

}  // namespace troupe::node
