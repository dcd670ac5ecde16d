#include "config/cluster_config.hpp"

#include <fstream>
#include <limits>
#include <optional>
#include <sstream>

#define TOML_EXCEPTIONS 0
#include <toml++/toml.h>

#include "config/limits.hpp"
#include "messages/ids.hpp"

namespace troupe::config {
namespace {

/// Reads known keys of one file and remembers the first thing that is wrong.
class reader {
 public:
  explicit reader(const std::string& path) : path_(path) {}

  [[nodiscard]] const std::optional<error>& failure() const { return failure_; }

  void refuse(const toml::node& node, std::string_view key, const std::string& what) {
    if (failure_) return;
    std::ostringstream text;
    text << path_ << ':' << node.source().begin.line << ": \"" << key << "\": " << what;
    failure_ = error{errc::invalid_argument, text.str(), "a typing error in the file",
                     "compare with config/examples/local.toml"};
  }

  void read(const toml::node& node, std::string_view key, std::string& out) {
    const auto* value = node.as_string();
    if (value == nullptr || value->get().empty()) return refuse(node, key, "is no text");
    if (value->get().size() > limits::path_bytes_max) return refuse(node, key, "is too long");
    out = value->get();
  }

  template <class Integer>
  void read(const toml::node& node, std::string_view key, Integer& out, std::int64_t minimum,
            std::int64_t maximum) {
    const auto* value = node.as_integer();
    if (value == nullptr || value->get() < minimum || value->get() > maximum) {
      std::ostringstream what;
      what << "is no whole number from " << minimum << " to " << maximum;
      return refuse(node, key, what.str());
    }
    out = static_cast<Integer>(value->get());
  }

  const toml::table* section(const toml::node& node, std::string_view key) {
    const toml::table* table = node.as_table();
    if (table == nullptr) refuse(node, key, "is no section");
    return table;
  }

 private:
  const std::string& path_;
  std::optional<error> failure_;
};

void read_cluster(reader& in, const toml::table& table, cluster_config& out) {
  for (const auto& [key, node] : table) {
    if (key == "name") {
      in.read(node, key.str(), out.name);
      if (!is_valid_name(out.name)) in.refuse(node, key.str(), "is no valid name");
    } else if (key == "data_folder") {
      in.read(node, key.str(), out.data_folder);
    } else if (key == "snapshot_every_steps") {
      in.read(node, key.str(), out.snapshot_every_steps, 0, 1'000'000);
    } else if (key == "park_idle_runs_after_s") {
      in.read(node, key.str(), out.park_idle_runs_after_s, 0, 31'536'000);
    } else {
      in.refuse(node, key.str(), "is no key of [cluster]");
    }
  }
}

void read_listen(reader& in, const toml::table& table, cluster_config& out) {
  for (const auto& [key, node] : table) {
    if (key == "host") {
      in.read(node, key.str(), out.host);
    } else if (key == "port") {
      in.read(node, key.str(), out.port, 0, std::numeric_limits<std::uint16_t>::max());
    } else {
      in.refuse(node, key.str(), "is no key of [listen]");
    }
  }
}

void read_group(reader& in, const toml::table& table, std::string_view name, process_group& out) {
  for (const auto& [key, node] : table) {
    if (key == "count") {
      in.read(node, key.str(), out.count, 0, limits::nodes_max);
    } else if (key == "threads") {
      in.read(node, key.str(), out.threads, 0, limits::node_threads_max);
    } else if (key == "numa") {
      std::string choice;
      in.read(node, key.str(), choice);
      if (choice != "near" && choice != "any")
        in.refuse(node, key.str(), "is neither near nor any");
      out.numa = choice == "any" ? memory_choice::any : memory_choice::near;
    } else if (key == "compute" && name == "trainers") {
      std::string choice;
      in.read(node, key.str(), choice);
      if (choice != "fp32" && choice != "bf16")
        in.refuse(node, key.str(), "is neither fp32 nor bf16");
      out.compute = choice == "bf16" ? product_type::bf16 : product_type::fp32;
    } else if (key == "kept_activations_mib" && name == "trainers") {
      in.read(node, key.str(), out.kept_activations_mib, 0,
              limits::batch_activation_bytes_max / limits::mebibyte);
    } else if (key == "device" && name == "trainers") {
      in.read(node, key.str(), out.device);
      if (out.device != "cpu" && out.device != "cuda" && out.device != "auto")
        in.refuse(node, key.str(), "is neither cpu nor cuda nor auto");
    } else if (key == "slots" && name == "trainers") {
      in.read(node, key.str(), out.slots, 1, limits::node_slots_max);
    } else {
      in.refuse(node, key.str(), "is no key of [" + std::string(name) + "]");
    }
  }
}

void read_gateway(reader& in, const toml::table& table, gateway_config& out) {
  std::string choice;
  for (const auto& [key, node] : table) {
    if (key == "start") {
      in.read(node, key.str(), choice);
      if (choice != "on" && choice != "off") in.refuse(node, key.str(), "is neither on nor off");
      out.start = choice == "off" ? gateway_start::off : gateway_start::on;
    } else if (key == "host") {
      in.read(node, key.str(), out.host);
    } else if (key == "port") {
      in.read(node, key.str(), out.port, 0, std::numeric_limits<std::uint16_t>::max());
    } else if (key == "ranks") {
      in.read(node, key.str(), out.ranks, 1, limits::world_size_max);
    } else if (key == "lora") {
      in.read(node, key.str(), choice);
      out.lora = lora_mode::adapters;
      if (choice == "refuse") out.lora = lora_mode::refuse;
      if (choice == "full-parameter") out.lora = lora_mode::full_parameter;
      if (out.lora == lora_mode::adapters && choice != "adapters") {
        in.refuse(node, key.str(), "is neither adapters, full-parameter nor refuse");
      }
    } else if (key == "models_per_key") {
      in.read(node, key.str(), out.per_key.models, 0, limits::runs_max);
    } else if (key == "requests_per_second_per_key") {
      in.read(node, key.str(), out.per_key.requests_per_second, 0, 1'000'000);
    } else if (key == "held_mebibytes_per_key") {
      in.read(node, key.str(), out.per_key.held_bytes, 0, 1'048'576);
      out.per_key.held_bytes *= limits::mebibyte;
    } else if (key == "tls_certificate") {
      in.read(node, key.str(), out.tls_certificate);
    } else if (key == "tls_key") {
      in.read(node, key.str(), out.tls_key);
    } else {
      in.refuse(node, key.str(), "is no key of [gateway]");
    }
  }
}

void read_models(reader& in, const toml::table& table, std::vector<named_model>& out) {
  for (const auto& [key, node] : table) {
    named_model model{std::string(key.str()), {}};
    in.read(node, key.str(), model.directory);
    if (model.name.empty() || model.name.find('=') != std::string::npos) {
      in.refuse(node, key.str(), "names no model");
    }
    out.push_back(std::move(model));
  }
}

void read_deployment(reader& in, const toml::table& table, served_model& out) {
  for (const auto& [key, node] : table) {
    if (key == "model") {
      in.read(node, key.str(), out.model);
    } else if (key == "replicas") {
      in.read(node, key.str(), out.replicas, 1, limits::replicas_max);
    } else {
      in.refuse(node, key.str(), "is no key of [deployments." + out.name + "]");
    }
  }
  if (out.model.empty()) in.refuse(table, out.name, "names no model");
}

void read_deployments(reader& in, const toml::table& table, std::vector<served_model>& out) {
  for (const auto& [key, node] : table) {
    served_model deployment{std::string(key.str()), {}, 1};
    if (!is_valid_name(deployment.name)) in.refuse(node, key.str(), "is no valid name");
    if (out.size() == limits::deployments_max) in.refuse(node, key.str(), "is one too many");
    const toml::table* each = in.section(node, key.str());
    if (each == nullptr) return;
    read_deployment(in, *each, deployment);
    out.push_back(std::move(deployment));
  }
}

void read_section(reader& in, std::string_view key, const toml::node& node, cluster_config& out) {
  const bool known = key == "cluster" || key == "listen" || key == "trainers" ||
                     key == "samplers" || key == "gateway" || key == "models" ||
                     key == "deployments";
  if (!known) return in.refuse(node, key, "is no known section");
  const toml::table* table = in.section(node, key);
  if (table == nullptr) return;
  if (key == "cluster") return read_cluster(in, *table, out);
  if (key == "listen") return read_listen(in, *table, out);
  if (key == "gateway") return read_gateway(in, *table, out.gateway);
  if (key == "models") return read_models(in, *table, out.models);
  if (key == "deployments") return read_deployments(in, *table, out.deployments);
  read_group(in, *table, key, key == "trainers" ? out.trainers : out.samplers);
}

}  // namespace

std::string cluster_config::directory_of(const served_model& deployment) const {
  for (const named_model& known : models) {
    if (known.name == deployment.model) return known.directory;
  }
  return deployment.model;
}

result<cluster_config> parse_cluster_config(std::string_view text, const std::string& path) {
  const toml::parse_result parsed = toml::parse(text, path);
  if (!parsed) {
    std::ostringstream what;
    what << path << ':' << parsed.error().source().begin.line << ": "
         << parsed.error().description();
    return fail(errc::invalid_argument, what.str(), "the file is not valid TOML",
                "compare with config/examples/local.toml");
  }
  cluster_config out;
  reader in(path);
  for (const auto& [key, node] : parsed.table())
    read_section(in, key.str(), node, out);
  if (in.failure()) return fail(*in.failure());
  return out;
}

result<cluster_config> read_cluster_config(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) {
    return fail(errc::not_found, "cannot read " + path, "the file is missing or not readable",
                "give the path of a cluster file, or none for the defaults");
  }
  std::string text(limits::config_file_bytes_max + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(file.gcount()));
  if (text.size() > limits::config_file_bytes_max) {
    return fail(errc::invalid_argument, path + " is too large to be a cluster file");
  }
  return parse_cluster_config(text, path);
}

}  // namespace troupe::config
