// troupe checkpoint gc|remove|verify|diff: what is kept, whether it is whole, and what changed.

#include <iomanip>
#include <sstream>

#include "apps/support/checkpoint_diff.hpp"
#include "apps/troupe/commands/all.hpp"
#include "apps/troupe/commands/checkpoint_parts.hpp"
#include "config/deadlines.hpp"
#include "storage/open_store.hpp"

namespace troupe::apps {
namespace {

struct care_options {
  std::string id;
  std::string other;
  bool dry_run = false;
  std::uint64_t sampler_age_s =
      static_cast<std::uint64_t>(deadlines::sampler_checkpoint_kept.count());
};

result<void> collect(const command_context& context, const care_options& wanted) {
  auto cluster = context.connect();
  if (!cluster) return fail(cluster.error());
  const auto report = cluster->collect_garbage({wanted.dry_run, wanted.sampler_age_s});
  if (!report) return fail(report.error());
  std::ostringstream text;
  boost::json::array items;
  for (const garbage_item& item : report->checkpoints) {
    text << item.checkpoint.value.substr(0, 12) << "  " << item.run.value << "  step " << item.step
         << "  " << name_of(item.kind) << "  " << item.bytes << " bytes\n";
    items.push_back(boost::json::object{{"checkpoint", item.checkpoint.value},
                                        {"run", item.run.value},
                                        {"kind", name_of(item.kind)},
                                        {"step", item.step},
                                        {"bytes", item.bytes}});
  }
  text << report->checkpoints.size() << (wanted.dry_run ? " would be" : "") << " forgotten, "
       << report->kept_checkpoints << " kept; " << report->removed_files << " files removed ("
       << report->removed_bytes << " bytes), " << report->dying_files << " later ("
       << report->dying_bytes << " bytes)";
  context.answer(text.str(), {{"dry_run", wanted.dry_run},
                              {"checkpoints", std::move(items)},
                              {"kept_checkpoints", report->kept_checkpoints},
                              {"removed_files", report->removed_files},
                              {"removed_bytes", report->removed_bytes},
                              {"dying_files", report->dying_files},
                              {"dying_bytes", report->dying_bytes}});
  return {};
}

result<void> remove(const command_context& context, const care_options& wanted) {
  auto cluster = context.connect();
  if (!cluster) return fail(cluster.error());
  const auto record = cluster->checkpoint(wanted.id);
  if (!record) return fail(record.error());
  if (auto ok = cluster->remove_checkpoint(record->id); !ok) return ok;
  context.answer("forgotten: " + record->id.value, {{"checkpoint", record->id.value}});
  return {};
}

/// Every file of the chain against its name, and the state they give against the record's.
result<void> verify(const command_context& context, const care_options& wanted) {
  auto cluster = context.connect();
  if (!cluster) return fail(cluster.error());
  auto chain = chain_of(*cluster, wanted.id);
  if (!chain) return fail(chain.error());
  auto blobs = storage::open_posix_blob_store(cluster->storage_root());
  if (!blobs) return fail(blobs.error());
  std::uint64_t bytes = 0;
  std::uint64_t files = 0;
  for (const checkpoint_record& record : *chain) {
    for (const checkpoint_file& file : record.manifest.files) {
      if (auto ok = (*blobs)->verify(file.blob); !ok) return ok;
      bytes += file.bytes;
      ++files;
    }
  }
  if (auto opened = open_checkpoint(**blobs, *chain); !opened) return fail(opened.error());
  const checkpoint_record& last = chain->back();
  context.answer(last.id.value.substr(0, 12) + " is whole: " + std::to_string(files) + " files, " +
                     std::to_string(bytes) + " bytes",
                 {{"checkpoint", last.id.value},
                  {"state", to_hex(last.manifest.state)},
                  {"chain", chain->size()},
                  {"files", files},
                  {"bytes", bytes}});
  return {};
}

void show(const command_context& context, const std::vector<tensor_difference>& all) {
  std::ostringstream text;
  boost::json::array tensors;
  std::uint64_t elements = 0;
  std::uint64_t changed = 0;
  for (const tensor_difference& one : all) {
    elements += one.elements;
    changed += one.changed;
    if (one.changed == 0) continue;
    text << one.parameter << "  " << std::setprecision(3)
         << 100.0 * static_cast<double>(one.changed) / static_cast<double>(one.elements) << " % of "
         << one.elements << "  largest " << one.largest << "  relative " << one.relative << '\n';
    tensors.push_back(boost::json::object{{"parameter", one.parameter},
                                          {"elements", one.elements},
                                          {"changed", one.changed},
                                          {"largest", one.largest},
                                          {"relative", one.relative}});
  }
  text << changed << " of " << elements << " elements differ";
  context.answer(text.str(),
                 {{"elements", elements}, {"changed", changed}, {"tensors", std::move(tensors)}});
}

result<void> diff(const command_context& context, const care_options& wanted) {
  auto cluster = context.connect();
  if (!cluster) return fail(cluster.error());
  auto blobs = storage::open_posix_blob_store(cluster->storage_root());
  if (!blobs) return fail(blobs.error());
  const auto open = [&](const std::string& id) -> result<std::unique_ptr<checkpoint_tensors>> {
    auto chain = chain_of(*cluster, id);
    if (!chain) return fail(chain.error());
    return open_checkpoint(**blobs, *chain);
  };
  auto first = open(wanted.id);
  if (!first) return fail(first.error());
  auto second = open(wanted.other);
  if (!second) return fail(second.error());
  const auto all = compare_checkpoints(**first, **second);
  if (!all) return fail(all.error());
  show(context, *all);
  return {};
}

}  // namespace

result<std::vector<checkpoint_record>> chain_of(client::service_client& cluster,
                                                const std::string& id) {
  const auto record = cluster.checkpoint(id);
  if (!record) return fail(record.error());
  auto chain = cluster.checkpoint_chain(record->id);
  if (!chain) return fail(chain.error());
  return std::move(chain->records);
}

void add_checkpoint_care(CLI::App& group, command_context& context, command_action& chosen) {
  const auto wanted = std::make_shared<care_options>();
  CLI::App* gc = group.add_subcommand("gc", "forget what nothing needs, and remove its files");
  gc->add_flag("--dry-run", wanted->dry_run, "only say what would go");
  gc->add_option("--sampler-age", wanted->sampler_age_s,
                 "keep unnamed sampler checkpoints for so many seconds")
      ->capture_default_str();
  set_action(*gc, context, chosen, [&context, wanted] { return collect(context, *wanted); });
  CLI::App* removing = group.add_subcommand("remove", "forget one that nothing needs");
  removing->add_option("checkpoint", wanted->id, checkpoint_help)->required();
  set_action(*removing, context, chosen, [&context, wanted] { return remove(context, *wanted); });
  CLI::App* verifying = group.add_subcommand("verify", "read every file and check every digest");
  verifying->add_option("checkpoint", wanted->id, checkpoint_help)->required();
  set_action(*verifying, context, chosen, [&context, wanted] { return verify(context, *wanted); });
  CLI::App* comparing = group.add_subcommand("diff", "which parameters changed, and by how much");
  comparing->add_option("first", wanted->id, checkpoint_help)->required();
  comparing->add_option("second", wanted->other, checkpoint_help)->required();
  set_action(*comparing, context, chosen, [&context, wanted] { return diff(context, *wanted); });
}

}  // namespace troupe::apps
