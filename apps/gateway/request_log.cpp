#include "apps/gateway/request_log.hpp"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "apps/gateway/disk_flusher.hpp"
#include "apps/support/json.hpp"
#include "config/deadlines.hpp"
#include "config/log.hpp"
#include "messages/tinker/json_fields.hpp"

namespace troupe::gateway {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t number_digits = 16;

result<void> write_whole(const std::string& path, boost::json::object head,
                         const std::string& body) {
  const std::string part = path + ".part";
  head["bytes"] = body.size();
  {
    std::ofstream file(part, std::ios::binary | std::ios::trunc);
    file << boost::json::serialize(head) << '\n' << body;
    if (!file.flush()) {
      return fail(errc::storage, "cannot write " + part, std::strerror(errno),
                  "check that the folder is writable and has space");
    }
  }
  std::error_code problem;
  fs::rename(part, path, problem);
  if (problem) return fail(errc::storage, "cannot write " + path, problem.message());
  return {};
}

std::optional<boost::json::object> read_whole(const std::string& path, std::string& body) {
  std::ifstream file(path, std::ios::binary);
  std::string head;
  if (!std::getline(file, head)) return std::nullopt;
  body.assign(std::istreambuf_iterator<char>(file), {});
  auto object = tinker::parse_object(head);
  if (!object) return std::nullopt;
  return std::move(*object);
}

bool is_too_old(const std::string& path) {
  std::error_code problem;
  const auto written = fs::last_write_time(path, problem);
  return problem || fs::file_time_type::clock::now() - written > deadlines::future_kept;
}

boost::json::object head_of(const logged_request& request) {
  return {{"key_id", request.key_id},
          {"repeat_key", request.repeat_key},
          {"digest", request.digest},
          {"path", request.path},
          {"content_type", request.content_type},
          {"acknowledgement", request.acknowledgement}};
}

bool read_head(const boost::json::object& head, logged_request& out) {
  tinker::json_fields in(head);
  out.key_id = in.text("key_id");
  out.repeat_key = in.text("repeat_key");
  out.digest = in.text("digest");
  out.path = in.text("path");
  out.content_type = in.optional_text("content_type").value_or(std::string());
  out.acknowledgement = in.text("acknowledgement");
  return !in.failure();
}

std::string stem_of(const std::string& folder, const std::string& request_id, std::uint64_t of) {
  std::string number = std::to_string(of);
  number.insert(0, number_digits - std::min(number_digits, number.size()), '0');
  return folder + "/" + number + "-" + request_id;
}

}  // namespace

std::string request_log::open_path(const std::string& request_id, const place& at) const {
  return stem_of(folder_, request_id, at.number) + "." + std::to_string(at.run_seq) + ".open";
}

std::string request_log::done_path(const std::string& request_id, const place& at) const {
  return stem_of(folder_, request_id, at.number) + ".done";
}

std::optional<logged_request> request_log::read(const std::string& file_name) {
  const std::string path = folder_ + "/" + file_name;
  logged_request out;
  place at;
  at.is_done = at.is_settled = file_name.ends_with(".done");
  const auto mark = file_name.find('-');
  const auto dot = file_name.find('.');
  if (mark != number_digits || dot == std::string::npos || dot < mark) return std::nullopt;
  at.number = std::strtoull(file_name.c_str(), nullptr, 10);
  out.request_id = file_name.substr(mark + 1, dot - mark - 1);
  if (!at.is_done) at.run_seq = std::strtoull(file_name.c_str() + dot + 1, nullptr, 10);
  const std::string wanted =
      at.is_done ? done_path(out.request_id, at) : open_path(out.request_id, at);
  if (wanted != path || (at.is_done && is_too_old(path))) return std::nullopt;
  if (places_.contains(out.request_id)) return std::nullopt;
  std::string body;
  const auto head = read_whole(path, body);
  if (!head || !read_head(*head, out)) return std::nullopt;
  if (tinker::json_fields(*head).integer("bytes") != body.size()) return std::nullopt;
  out.number = at.number;
  out.run_seq = at.run_seq;
  if (at.is_done) {
    tinker::json_fields in(*head);
    reply outcome{static_cast<unsigned>(in.integer("status")), in.text("result_type"), {}};
    outcome.body = std::move(body);
    out.outcome = std::move(outcome);
  } else {
    out.body = std::move(body);
  }
  places_[out.request_id] = at;
  last_number_ = std::max(last_number_, at.number);
  return out;
}

result<std::vector<logged_request>> request_log::open() {
  const std::lock_guard lock(mutex_);
  std::error_code problem;
  fs::create_directories(folder_, problem);
  std::vector<std::string> names;
  for (const auto& file : fs::directory_iterator(folder_, problem))
    names.push_back(file.path().filename().string());
  if (problem) return fail(errc::storage, "cannot read " + folder_, problem.message());
  // Results first: their request may have survived them.
  std::partition(names.begin(), names.end(), [](const auto& n) { return n.ends_with(".done"); });
  std::vector<logged_request> out;
  for (const std::string& name : names) {
    if (auto request = read(name)) {
      out.push_back(std::move(*request));
    } else {
      fs::remove(folder_ + "/" + name, problem);
    }
  }
  std::sort(out.begin(), out.end(),
            [](const auto& one, const auto& other) { return one.number < other.number; });
  return out;
}

result<std::string> request_log::taken(const logged_request& request) {
  place at;
  at.run_seq = request.run_seq;
  {
    const std::lock_guard lock(mutex_);
    at.number = ++last_number_;
    places_[request.request_id] = at;
  }
  const std::string path = open_path(request.request_id, at);
  if (auto ok = write_whole(path, head_of(request), request.body); !ok) return fail(ok.error());
  return path;
}

void request_log::placed(const std::string& request_id, std::uint64_t run_seq) {
  const std::lock_guard lock(mutex_);
  const auto known = places_.find(request_id);
  if (known == places_.end() || known->second.is_done || known->second.run_seq == run_seq) return;
  const std::string before = open_path(request_id, known->second);
  known->second.run_seq = run_seq;
  const std::string after = open_path(request_id, known->second);
  std::error_code problem;
  fs::rename(before, after, problem);
  if (problem) return config::log(config::log_level::failure, "cannot rename " + before);
  if (const auto ok = sync_files({after}); !ok) {
    config::log(config::log_level::failure, to_string(ok.error()));
  }
}

std::string request_log::resolved(const std::string& request_id, const reply& outcome) {
  const std::lock_guard lock(mutex_);
  const auto known = places_.find(request_id);
  if (known == places_.end() || known->second.is_done) return {};
  std::ifstream file(open_path(request_id, known->second), std::ios::binary);
  std::string line;
  std::getline(file, line);
  auto head = tinker::parse_object(line);
  if (!head) return {};
  (*head)["status"] = outcome.status;
  (*head)["result_type"] = outcome.content_type;
  const std::string path = done_path(request_id, known->second);
  if (const auto ok = write_whole(path, std::move(*head), outcome.body); !ok) {
    config::log(config::log_level::failure, to_string(ok.error()));
    return {};
  }
  known->second.is_done = true;
  return path;
}

void request_log::settled(const std::string& request_id) {
  const std::lock_guard lock(mutex_);
  const auto known = places_.find(request_id);
  if (known == places_.end() || !known->second.is_done || known->second.is_settled) return;
  std::error_code problem;
  fs::remove(open_path(request_id, known->second), problem);
  known->second.is_settled = true;
}

void request_log::forget(const std::string& request_id) {
  const std::lock_guard lock(mutex_);
  const auto known = places_.find(request_id);
  if (known == places_.end()) return;
  std::error_code problem;
  if (!known->second.is_settled) fs::remove(open_path(request_id, known->second), problem);
  if (known->second.is_done) fs::remove(done_path(request_id, known->second), problem);
  places_.erase(known);
}

bool request_log::knows(const std::string& request_id) {
  const std::lock_guard lock(mutex_);
  return places_.contains(request_id);
}

run_place request_log::place_of(const std::string& request_id) {
  const std::lock_guard lock(mutex_);
  const auto known = places_.find(request_id);
  return {known == places_.end() ? 0 : known->second.run_seq,
          [this, request_id](std::uint64_t run_seq) { placed(request_id, run_seq); }};
}

}  // namespace troupe::gateway
