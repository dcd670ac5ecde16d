// troupe checkpoint list|lineage|export (and what checkpoint_care.cpp adds): the durable states of
// a running cluster.

#include <filesystem>
#include <sstream>

#include "apps/support/checkpoint_export.hpp"
#include "apps/troupe/commands/all.hpp"
#include "apps/troupe/commands/checkpoint_parts.hpp"
#include "storage/open_store.hpp"

namespace troupe::apps {
namespace {

constexpr std::size_t short_id = 12;

struct checkpoint_options {
  std::string run;
  std::string id;
  std::string directory;
};

std::string line_of(const checkpoint_record& record) {
  const checkpoint_manifest& m = record.manifest;
  std::ostringstream out;
  out << record.id.value.substr(0, short_id) << "  " << m.run.value << "  step " << m.step << "  "
      << (m.folds.empty() ? name_of(m.kind) : "folded") << "  " << total_bytes(m) << " bytes";
  if (!m.name.empty()) out << "  " << m.name;
  if (!m.parent.empty()) out << "  from " << m.parent.value.substr(0, short_id);
  return out.str();
}

boost::json::object object_of(const checkpoint_record& record) {
  const checkpoint_manifest& m = record.manifest;
  return {{"checkpoint", record.id.value},
          {"run", m.run.value},
          {"kind", m.folds.empty() ? name_of(m.kind) : "folded"},
          {"name", m.name},
          {"step", m.step},
          {"parent", m.parent.value},
          {"state", to_hex(m.state)},
          {"bytes", total_bytes(m)},
          {"depth", m.depth},
          {"created_unix_ms", m.created_unix_ms}};
}

void show(const command_context& context, const std::vector<checkpoint_record>& records) {
  std::string text;
  boost::json::array list;
  for (const checkpoint_record& record : records) {
    if (!text.empty()) text += '\n';
    text += line_of(record);
    list.push_back(object_of(record));
  }
  context.answer(text.empty() ? "none" : text, {{"checkpoints", std::move(list)}});
}

result<void> list(const command_context& context, const checkpoint_options& wanted) {
  auto cluster = context.connect();
  if (!cluster) return fail(cluster.error());
  const auto found = cluster->checkpoints(run_id{wanted.run});
  if (!found) return fail(found.error());
  show(context, found->records);
  return {};
}

result<void> lineage(const command_context& context, const checkpoint_options& wanted) {
  auto cluster = context.connect();
  if (!cluster) return fail(cluster.error());
  std::vector<checkpoint_record> ancestors;
  for (std::string next = wanted.id; !next.empty();) {
    auto record = cluster->checkpoint(next);
    // What it was made from may be forgotten by now.
    if (!record && record.error().code == errc::not_found && !ancestors.empty()) break;
    if (!record) return fail(record.error());
    next = record->manifest.parent.value;
    ancestors.push_back(std::move(*record));
  }
  show(context, ancestors);
  return {};
}

result<void> export_to(const command_context& context, const checkpoint_options& wanted) {
  auto cluster = context.connect();
  if (!cluster) return fail(cluster.error());
  const auto chain = chain_of(*cluster, wanted.id);
  if (!chain) return fail(chain.error());
  auto blobs = storage::open_posix_blob_store(cluster->storage_root());
  if (!blobs) return fail(blobs.error());
  std::error_code problem;
  const std::string target = std::filesystem::absolute(wanted.directory, problem).string();
  if (auto ok = export_checkpoint(**blobs, *chain, target); !ok) return ok;
  context.answer("exported to " + target,
                 {{"checkpoint", chain->back().id.value}, {"directory", target}});
  return {};
}

}  // namespace

void add_checkpoint(CLI::App& program, command_context& context, command_action& chosen) {
  CLI::App* group = program.add_subcommand("checkpoint", "durable states of a running cluster");
  group->require_subcommand(1);
  const auto wanted = std::make_shared<checkpoint_options>();
  CLI::App* listing = group->add_subcommand("list", "all, or those of one run");
  listing->add_option("run", wanted->run, "its name");
  set_action(*listing, context, chosen, [&context, wanted] { return list(context, *wanted); });
  CLI::App* ancestry = group->add_subcommand("lineage", "what a checkpoint was made from");
  ancestry->add_option("checkpoint", wanted->id, checkpoint_help)->required();
  set_action(*ancestry, context, chosen, [&context, wanted] { return lineage(context, *wanted); });
  CLI::App* exporting = group->add_subcommand("export", "write a Hugging Face directory");
  exporting->alias("materialize");
  exporting->add_option("checkpoint", wanted->id, checkpoint_help)->required();
  exporting->add_option("directory", wanted->directory, "must not exist")->required();
  set_action(*exporting, context, chosen,
             [&context, wanted] { return export_to(context, *wanted); });
  add_checkpoint_care(*group, context, chosen);
}

}  // namespace troupe::apps
