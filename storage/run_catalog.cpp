#include "storage/run_catalog.hpp"

#include <charconv>
#include <utility>

#include "config/limits.hpp"
#include "storage/keys.hpp"
#include "storage/record.hpp"

namespace troupe::storage {

namespace {

constexpr const char* version_key = "storage-version";
constexpr const char* cluster_key = "cluster";
constexpr std::string_view run_kind = "run";
constexpr std::string_view deployment_kind = "deployment";

result<void> check_version(const std::string& text) {
  std::uint32_t version = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), version);
  if (failure != std::errc{} || end != text.data() + text.size())
    return fail(errc::corrupt, "the data folder has version '" + text.substr(0, 32) + "'",
                "its database is damaged", "restore the data folder from a copy");
  if (version > storage_version)
    return fail(errc::unsupported,
                "the data folder has version " + text + ", this program reads up to " +
                    std::to_string(storage_version),
                "a newer version of Troupe wrote it", "run that version, or choose another folder");
  return {};
}

template <class Record>
result<std::vector<Record>> records_of(key_value_store& values, std::string_view kind) {
  std::vector<Record> records;
  result<void> decoded;
  const auto scanned = values.scan(column::jobs, ended(kind), behind(kind),
                                   [&](std::string_view, std::string_view value) {
                                     auto record = decode_record<Record>(value);
                                     if (record) records.push_back(std::move(*record));
                                     if (!record) decoded = fail(record.error());
                                     return record.has_value();
                                   });
  if (!scanned) return fail(scanned.error());
  if (!decoded) return fail(decoded.error());
  return records;
}

}  // namespace

run_catalog::run_catalog(key_value_store& values) : values_(values) {}

result<void> run_catalog::claim(const std::string& cluster) {
  const auto version = values_.get(column::meta, version_key);
  if (!version) return fail(version.error());
  if (!version->has_value())
    return values_.write({{{column::meta, version_key, std::to_string(storage_version)},
                           {column::meta, cluster_key, cluster}},
                          {}});
  if (auto ok = check_version(**version); !ok) return ok;
  const auto owner = values_.get(column::meta, cluster_key);
  if (!owner) return fail(owner.error());
  if (owner->value_or("") == cluster) return {};
  return fail(
      errc::in_use,
      "the data folder belongs to cluster '" + owner->value_or("") + "', not to '" + cluster + "'",
      "the configuration names the folder of another cluster",
      "correct the cluster's name, or choose another data folder");
}

result<void> run_catalog::put(const run_record& record) {
  auto value = encode_record(record);
  if (!value) return fail(value.error());
  return values_.write(
      {{{column::jobs, ended(run_kind) + record.run.value, std::move(*value)}}, {}});
}

result<std::vector<run_record>> run_catalog::list() {
  return records_of<run_record>(values_, run_kind);
}

result<void> run_catalog::put(const deployment_record& record) {
  auto value = encode_record(record);
  if (!value) return fail(value.error());
  const std::string key = ended(deployment_kind) + record.request.name;
  return values_.write({{{column::jobs, key, std::move(*value)}}, {}});
}

result<void> run_catalog::forget(const deployment_id& deployment) {
  return values_.write({{}, {{column::jobs, ended(deployment_kind) + deployment.value}}});
}

result<std::vector<deployment_record>> run_catalog::list_deployments() {
  return records_of<deployment_record>(values_, deployment_kind);
}

result<std::uint64_t> run_catalog::next_number(const deployment_id& deployment) {
  const auto known = next_numbers_.find(deployment.value);
  if (known != next_numbers_.end()) return known->second;
  std::uint64_t next = 1;
  const std::string first = ended(deployment.value);
  const auto scanned = values_.scan(column::ledger, first, behind(deployment.value),
                                    [&](std::string_view key, std::string_view) {
                                      next = from_big_endian(key.substr(first.size())) + 1;
                                      return true;
                                    });
  if (!scanned) return fail(scanned.error());
  return next;
}

result<void> run_catalog::append(const ledger_entry& entry) {
  auto value = encode_record(entry);
  if (!value) return fail(value.error());
  const auto number = next_number(entry.deployment);
  if (!number) return fail(number.error());
  const std::string name = ended(entry.deployment.value);
  write_batch batch;
  batch.puts.push_back({column::ledger, name + big_endian(*number), std::move(*value)});
  if (*number > limits::ledger_entries_max)
    batch.erases.push_back(
        {column::ledger, name + big_endian(*number - limits::ledger_entries_max)});
  auto written = values_.write(batch);
  if (written) next_numbers_[entry.deployment.value] = *number + 1;
  return written;
}

result<std::vector<ledger_entry>> run_catalog::ledger(const deployment_id& deployment) {
  std::vector<ledger_entry> entries;
  result<void> decoded;
  const auto scanned =
      values_.scan(column::ledger, ended(deployment.value), behind(deployment.value),
                   [&](std::string_view, std::string_view value) {
                     auto entry = decode_record<ledger_entry>(value);
                     if (entry) entries.push_back(std::move(*entry));
                     if (!entry) decoded = fail(entry.error());
                     return entry.has_value();
                   });
  if (!scanned) return fail(scanned.error());
  if (!decoded) return fail(decoded.error());
  return entries;
}

}  // namespace troupe::storage
