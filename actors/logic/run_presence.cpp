#include "actors/logic/run_presence.hpp"

namespace troupe::logic {

void run_presence::unattended(const run_id& run, std::uint64_t now_ms) {
  runs_[run] = {{}, now_ms};
}

void run_presence::attended(const run_id& run, const std::string& client) {
  runs_[run] = {client, std::nullopt};
}

void run_presence::left(const std::string& client, std::uint64_t now_ms) {
  for (auto& [run, who] : runs_) {
    if (who.client == client && !who.alone_since_ms) who.alone_since_ms = now_ms;
  }
}

void run_presence::worked(const run_id& run, std::uint64_t now_ms) {
  const auto known = runs_.find(run);
  if (known != runs_.end() && known->second.alone_since_ms) known->second.alone_since_ms = now_ms;
}

std::vector<run_id> run_presence::idle(std::uint64_t now_ms, std::uint64_t after_ms) const {
  std::vector<run_id> out;
  for (const auto& [run, who] : runs_) {
    if (who.alone_since_ms && now_ms - *who.alone_since_ms >= after_ms) out.push_back(run);
  }
  return out;
}

}  // namespace troupe::logic
