#include "apps/gateway/router.hpp"

namespace troupe::gateway {
namespace {

/// The pieces of `path` in place of each {}, or none when it does not fit.
std::optional<std::vector<std::string>> fit(std::string_view pattern, std::string_view path) {
  std::vector<std::string> parts;
  while (!pattern.empty()) {
    const std::size_t hole = pattern.find("{}");
    const std::string_view literal = pattern.substr(0, hole);
    if (!path.starts_with(literal)) return std::nullopt;
    path.remove_prefix(literal.size());
    if (hole == std::string_view::npos) break;
    pattern.remove_prefix(hole + 2);
    const std::string_view piece = path.substr(0, path.find('/'));
    if (piece.empty()) return std::nullopt;
    parts.emplace_back(piece);
    path.remove_prefix(piece.size());
  }
  if (!path.empty()) return std::nullopt;
  return parts;
}

}  // namespace

router::match router::find(std::string_view method, std::string_view path) const {
  for (const route& entry : routes_) {
    if (entry.method != method) continue;
    if (auto parts = fit(entry.pattern, path)) return {&entry, std::move(*parts)};
  }
  return {};
}

std::optional<reply> router::gate(const http_call& http) {
  const match fits = find(http.method, http.path);
  const bool is_open = fits.found != nullptr && fits.found->who == access::open;
  if (!is_open && !keys_.find(http.credential)) {
    return refusal(401, {errc::fenced,
                         http.credential.empty() ? "the request carries no API key"
                                                 : "the API key is not known here",
                         "it is missing, mistyped or revoked",
                         "set TINKER_API_KEY to a key that `troupe key create` made"});
  }
  if (fits.found == nullptr) {
    return refusal(404,
                   {errc::not_found, "there is no " + http.method + " " + http.path.substr(0, 200),
                    "this server does not have that part of the Tinker API",
                    "docs/tinker.md lists what there is"});
  }
  return std::nullopt;
}

void router::serve(http_call http, const responder& respond) {
  call taken;
  taken.key_id = keys_.find(http.credential).value_or(std::string());
  taken.http = std::move(http);
  handle(std::move(taken), respond);
}

void router::handle(call taken, const responder& respond) {
  match fits = find(taken.http.method, taken.http.path);
  if (fits.found == nullptr) {
    return respond(refusal({errc::not_found, "there is no " + taken.http.path, "", ""}));
  }
  taken.parts = std::move(fits.parts);
  const auto start = std::chrono::steady_clock::now();
  fits.found->handler(taken, [this, start, entry = fits.found, respond](reply answer) {
    watched_.answered(entry->pattern, answer.status, std::chrono::steady_clock::now() - start);
    respond(std::move(answer));
  });
}

}  // namespace troupe::gateway
