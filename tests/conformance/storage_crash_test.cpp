// A process that writes the op log is killed at moments of its own making: whatever it had
// acknowledged is there afterwards, whole, and what it left half done is gone.

#include <filesystem>

#include <boost/test/unit_test.hpp>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "storage/journal.hpp"
#include "storage/open_store.hpp"
#include "tests/support/scratch_folder.hpp"

using namespace troupe;
using namespace troupe::storage;
using tests::scratch_folder;

namespace {

append_op_request op_of(std::uint64_t seq_id) {
  append_op_request request;
  request.op.run.value = "r";
  request.op.seq_id = seq_id;
  request.body_digest.value = std::string(64, 'd');
  datum example;
  // Every third payload is too large for the database and becomes a blob.
  const std::size_t tokens = seq_id % 3 == 0 ? 20'000 : 20;
  example.tokens.assign(tokens, static_cast<token_id>(seq_id));
  example.target_tokens = example.tokens;
  request.op.body = forward_backward_op{{example}, loss_fn::cross_entropy, {}};
  return request;
}

/// Appends ops without end and writes each number to `acknowledged` once it is durable.
[[noreturn]] void write_until_killed(const std::string& root, std::uint64_t first,
                                     int acknowledged) {
  const auto blobs = open_posix_blob_store(root);
  const auto values = open_rocksdb_store(root);
  if (!blobs || !values) ::_exit(1);
  journal log(**values, **blobs);
  for (std::uint64_t seq_id = first;; ++seq_id) {
    if (!log.append(op_of(seq_id)) || !log.flush()) ::_exit(2);
    if (::write(acknowledged, &seq_id, sizeof seq_id) != sizeof seq_id) ::_exit(3);
  }
}

/// Lets a child write until it has acknowledged `acks` ops, kills it, and answers the last number
/// it acknowledged.
std::uint64_t run_and_kill(const std::string& root, std::uint64_t first, int acks) {
  int ends[2];
  BOOST_REQUIRE(::pipe(ends) == 0);
  const pid_t child = ::fork();
  if (child == 0) {
    ::close(ends[0]);
    write_until_killed(root, first, ends[1]);
  }
  ::close(ends[1]);
  std::uint64_t last = 0;
  for (int i = 0; i < acks; ++i)
    BOOST_REQUIRE(::read(ends[0], &last, sizeof last) == sizeof last);
  ::kill(child, SIGKILL);
  int status = 0;
  BOOST_REQUIRE(::waitpid(child, &status, 0) == child);
  BOOST_REQUIRE(WIFSIGNALED(status));
  // What it acknowledged between the last read and its death counts as well.
  std::uint64_t more = 0;
  while (::read(ends[0], &more, sizeof more) == sizeof more)
    last = more;
  ::close(ends[0]);
  return last;
}

/// Checks that ops 1 to `acknowledged` are there, whole, and answers how many ops there are.
std::uint64_t check_log(const std::string& root, std::uint64_t acknowledged) {
  const auto blobs = open_posix_blob_store(root).value();
  BOOST_TEST(std::filesystem::is_empty(root + "/tmp"));
  const auto values = open_rocksdb_store(root).value();
  journal log(*values, *blobs);
  std::uint64_t count = 0;
  for (bool complete = false; !complete;) {
    const auto page = log.read({run_id{"r"}, count, 64});
    BOOST_REQUIRE(page.has_value());
    for (const logged_op& op : page->ops)
      BOOST_REQUIRE((op.op == op_of(++count).op));
    complete = page->complete;
  }
  BOOST_TEST(count >= acknowledged);
  BOOST_TEST(count <= acknowledged + 1);
  return count;
}

}  // namespace

BOOST_AUTO_TEST_CASE(nothing_acknowledged_is_lost_to_a_kill) {
  // LOG-1, LOG-3
  const scratch_folder folder;
  std::uint64_t count = 0;
  for (int round = 0; round < 12; ++round) {
    const std::uint64_t acknowledged = run_and_kill(folder.path(), count + 1, 1 + round % 5);
    count = check_log(folder.path(), acknowledged);
  }
  BOOST_TEST(count >= 12U);
}
