#pragma once

// Durable records of runs and deployments, ledger lines, and the cluster's own identity.
//
// Threading: one thread at a time. Errors: as the store; errc::in_use when the folder belongs to
// another cluster; errc::unsupported when it was written by a newer version.

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "messages/journal.hpp"
#include "messages/weight_sync.hpp"
#include "storage/key_value_store.hpp"

namespace troupe::storage {

/// Version of the stored records. A newer folder is refused, never rewritten.
inline constexpr std::uint32_t storage_version = 1;

class run_catalog {
 public:
  explicit run_catalog(key_value_store& values);

  /// Claims an empty folder for `cluster`, or checks that it is already its own.
  result<void> claim(const std::string& cluster);

  result<void> put(const run_record& record);
  result<std::vector<run_record>> list();

  /// Keeps the newest limits::ledger_entries_max lines of each deployment.
  result<void> put(const deployment_record& record);
  result<void> forget(const deployment_id& deployment);
  result<std::vector<deployment_record>> list_deployments();

  result<void> append(const ledger_entry& entry);
  /// Oldest first.
  result<std::vector<ledger_entry>> ledger(const deployment_id& deployment);

 private:
  result<std::uint64_t> next_number(const deployment_id& deployment);

  key_value_store& values_;
  std::map<std::string, std::uint64_t> next_numbers_;
};

}  // namespace troupe::storage
