#include "apps/gateway/router.hpp"

#include <algorithm>
#include <charconv>

#include "apps/gateway/body_coding.hpp"
#include "config/limits.hpp"

namespace troupe::gateway {
namespace {

int digit_of(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

/// Broken escapes stand for themselves.
std::string unescaped(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool has_two = text[i] == '%' && i + 2 < text.size();
    const int high = has_two ? digit_of(text[i + 1]) : -1;
    const int low = has_two ? digit_of(text[i + 2]) : -1;
    if (high < 0 || low < 0) {
      out += text[i];
    } else {
      out += static_cast<char>(high * 16 + low);
      i += 2;
    }
  }
  return out;
}

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
    parts.push_back(unescaped(piece));
    path.remove_prefix(piece.size());
  }
  if (!path.empty()) return std::nullopt;
  return parts;
}

}  // namespace

void router::add(route entry) {
  watched_.expect(entry.pattern);
  routes_.push_back(std::move(entry));
}

router::match router::find(std::string_view method, std::string_view path) const {
  for (const route& entry : routes_) {
    if (entry.method != method) continue;
    if (auto parts = fit(entry.pattern, path)) return {&entry, std::move(*parts)};
  }
  return {};
}

std::string call::query(std::string_view key) const {
  std::string_view rest = http.query;
  while (!rest.empty()) {
    const std::string_view pair = rest.substr(0, rest.find('&'));
    rest.remove_prefix(std::min(rest.size(), pair.size() + 1));
    const std::size_t mark = pair.find('=');
    if (mark != std::string_view::npos && pair.substr(0, mark) == key) {
      return unescaped(pair.substr(mark + 1));
    }
  }
  return {};
}

std::uint64_t call::query_number(std::string_view key, std::uint64_t otherwise) const {
  const std::string text = query(key);
  std::uint64_t out = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), out);
  return text.empty() || problem != std::errc() ? otherwise : out;
}

std::optional<reply> router::gate(const http_call& http) {
  const match fits = find(http.method, http.path);
  auto refused = refusal_at_the_gate(http, fits.found);
  if (refused && fits.found != nullptr) watched_.refused(fits.found->pattern, refused->status);
  return refused;
}

std::optional<reply> router::refusal_at_the_gate(const http_call& http, const route* found) {
  const bool is_open = found != nullptr && found->who == access::open;
  const auto key_id = is_open ? std::nullopt : keys_.find(http.credential);
  if (!is_open && !key_id) {
    return refusal(401, {errc::fenced,
                         http.credential.empty() ? "the request carries no API key"
                                                 : "the API key is not known here",
                         "it is missing, mistyped or revoked",
                         "set TINKER_API_KEY to a key that `troupe key create` made"});
  }
  if (found == nullptr) {
    return refusal(404,
                   {errc::not_found, "there is no " + http.method + " " + http.path.substr(0, 200),
                    "this server does not have that part of the Tinker API",
                    "docs/tinker.md lists what there is"});
  }
  if (found->who == access::with_key) {
    const auto ok = quotas_.admit_request(*key_id, std::chrono::steady_clock::now());
    if (!ok) return refusal(ok.error());
  }
  return std::nullopt;
}

void router::serve(http_call http, const responder& respond) {
  call taken;
  taken.key_id = keys_.find(http.credential).value_or(std::string());
  auto body =
      decoded_body(http.content_encoding, std::move(http.body), limits::http_body_bytes_max);
  if (!body) return respond(refusal(400, body.error()));
  http.body = std::move(*body);
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
