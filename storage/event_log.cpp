#include "storage/event_log.hpp"

#include "config/limits.hpp"
#include "storage/keys.hpp"
#include "storage/record.hpp"

namespace troupe::storage {
namespace {

constexpr std::string_view event_kind = "event";

std::string prefix_of(const run_id& run) {
  return ended(event_kind) + ended(run.value);
}

}  // namespace

result<write_batch> keeping(const keep_event_request& request) {
  auto value = encode_record(request);
  if (!value) return fail(value.error());
  const std::string prefix = prefix_of(request.run);
  const std::uint64_t number = request.event.number;
  write_batch batch;
  batch.puts.push_back({column::jobs, prefix + big_endian(number), std::move(*value)});
  if (number > limits::run_events_max)
    batch.erases.push_back({column::jobs, prefix + big_endian(number - limits::run_events_max)});
  return batch;
}

result<run_events_reply> read_events(key_value_store& values, const run_events_request& request) {
  run_events_reply reply;
  result<void> decoded;
  const std::string prefix = prefix_of(request.run);
  const std::string first = prefix + big_endian(request.after_number) + '\0';
  const std::string last = ended(event_kind) + behind(request.run.value);
  const auto scanned =
      values.scan(column::jobs, first, last, [&](std::string_view, std::string_view value) {
        auto kept = decode_record<keep_event_request>(value);
        if (kept) reply.events.push_back(std::move(kept->event));
        if (!kept) decoded = fail(kept.error());
        return kept.has_value();
      });
  if (!scanned) return fail(scanned.error());
  if (!decoded) return fail(decoded.error());
  if (reply.events.size() > limits::run_events_max)
    reply.events.erase(reply.events.begin(),
                       reply.events.end() - std::ptrdiff_t{limits::run_events_max});
  return reply;
}

}  // namespace troupe::storage
