// troupe doctor: what on this machine would keep a cluster from running.

#include <filesystem>

#include <sys/statvfs.h>
#include <unistd.h>

#include "apps/support/tls_authority.hpp"
#include "apps/troupe/commands/all.hpp"
#include "apps/troupe/launcher.hpp"
#include "apps/troupe/local_cluster.hpp"
#include "storage/open_store.hpp"
#include "storage/posix/data_folder.hpp"

namespace troupe::apps {
namespace {

constexpr std::uint64_t disk_bytes_wanted = 1ULL << 30U;

struct finding {
  std::string name;
  std::string problem;  ///< empty: fine
};

finding check_node_program() {
  const auto program = find_node_program();
  return {"troupe-node", program ? "" : to_string(program.error())};
}

finding check_keys() {
  const auto folder = make_scratch_folder();
  if (!folder) return {"temporary folder", to_string(folder.error())};
  const auto made = prepare_tls(*folder);
  std::error_code ignored;
  std::filesystem::remove_all(*folder, ignored);
  return {"certificates", made ? "" : to_string(made.error())};
}

finding check_disk(const std::string& folder) {
  std::error_code ignored;
  std::filesystem::path path = std::filesystem::absolute(folder, ignored);
  while (!std::filesystem::exists(path, ignored) && path.has_relative_path())
    path = path.parent_path();
  if (::access(path.c_str(), W_OK) != 0) return {"data folder", path.string() + " is read-only"};
  struct statvfs space {};
  if (::statvfs(path.c_str(), &space) != 0) return {"data folder", "cannot ask for free space"};
  const std::uint64_t free_bytes = std::uint64_t{space.f_bavail} * space.f_frsize;
  if (free_bytes < disk_bytes_wanted) return {"data folder", "less than 1 GiB is free"};
  return {"data folder", ""};
}

finding check_contents(const std::string& folder) {
  std::error_code ignored;
  const auto whole =
      storage::check_data_folder(std::filesystem::absolute(folder, ignored).string());
  return {"contents of the data folder", whole ? "" : to_string(whole.error())};
}

/// Reads every blob; only while no cluster runs on it does a missing one mean anything.
finding check_blobs(const std::string& folder) {
  std::error_code ignored;
  if (!std::filesystem::exists(folder + "/blobs", ignored)) return {"blobs", ""};
  const auto blobs = storage::open_posix_blob_store(folder);
  if (!blobs) return {"blobs", to_string(blobs.error())};
  const auto all = (*blobs)->list();
  if (!all) return {"blobs", to_string(all.error())};
  std::string damaged;
  for (const auto& each : *all) {
    if (const auto ok = (*blobs)->verify(each.blob); !ok) damaged += ok.error().what + "; ";
  }
  return {std::to_string(all->size()) + " blobs", damaged};
}

/// Reads every table of the database; one that a cluster runs on is left alone.
finding check_database(const std::string& folder) {
  std::error_code ignored;
  if (!std::filesystem::exists(folder + "/db/CURRENT", ignored)) return {"database", ""};
  const auto read =
      storage::check_rocksdb_store(std::filesystem::absolute(folder, ignored).string());
  if (!read && read.error().code == errc::in_use) return {"database: in use, not read", ""};
  return {"database", read ? "" : to_string(read.error())};
}

result<void> examine(const command_context& context) {
  std::string text;
  boost::json::array list;
  std::size_t problems = 0;
  for (const finding& each :
       {check_node_program(), check_keys(), check_disk(context.data_folder),
        check_contents(context.data_folder), check_database(context.data_folder),
        check_blobs(context.data_folder)}) {
    text += (each.problem.empty() ? "ok    " : "wrong ") + each.name;
    text += each.problem.empty() ? "\n" : ": " + each.problem + "\n";
    list.push_back(boost::json::object{{"check", each.name}, {"problem", each.problem}});
    problems += each.problem.empty() ? 0 : 1;
  }
  context.answer(text + (problems == 0 ? "a cluster can run here" : "see above"),
                 {{"checks", std::move(list)}, {"problems", problems}});
  if (problems > 0) {
    return fail(errc::unsupported, std::to_string(problems) + " checks failed", "",
                "correct what is marked as wrong");
  }
  return {};
}

}  // namespace

void add_doctor(CLI::App& program, command_context& context, command_action& chosen) {
  CLI::App* command = program.add_subcommand("doctor", "check this machine");
  set_action(*command, context, chosen, [&context] { return examine(context); });
}

}  // namespace troupe::apps
