#include "storage/checkpoint_index.hpp"

#include <utility>

namespace troupe::storage {

result<std::size_t> checkpoint_index::refresh(std::size_t records_max) {
  summaries present;
  std::vector<std::string> unknown;
  const auto scanned = checkpoints_.visit_ids([&](std::string_view id) {
    auto known = all_.extract(std::string(id));
    if (known.empty()) {
      unknown.emplace_back(id);
    } else {
      present.insert(std::move(known));
    }
  });
  if (!scanned) return fail(scanned.error());
  all_ = std::move(present);
  std::size_t num_read = 0;
  for (; num_read < unknown.size() && num_read < records_max; ++num_read) {
    const auto record = checkpoints_.get(unknown[num_read]);
    if (!record) return fail(record.error());
    const checkpoint_manifest& m = record->manifest;
    all_[unknown[num_read]] = {
        m.run,          m.kind,         m.step,        m.seq_id,       m.created_unix_ms,
        total_bytes(m), m.parent.value, m.folds.value, !m.name.empty()};
  }
  return unknown.size() - num_read;
}

}  // namespace troupe::storage
