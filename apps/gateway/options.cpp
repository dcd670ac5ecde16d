#include "apps/gateway/options.hpp"

#include <filesystem>
#include <vector>

#include <CLI/CLI.hpp>

#include "config/limits.hpp"

namespace troupe::gateway {
namespace {

result<void> add_model(const std::string& text, options& out) {
  const auto mark = text.find('=');
  if (mark == std::string::npos || mark == 0 || mark + 1 == text.size()) {
    return fail(errc::invalid_argument, "--model " + text + " is no NAME=DIRECTORY");
  }
  std::error_code problem;
  const auto directory = std::filesystem::absolute(text.substr(mark + 1), problem);
  out.models[text.substr(0, mark)] = directory.lexically_normal().string();
  return {};
}

}  // namespace

bool is_loopback(const std::string& host) {
  return host.starts_with("127.") || host == "::1";
}

result<options> parse_options(int count, const char* const* words) {
  CLI::App app("The HTTP side of a Troupe cluster: the Tinker protocol.", "troupe-gateway");
  options out;
  std::string lora = "adapters";
  std::vector<std::string> models;
  tls_files tls;
  app.add_option("--name", out.name, "in its log");
  app.add_option("--data-folder", out.data_folder, "of the cluster")->required();
  app.add_option("--host", out.host, "address to listen on; others than loopback need TLS");
  app.add_option("--port", out.port, "0 takes the last one again, or picks one");
  app.add_option("--ranks", out.ranks, "trainer nodes of each run")
      ->check(CLI::Range(1U, limits::world_size_max));
  app.add_option("--lora", lora, "what becomes of a client that asks for LoRA")
      ->check(CLI::IsMember({"adapters", "full-parameter", "refuse"}));
  app.add_option("--model", models, "NAME=DIRECTORY, repeatable");
  app.add_option("--models-per-key", out.per_key.models, "in training at once; 0: any number");
  app.add_option("--requests-per-second", out.per_key.requests_per_second, "of one key");
  app.add_option("--held-bytes-per-key", out.per_key.held_bytes,
                 "of requests without a result; 0: any number");
  app.add_option("--tls-certificate", tls.certificate, "PEM file, with the chain");
  app.add_option("--tls-key", tls.key, "PEM file");
  app.add_option("--ready-descriptor", out.ready_descriptor, "where a launcher listens");
  try {
    app.parse(count, words);
  } catch (const CLI::CallForHelp&) {
    out.help = app.help();
    return out;
  } catch (const CLI::ParseError& e) {
    return fail(errc::invalid_argument, e.what(), "a wrong option", "see troupe-gateway --help");
  }
  if (tls.certificate.empty() != tls.key.empty()) {
    return fail(errc::invalid_argument, "a TLS certificate and its key belong together", "",
                "give both tls_certificate and tls_key");
  }
  if (!tls.key.empty()) out.tls = std::move(tls);
  if (!is_loopback(out.host) && !out.tls) {
    return fail(errc::unsupported, "the gateway does not listen on " + out.host + " without TLS",
                "API keys and data would cross the network unencrypted",
                "set tls_certificate and tls_key in [gateway], or keep 127.0.0.1");
  }
  if (lora == "full-parameter") out.lora = config::lora_mode::full_parameter;
  if (lora == "refuse") out.lora = config::lora_mode::refuse;
  for (const std::string& text : models) {
    if (auto ok = add_model(text, out); !ok) return fail(ok.error());
  }
  std::error_code problem;
  out.data_folder = std::filesystem::absolute(out.data_folder, problem).string();
  return out;
}

}  // namespace troupe::gateway
