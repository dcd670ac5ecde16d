// Nobody hears of a request before it is on disk, and many requests share one flush.

#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <mutex>

#include <boost/asio/io_context.hpp>
#include <boost/test/unit_test.hpp>

#include "apps/gateway/request_desk.hpp"
#include "tests/support/scratch_folder.hpp"

using namespace troupe;
using namespace troupe::gateway;

namespace {

/// A disk whose flushes end when the test says so.
class slow_disk {
 public:
  disk_flusher::sync as_sync() {
    return [this](const std::vector<std::string>& paths) {
      std::unique_lock lock(mutex_);
      batches_.push_back(paths.size());
      changed_.notify_all();
      changed_.wait(lock, [this] { return num_allowed_ >= batches_.size(); });
      return outcome_;
    };
  }

  void await_batches(std::size_t count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return batches_.size() >= count; });
  }

  void allow(std::size_t count, const result<void>& outcome = {}) {
    const std::lock_guard lock(mutex_);
    num_allowed_ += count;
    outcome_ = outcome;
    changed_.notify_all();
  }

  std::vector<std::size_t> batches() {
    const std::lock_guard lock(mutex_);
    return batches_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::size_t> batches_;
  std::size_t num_allowed_ = 0;
  result<void> outcome_;
};

constexpr std::size_t many = 1000;

struct fixture {
  tests::scratch_folder scratch;
  boost::asio::io_context loop;
  slow_disk disk;
  future_table futures{loop};
  quota_ledger quotas{{}};
  request_desk desk{loop, futures, quotas, scratch.path() + "/requests", disk.as_sync()};
  std::vector<std::string> started;
  std::vector<reply> answers;

  fixture() { std::filesystem::create_directories(scratch.path() + "/requests"); }
  ~fixture() { disk.allow(many); }

  void take(const std::string& key, const std::string& body = "body") {
    call from;
    from.key_id = "key";
    from.http.path = "/api/v1/optim_step";
    from.http.body = body;
    desk.take(
        from, {key, keeping::on_disk, {}}, [this](reply answer) { answers.push_back(answer); },
        [this, key](const std::string&) { started.push_back(key); });
  }

  /// Until so many were answered; the table's own timer keeps the loop alive.
  void run(std::size_t num_answers) {
    while (answers.size() < num_answers)
      loop.run_one();
  }
};

}  // namespace

BOOST_FIXTURE_TEST_CASE(a_request_starts_and_is_acknowledged_once_it_is_durable, fixture) {
  take("a");
  disk.await_batches(1);
  take("b");
  take("c");
  take("a");
  loop.poll();
  BOOST_TEST(answers.empty());
  BOOST_TEST(started.empty());
  disk.allow(2);
  run(4);
  BOOST_TEST((started == std::vector<std::string>{"a", "b", "c"}));
  // The repeat of the first got the same answer.
  BOOST_TEST(answers[0].status == 200U);
  BOOST_TEST(answers[0].body == answers[1].body);
  BOOST_TEST((disk.batches() == std::vector<std::size_t>{1, 2}));
  take("a");
  BOOST_TEST(answers.size() == 5U);
  BOOST_TEST(started.size() == 3U);
  take("a", "another body");
  BOOST_TEST(answers.back().status == 400U);
}

BOOST_FIXTURE_TEST_CASE(what_cannot_be_flushed_is_refused_and_may_be_sent_again, fixture) {
  take("a");
  disk.await_batches(1);
  disk.allow(1, fail(errc::storage, "the disk is full"));
  run(1);
  BOOST_TEST(answers[0].status >= 500U);
  BOOST_TEST(started.empty());
  BOOST_TEST(futures.num_open() == 0U);
  BOOST_TEST(std::filesystem::is_empty(scratch.path() + "/requests"));
  take("a");
  disk.await_batches(2);
  disk.allow(1);
  run(2);
  BOOST_TEST(answers[1].status == 200U);
  BOOST_TEST(started.size() == 1U);
}

BOOST_AUTO_TEST_CASE(files_and_their_folders_are_flushed) {
  const tests::scratch_folder scratch;
  const std::string path = scratch.path() + "/a";
  std::ofstream(path) << "content";
  BOOST_TEST(sync_files({path}).has_value());
  // Renamed since: whoever did that flushes it.
  BOOST_TEST(sync_files({scratch.path() + "/gone", path}).has_value());
  BOOST_TEST((sync_files({scratch.path() + "/nowhere/b"}).error().code == errc::storage));
}
