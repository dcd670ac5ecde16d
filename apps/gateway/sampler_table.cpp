#include "apps/gateway/sampler_table.hpp"

#include <chrono>
#include <filesystem>
#include <fstream>
#include <set>

#include "apps/gateway/names.hpp"
#include "config/limits.hpp"
#include "messages/tinker/json_fields.hpp"

namespace troupe::gateway {

sampler_table::sampler_table(std::string folder) : folder_(std::move(folder)) {
  std::error_code problem;
  std::filesystem::create_directories(folder_, problem);
  for (const auto& file : std::filesystem::directory_iterator(folder_, problem)) {
    if (file.path().extension() == ".samplers") load(file.path().string());
  }
}

std::string sampler_table::path_of(const std::string& session_id) const {
  return folder_ + "/" + session_id + ".samplers";
}

void sampler_table::load(const std::string& path) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    const auto object = tinker::parse_object(line);
    if (!object) continue;  // cut short when the process died: it was not answered
    tinker::json_fields in(*object);
    const std::string id = in.text("id");
    sampling_session entry{in.text("directory"), {in.text("weights")}, in.text("model_path")};
    if (!in.failure()) samplers_[id] = std::move(entry);
  }
}

result<std::string> sampler_table::add(const std::string& id, sampling_session entry) {
  const boost::json::object line{{"id", id},
                                 {"directory", entry.directory},
                                 {"weights", entry.weights.value},
                                 {"model_path", entry.model_path}};
  const std::string path = path_of(session_of(id));
  std::ofstream file(path, std::ios::app);
  file << boost::json::serialize(line) << '\n';
  if (!file.flush()) {
    return fail(errc::storage, "cannot write " + path, "the disk is full or read-only",
                "make space in the data folder");
  }
  samplers_[id] = std::move(entry);
  return path;
}

const sampling_session* sampler_table::find(const std::string& id) const {
  const auto known = samplers_.find(id);
  return known == samplers_.end() ? nullptr : &known->second;
}

std::vector<checkpoint_id> sampler_table::weights() const {
  std::set<checkpoint_id> all;
  for (const auto& [id, session] : samplers_) {
    if (!session.weights.empty() && all.size() < limits::checkpoint_list_max)
      all.insert(session.weights);
  }
  return {all.begin(), all.end()};
}

std::uint64_t sampler_table::join(const std::string& id) {
  // Seconds since the epoch tell apart the counters of one gateway and the next; clients multiply
  // the number by 1e9 and must stay below 2^63.
  auto& last = joined_[id];
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(now).count();
  last = std::max(last + 1, static_cast<std::uint64_t>(seconds));
  return last;
}

std::vector<std::string> sampler_table::of_session(const std::string& session_id) const {
  std::vector<std::string> out;
  const std::string prefix = session_id + ":";
  for (auto it = samplers_.lower_bound(prefix); it != samplers_.end(); ++it) {
    if (!it->first.starts_with(prefix)) break;
    out.push_back(it->first);
  }
  return out;
}

void sampler_table::end_session(const std::string& session_id) {
  for (const std::string& id : of_session(session_id)) {
    samplers_.erase(id);
    joined_.erase(id);
  }
  std::error_code problem;
  std::filesystem::remove(path_of(session_id), problem);
}

}  // namespace troupe::gateway
