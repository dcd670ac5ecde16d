#include "apps/gateway/request_desk.hpp"

#include "config/limits.hpp"
#include "config/log.hpp"

namespace troupe::gateway {

request_desk::request_desk(future_table& futures, quota_ledger& quotas, std::string log_folder)
    : futures_(futures), quotas_(quotas), log_(std::move(log_folder)) {
  futures_.listen({[this](const std::string& id, const reply& outcome) {
                     quotas_.released(id);
                     log_.resolved(id, outcome);
                   },
                   [this](const std::string& id) { log_.forget(id); }});
}

void request_desk::remember(const std::string& repeat_key, repeat entry) {
  repeats_.emplace(repeat_key, std::move(entry));
  repeat_order_.push_back(repeat_key);
  if (repeat_order_.size() <= limits::gateway_futures_max) return;
  repeats_.erase(repeat_order_.front());
  repeat_order_.pop_front();
}

reply request_desk::take_again(repeat& known, const std::string& digest, const starter& start) {
  if (known.digest != digest) {
    return refusal({errc::seq_reused, "this turn was used for another request",
                    "two clients share an id, or a client lost count", "make a new client"});
  }
  reply out{200, "application/json", known.acknowledgement};
  const std::string to_start = std::exchange(known.to_start, {});
  if (!to_start.empty()) start(to_start);
  return out;
}

reply request_desk::take(const call& from, const std::string& repeat_key, keeping where,
                         const boost::json::object& extra, const starter& start) {
  const std::string digest = sha256_text(from.http.body);
  if (const auto known = repeats_.find(repeat_key); known != repeats_.end()) {
    return take_again(known->second, digest, start);
  }
  const auto id = futures_.open(from.key_id);
  if (!id) return refusal(id.error());
  if (const auto ok = quotas_.hold(from.key_id, *id, from.http.body.size()); !ok) {
    futures_.drop(*id);
    return refusal(ok.error());
  }
  boost::json::object acknowledgement = extra;
  acknowledgement["request_id"] = *id;
  repeat entry{digest, boost::json::serialize(acknowledgement), {}};
  if (where == keeping::on_disk) {
    const auto ok =
        log_.taken({0, *id, from.key_id, repeat_key, digest, from.http.path, from.http.content_type,
                    entry.acknowledgement, from.http.body, 0, std::nullopt});
    if (!ok) {
      quotas_.released(*id);
      futures_.drop(*id);
      return refusal(ok.error());
    }
  }
  reply out{200, "application/json", entry.acknowledgement};
  remember(repeat_key, std::move(entry));
  start(*id);
  return out;
}

void request_desk::start_again(router& routes, const logged_request& request) {
  call from;
  from.key_id = request.key_id;
  from.http.method = "POST";
  from.http.path = request.path;
  from.http.content_type = request.content_type;
  from.http.body = request.body;
  reply answer;
  routes.handle(std::move(from), [&answer](reply given) { answer = std::move(given); });
  repeat& known = repeats_[request.repeat_key];
  if (known.to_start.empty()) return;
  known.to_start.clear();
  futures_.resolve(request.request_id,
                   failed_future({errc::aborted, "the request was refused after a restart",
                                  answer.body, "make a new client from the last save_state"}));
}

result<void> request_desk::restore(router& routes) {
  const auto logged = log_.open();
  if (!logged) return fail(logged.error());
  std::size_t num_open = 0;
  for (const logged_request& request : *logged) {
    repeat entry{request.digest, request.acknowledgement, {}};
    if (!request.outcome) entry.to_start = request.request_id;
    num_open += request.outcome ? 0 : 1;
    remember(request.repeat_key, std::move(entry));
    futures_.restore(request.request_id, request.key_id, request.outcome);
  }
  for (const logged_request& request : *logged) {
    if (!request.outcome) start_again(routes, request);
  }
  if (!logged->empty()) {
    config::log(config::log_level::info, "took over " + std::to_string(logged->size()) +
                                             " requests of an earlier gateway, " +
                                             std::to_string(num_open) + " of them open");
  }
  return {};
}

}  // namespace troupe::gateway
