#include "apps/gateway/request_log.hpp"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "apps/support/json.hpp"
#include "config/deadlines.hpp"
#include "config/log.hpp"
#include "messages/tinker/json_fields.hpp"

namespace troupe::gateway {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t number_digits = 16;

result<void> write_whole(const std::string& path, const boost::json::object& head,
                         const std::string& body) {
  const std::string part = path + ".part";
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

}  // namespace

std::string request_log::path_of(const std::string& request_id, const place& at) const {
  std::string number = std::to_string(at.number);
  number.insert(0, number_digits - std::min(number_digits, number.size()), '0');
  const std::string stem = folder_ + "/" + number + "-" + request_id;
  return at.is_done ? stem + ".done" : stem + "." + std::to_string(at.run_seq) + ".open";
}

std::optional<logged_request> request_log::read(const std::string& file_name) {
  const std::string path = folder_ + "/" + file_name;
  logged_request out;
  place at;
  at.is_done = file_name.ends_with(".done");
  const auto mark = file_name.find('-');
  const auto dot = file_name.find('.');
  if (mark != number_digits || dot == std::string::npos || dot < mark) return std::nullopt;
  at.number = std::strtoull(file_name.c_str(), nullptr, 10);
  out.request_id = file_name.substr(mark + 1, dot - mark - 1);
  if (!at.is_done) at.run_seq = std::strtoull(file_name.c_str() + dot + 1, nullptr, 10);
  if (path_of(out.request_id, at) != path || (at.is_done && is_too_old(path))) return std::nullopt;
  if (places_.contains(out.request_id)) return std::nullopt;
  std::string body;
  const auto head = read_whole(path, body);
  if (!head || !read_head(*head, out)) return std::nullopt;
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

result<void> request_log::taken(const logged_request& request) {
  place at;
  {
    const std::lock_guard lock(mutex_);
    at.number = ++last_number_;
    places_[request.request_id] = at;
  }
  return write_whole(path_of(request.request_id, at), head_of(request), request.body);
}

void request_log::placed(const std::string& request_id, std::uint64_t run_seq) {
  const std::lock_guard lock(mutex_);
  const auto known = places_.find(request_id);
  if (known == places_.end() || known->second.is_done || known->second.run_seq == run_seq) return;
  const std::string before = path_of(request_id, known->second);
  known->second.run_seq = run_seq;
  std::error_code problem;
  fs::rename(before, path_of(request_id, known->second), problem);
  if (problem) config::log(config::log_level::failure, "cannot rename " + before);
}

void request_log::resolved(const std::string& request_id, const reply& outcome) {
  const std::lock_guard lock(mutex_);
  const auto known = places_.find(request_id);
  if (known == places_.end() || known->second.is_done) return;
  const std::string before = path_of(request_id, known->second);
  std::ifstream file(before, std::ios::binary);
  std::string line;
  std::getline(file, line);
  auto head = tinker::parse_object(line);
  if (!head) return;
  (*head)["status"] = outcome.status;
  (*head)["result_type"] = outcome.content_type;
  known->second.is_done = true;
  const auto ok = write_whole(path_of(request_id, known->second), *head, outcome.body);
  if (!ok) return config::log(config::log_level::failure, to_string(ok.error()));
  std::error_code problem;
  fs::remove(before, problem);
}

void request_log::forget(const std::string& request_id) {
  const std::lock_guard lock(mutex_);
  const auto known = places_.find(request_id);
  if (known == places_.end()) return;
  std::error_code problem;
  fs::remove(path_of(request_id, known->second), problem);
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
