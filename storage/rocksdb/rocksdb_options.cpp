#include "storage/rocksdb/rocksdb_options.hpp"

#include <algorithm>

#include <rocksdb/file_checksum.h>
#include <rocksdb/sst_file_reader.h>
#include <rocksdb/table.h>

#include "config/limits.hpp"
#include "config/planted_bug.hpp"
#include "storage/posix/posix_file.hpp"

namespace troupe::storage {
namespace {

using limits::mebibyte;

/// A message with more is read by nobody.
constexpr std::size_t named_max = 32;

rocksdb::ColumnFamilyOptions column_options(const std::shared_ptr<rocksdb::Cache>& cache) {
  rocksdb::ColumnFamilyOptions options;
  options.write_buffer_size = 8 * mebibyte;
  options.memtable_protection_bytes_per_key = 8;
  options.compression = rocksdb::kLZ4Compression;
  rocksdb::BlockBasedTableOptions table;
  table.block_cache = cache;
  options.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  return options;
}

/// Newest first: the damaged one is nearly always the log that was written last.
std::string files_named(const std::string& folder, std::string_view begin, std::string_view end) {
  const auto names = posix::list_directory(folder);
  if (!names) return folder;
  std::string text;
  std::size_t count = 0;
  for (auto name = names->rbegin(); name != names->rend() && count < named_max; ++name) {
    if (!name->starts_with(begin) || !name->ends_with(end)) continue;
    ++count;
    text += (text.empty() ? "" : ", ") + folder + "/" + *name;
  }
  return text.empty() ? folder : text;
}

/// The table that RocksDB's words name by its number and this ending; empty: none.
std::string table_named(const std::string& folder, const std::string& said,
                        std::string_view ending) {
  const auto end = said.find(ending);
  if (end == std::string::npos) return {};
  const auto begin = said.find_last_not_of("0123456789", end - 1) + 1;
  return folder + "/" + said.substr(begin, end - begin) + ".sst";
}

/// RocksDB names the list of files when a table does not open. A table whose writing a crash cut
/// short does not open either and is nobody's, so these are suspects and no more.
std::string broken_tables(const std::string& folder) {
  std::string out;
  const auto names = posix::list_directory(folder);
  for (const std::string& name : names ? *names : std::vector<std::string>()) {
    if (!name.ends_with(".sst")) continue;
    rocksdb::SstFileReader table((rocksdb::Options()));
    if (!table.Open(folder + "/" + name).ok()) out += "; " + folder + "/" + name + " does not open";
  }
  return out;
}

/// The log that RocksDB's words name by its number; empty: none.
std::string log_named(const std::string& folder, const std::string& said) {
  constexpr std::string_view mark = "log number: ";
  const auto found = said.find(mark);
  if (found == std::string::npos) return {};
  const auto begin = found + mark.size();
  const std::string number =
      said.substr(begin, said.find_first_not_of("0123456789", begin) - begin);
  constexpr std::size_t digits = 6;
  return folder + "/" + std::string(digits - std::min(digits, number.size()), '0') + number +
         ".log";
}

std::string suspects(const std::string& folder, const std::string& said) {
  // It calls a table that is not there by its older name.
  if (const std::string table = table_named(folder, said, ".ldb"); !table.empty())
    return "; " + table + " is missing";
  if (const std::string log = log_named(folder, said); !log.empty()) return "; it is " + log;
  if (said.find(folder + "/MANIFEST-") != std::string::npos)
    return broken_tables(folder) + "; it, or a table it names: " + files_named(folder, "", ".sst");
  if (said.find(folder + "/") != std::string::npos) return {};
  if (const std::string table = table_named(folder, said, ".sst"); !table.empty())
    return "; it is " + table;
  std::vector<std::string> columns;
  const bool is_list_whole =
      rocksdb::DB::ListColumnFamilies(rocksdb::DBOptions(), folder, &columns).ok();
  if (!is_list_whole)
    return "; its list of files is " + files_named(folder, "MANIFEST-", "") + ", by " + folder +
           "/CURRENT";
  return broken_tables(folder) + "; its log files are " + files_named(folder, "", ".log");
}

bool is_damage(const rocksdb::Status& status) {
  return status.IsCorruption() || status.IsNotFound() || status.IsPathNotFound() ||
         status.IsInvalidArgument();
}

}  // namespace

rocksdb::DBOptions database_options() {
  rocksdb::DBOptions options;
  options.create_if_missing = true;
  options.create_missing_column_families = true;
  // The default stops at the first damaged record and opens as if later ones never existed; this
  // one forgives only a torn tail, which is what a crash leaves.
  options.wal_recovery_mode = config::is_planted(config::bug::damaged_log_skipped)
                                  ? rocksdb::WALRecoveryMode::kSkipAnyCorruptedRecords
                                  : rocksdb::WALRecoveryMode::kTolerateCorruptedTailRecords;
  options.track_and_verify_wals_in_manifest = true;
  options.verify_sst_unique_id_in_manifest = true;
  options.paranoid_checks = true;
  // Of whole tables, for who reads them all: blocks have their own, the bytes between them none.
  options.file_checksum_gen_factory = rocksdb::GetFileChecksumGenCrc32cFactory();
  // A rarely written column would otherwise keep every old log alive.
  options.max_total_wal_size = 64 * mebibyte;
  options.db_write_buffer_size = 32 * mebibyte;
  options.max_background_jobs = 2;
  options.max_open_files = 256;
  options.keep_log_file_num = 4;
  options.info_log_level = rocksdb::InfoLogLevel::WARN_LEVEL;
  return options;
}

std::vector<rocksdb::ColumnFamilyDescriptor> wanted_columns() {
  const auto cache = rocksdb::NewLRUCache(16 * mebibyte);
  std::vector<rocksdb::ColumnFamilyDescriptor> out;
  out.emplace_back(rocksdb::kDefaultColumnFamilyName, column_options(cache));
  for (const char* name : column_names)
    out.emplace_back(name, column_options(cache));
  return out;
}

tl::unexpected<error> database_failure(const std::string& attempt, const rocksdb::Status& status) {
  const std::string what = "cannot " + attempt + ": " + status.ToString();
  if (status.IsNoSpace())
    return fail(errc::storage_full, what, "the disk or the quota is full",
                "free space there, then restart");
  if (status.IsCorruption())
    return fail(errc::corrupt, what, "the disk returned other bytes than were written",
                "restore the data folder from a copy and check the disk");
  return fail(errc::storage, what, "the disk or its permissions refused",
              "check the path, its mode and the system log, then restart");
}

tl::unexpected<error> opening_failure(const std::string& folder, const rocksdb::Status& status) {
  if (!is_damage(status)) return database_failure("open the database in " + folder, status);
  const std::string said = status.ToString();
  return fail(errc::corrupt,
              "the database in " + folder + " refuses to open: " + said + suspects(folder, said),
              "a file was damaged, exchanged or removed; a crash leaves none so", damage_advice);
}

}  // namespace troupe::storage
