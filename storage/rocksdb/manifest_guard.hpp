#pragma once

// Notices a database whose list of files lost its end. RocksDB takes a MANIFEST that was cut off,
// or one in which the length of a record was changed, for one that a crash tore, forgets the tables
// that the lost part named, deletes them, and opens with what was there before: acknowledged
// records would be gone without a word.
//
// So a small file beside the database says what its MANIFEST holds at least. It is written after
// each flush and compaction, before the logs and tables these made superfluous are deleted; what
// the MANIFEST may still lose then is nothing that something else does not hold.
//
// Format of `<root>/db.mark`: "MANIFEST-<number> <bytes> <their sha256> <sha256 of all
// this>\n".
//
// Threading: listeners are called by RocksDB's own threads.
// Errors: errc::corrupt, naming the file that is wrong; errc::storage.

#include <mutex>
#include <string>

#include <rocksdb/listener.h>

#include "messages/error.hpp"

namespace troupe::storage {

class manifest_guard final : public rocksdb::EventListener {
 public:
  /// `folder` holds the database, `root` the mark.
  manifest_guard(std::string folder, std::string root);

  /// Before the database is opened. A folder without a mark passes: earlier builds wrote none.
  [[nodiscard]] result<void> check() const;

  /// What the MANIFEST holds now is durable, and must be there whenever the database is opened.
  [[nodiscard]] result<void> record();

  // A mark that could not be written is an older one: true as well, and less sharp.
  void OnFlushCompleted(rocksdb::DB*, const rocksdb::FlushJobInfo&) override { (void)record(); }
  void OnCompactionCompleted(rocksdb::DB*, const rocksdb::CompactionJobInfo&) override {
    (void)record();
  }

 private:
  std::string folder_;
  std::string root_;
  std::mutex mutex_;  ///< one mark at a time
};

}  // namespace troupe::storage
