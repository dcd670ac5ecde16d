#include "apps/gateway/request_desk.hpp"

#include "config/limits.hpp"
#include "config/log.hpp"

namespace troupe::gateway {

request_desk::request_desk(boost::asio::io_context& loop, future_table& futures,
                           quota_ledger& quotas, std::string log_folder,
                           const disk_flusher::sync& how)
    : futures_(futures),
      quotas_(quotas),
      log_(std::move(log_folder)),
      requests_(loop, how),
      results_(loop, how) {
  futures_.listen({[this](const std::string& id, const reply& outcome) {
                     quotas_.released(id);
                     const std::string path = log_.resolved(id, outcome);
                     if (path.empty()) return;
                     results_.flush(path, [this, id](const result<void>& ok) {
                       if (ok) log_.settled(id);
                     });
                   },
                   [this](const std::string& id) { log_.forget(id); }});
}

void request_desk::remember(const std::string& repeat_key, repeat entry) {
  repeats_.insert_or_assign(repeat_key, std::move(entry));
  repeat_order_.push_back(repeat_key);
  if (repeat_order_.size() <= limits::gateway_futures_max) return;
  repeats_.erase(repeat_order_.front());
  repeat_order_.pop_front();
}

void request_desk::take_again(repeat& known, const std::string& digest, const responder& respond,
                              const starter& start) {
  if (known.digest != digest) {
    return respond(
        refusal({errc::seq_reused, "this turn was used for another request",
                 "two clients share an id, or a client lost count", "make a new client"}));
  }
  if (known.waiting) return known.waiting->push_back(respond);
  const reply out{200, "application/json", known.acknowledgement};
  const std::string to_start = std::exchange(known.to_start, {});
  if (!to_start.empty()) start(to_start);
  respond(out);
}

void request_desk::take(const call& from, asked wanted, const responder& respond, starter start) {
  const std::string digest = sha256_text(from.http.body);
  if (const auto known = repeats_.find(wanted.repeat_key); known != repeats_.end()) {
    return take_again(known->second, digest, respond, start);
  }
  const auto id = futures_.open(from.key_id);
  if (!id) return respond(refusal(id.error()));
  if (const auto ok = quotas_.hold(from.key_id, *id, from.http.body.size()); !ok) {
    futures_.drop(*id);
    return respond(refusal(ok.error()));
  }
  wanted.extra["request_id"] = *id;
  repeat entry{digest, boost::json::serialize(wanted.extra)};
  if (wanted.where == keeping::on_disk) {
    entry.waiting = std::make_shared<std::vector<responder>>(1, respond);
    return keep(from, wanted, *id, std::move(entry), std::move(start));
  }
  const reply out{200, "application/json", entry.acknowledgement};
  remember(wanted.repeat_key, std::move(entry));
  start(*id);
  respond(out);
}

void request_desk::keep(const call& from, const asked& wanted, const std::string& request_id,
                        repeat entry, starter start) {
  const auto path = log_.taken({0, request_id, from.key_id, wanted.repeat_key, entry.digest,
                                from.http.path, from.http.content_type, entry.acknowledgement,
                                from.http.body, wanted.number ? wanted.number() : 0, std::nullopt});
  const auto waiting = entry.waiting;
  const reply acknowledged{200, "application/json", entry.acknowledgement};
  remember(wanted.repeat_key, std::move(entry));
  const auto flushed = [this, waiting, acknowledged, request_id, key = wanted.repeat_key,
                        start = std::move(start)](const result<void>& ok) {
    const reply out = ok ? acknowledged : refusal(ok.error());
    if (!ok) {
      forget(key, request_id);
    } else {
      if (const auto known = repeats_.find(key); known != repeats_.end()) {
        known->second.waiting = nullptr;
      }
      start(request_id);
    }
    for (const responder& respond : *waiting)
      respond(out);
  };
  if (!path) return flushed(fail(path.error()));
  requests_.flush(*path, flushed);
}

/// It was not taken after all.
void request_desk::forget(const std::string& repeat_key, const std::string& request_id) {
  repeats_.erase(repeat_key);
  log_.forget(request_id);
  quotas_.released(request_id);
  futures_.drop(request_id);
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
