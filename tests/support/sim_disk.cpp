#include "tests/support/sim_disk.hpp"

#include <algorithm>
#include <utility>

namespace troupe::tests {
namespace {

bool is_directly_in(const std::string& path, const std::string& folder) {
  return path.starts_with(folder + "/") && path.find('/', folder.size() + 1) == std::string::npos;
}

}  // namespace

std::shared_ptr<sim_disk::session> sim_disk::begin_session() {
  auto begun = std::make_shared<session>(*this);
  const std::scoped_lock lock(mutex_);
  sessions_.push_back(begun);
  return begun;
}

void sim_disk::end_sessions() {
  has_lost_power_ = true;
  for (const auto& each : std::exchange(sessions_, {})) {
    if (const auto open = each.lock()) open->has_ended_ = true;
  }
}

// -- failures ------------------------------------------------------------------------------------

void sim_disk::fail_after(failure how, std::uint32_t num_writes) {
  const std::scoped_lock lock(mutex_);
  armed_ = how;
  writes_left_ = num_writes;
}

bool sim_disk::has_failed() const {
  const std::scoped_lock lock(mutex_);
  return has_failed_;
}

bool sim_disk::has_lost_power() const {
  const std::scoped_lock lock(mutex_);
  return has_lost_power_;
}

void sim_disk::repair() {
  const std::scoped_lock lock(mutex_);
  armed_ = failure::none;
  is_full_ = false;
  has_failed_ = false;
  has_lost_power_ = false;
}

bool sim_disk::fails_now() {
  if (is_full_) return true;
  return armed_ != failure::none && writes_left_-- == 0;
}

sim_disk::outcome sim_disk::fail_append(file& to, std::string_view bytes) {
  has_failed_ = true;
  to.bytes += bytes.substr(0, random_() % (bytes.size() + 1));
  const failure how = std::exchange(armed_, failure::none);
  if (is_full_ || how == failure::full) {
    is_full_ = true;
    return outcome::full;
  }
  if (how == failure::torn) end_sessions();
  return outcome::broken;
}

/// Half of the time nothing of what was not synced had reached the disk.
sim_disk::file_ptr sim_disk::as_found_later(const file& before) {
  auto after = std::make_shared<file>();
  const std::size_t num_loose = before.bytes.size() - before.num_durable;
  const bool is_torn = num_loose > 0 && random_() % 2 == 0;
  after->bytes = before.bytes.substr(
      0, before.num_durable + (is_torn ? random_() % (num_loose + 1) : std::size_t{0}));
  for (const auto& [begin, end] : before.lost) {
    for (std::size_t i = begin; i < std::min(end, after->bytes.size()); ++i)
      after->bytes[i] = '\0';
  }
  after->num_durable = after->bytes.size();
  return after;
}

void sim_disk::lose_power() {
  const std::scoped_lock lock(mutex_);
  end_sessions();
  std::map<file_ptr, file_ptr> found;
  names_ = std::exchange(durable_names_, {});
  for (auto& [path, content] : names_) {
    auto& after = found[content];
    if (!after) after = as_found_later(*content);
    content = after;
  }
  durable_names_ = names_;
}

std::unique_ptr<sim_disk> sim_disk::after_a_loss_of_power() {
  const std::scoped_lock lock(mutex_);
  auto out = std::make_unique<sim_disk>(random_());
  out->folders_ = folders_;
  out->num_names_ = num_names_;
  std::map<file_ptr, file_ptr> copies;
  for (const auto& [path, content] : durable_names_) {
    auto& copy = copies[content];
    if (!copy) copy = std::make_shared<file>(*content);
    out->durable_names_[path] = copy;
  }
  out->lose_power();
  return out;
}

// -- sessions ------------------------------------------------------------------------------------

void sim_disk::session::end() {
  const std::scoped_lock lock(disk_.mutex_);
  has_ended_ = true;
}

sim_disk::outcome sim_disk::session::create(const std::string& path, file_ptr& out) {
  const std::scoped_lock lock(disk_.mutex_);
  if (has_ended_) return outcome::broken;
  out = std::make_shared<file>();
  disk_.names_[path] = out;
  return outcome::done;
}

sim_disk::file_ptr sim_disk::session::find(const std::string& path) {
  const std::scoped_lock lock(disk_.mutex_);
  const auto known = disk_.names_.find(path);
  return known == disk_.names_.end() ? nullptr : known->second;
}

sim_disk::outcome sim_disk::session::append(file& to, std::string_view bytes) {
  const std::scoped_lock lock(disk_.mutex_);
  if (has_ended_) return outcome::broken;
  if (disk_.fails_now()) return disk_.fail_append(to, bytes);
  to.bytes += bytes;
  return outcome::done;
}

sim_disk::outcome sim_disk::session::cut(file& at, std::size_t size) {
  const std::scoped_lock lock(disk_.mutex_);
  if (has_ended_) return outcome::broken;
  at.bytes.resize(std::min(size, at.bytes.size()));
  at.num_durable = std::min(at.num_durable, at.bytes.size());
  return outcome::done;
}

/// A full disk still syncs what it has.
sim_disk::outcome sim_disk::session::sync(file& which) {
  const std::scoped_lock lock(disk_.mutex_);
  if (has_ended_) return outcome::broken;
  const bool may_fail = disk_.armed_ == failure::broken || disk_.armed_ == failure::torn;
  if (may_fail && disk_.fails_now()) {
    disk_.has_failed_ = true;
    if (std::exchange(disk_.armed_, failure::none) == failure::torn) {
      disk_.end_sessions();
    } else {
      which.lost.emplace_back(which.num_durable, which.bytes.size());
    }
    return outcome::broken;
  }
  which.num_durable = which.bytes.size();
  return outcome::done;
}

sim_disk::outcome sim_disk::session::sync_folder(const std::string& folder) {
  const std::scoped_lock lock(disk_.mutex_);
  if (has_ended_) return outcome::broken;
  std::erase_if(disk_.durable_names_,
                [&folder](const auto& each) { return is_directly_in(each.first, folder); });
  for (const auto& [path, content] : disk_.names_) {
    if (is_directly_in(path, folder)) disk_.durable_names_[path] = content;
  }
  return outcome::done;
}

sim_disk::outcome sim_disk::session::move(const std::string& from, const std::string& to) {
  const std::scoped_lock lock(disk_.mutex_);
  if (has_ended_) return outcome::broken;
  auto moved = disk_.names_.extract(from);
  if (!moved) return outcome::missing;
  disk_.names_[to] = moved.mapped();
  return outcome::done;
}

sim_disk::outcome sim_disk::session::remove(const std::string& path) {
  const std::scoped_lock lock(disk_.mutex_);
  if (has_ended_) return outcome::broken;
  return disk_.names_.erase(path) == 0 ? outcome::missing : outcome::done;
}

std::size_t sim_disk::session::read(const file& from, std::size_t offset, std::size_t count,
                                    char* out) {
  const std::scoped_lock lock(disk_.mutex_);
  if (offset >= from.bytes.size()) return 0;
  return from.bytes.copy(out, count, offset);
}

std::size_t sim_disk::session::size(const file& of) {
  const std::scoped_lock lock(disk_.mutex_);
  return of.bytes.size();
}

void sim_disk::session::make_folder(const std::string& path) {
  const std::scoped_lock lock(disk_.mutex_);
  disk_.folders_.insert(path);
}

bool sim_disk::session::is_folder(const std::string& path) {
  const std::scoped_lock lock(disk_.mutex_);
  return disk_.folders_.contains(path);
}

std::vector<std::string> sim_disk::session::list(const std::string& folder) {
  const std::scoped_lock lock(disk_.mutex_);
  std::set<std::string> names;
  for (const auto& [path, content] : disk_.names_) {
    if (is_directly_in(path, folder)) names.insert(path.substr(folder.size() + 1));
  }
  for (const std::string& path : disk_.folders_) {
    if (is_directly_in(path, folder)) names.insert(path.substr(folder.size() + 1));
  }
  return {names.begin(), names.end()};
}

std::string sim_disk::session::new_name() {
  const std::scoped_lock lock(disk_.mutex_);
  return "draft-" + std::to_string(++disk_.num_names_);
}

}  // namespace troupe::tests
