#include "storage/checkpoint_catalog.hpp"

#include <algorithm>
#include <utility>

#include "config/limits.hpp"
#include "storage/keys.hpp"
#include "storage/record.hpp"
#include "storage/sha256.hpp"

namespace troupe::storage {

namespace {

constexpr std::size_t prefix_digits_min = 6;
constexpr std::string_view index_name = "checkpoints-of";
constexpr std::string_view files_name = "files";
constexpr std::string_view removed_name = "removed";
constexpr std::string_view folded_name = "folded";

std::string fold_key(const checkpoint_id& folded) {
  return ended(folded_name) + folded.value;
}

std::string index_key(const checkpoint_manifest& manifest, const checkpoint_id& id) {
  return ended(index_name) + ended(manifest.run.value) + big_endian(manifest.step) +
         static_cast<char>(manifest.kind) + id.value;
}

tl::unexpected<error> contradiction(const std::string& what) {
  return fail(errc::invalid_argument, "the checkpoint cannot be recorded: " + what,
              "its maker saw another lineage than the one stored here",
              "publish a base checkpoint, which depends on no other");
}

result<checkpoint_record> decode(std::string_view id, std::string_view value) {
  const auto bytes = std::as_bytes(std::span(value));
  if (sha256_hex(bytes) != id)
    return fail(errc::corrupt, "the record of checkpoint " + std::string(id) + " fails its digest",
                "the disk returned other bytes than were written",
                "restore the data folder from a copy and check the disk");
  auto manifest = decode_record<checkpoint_manifest>(value);
  if (!manifest) return fail(manifest.error());
  return checkpoint_record{checkpoint_id{std::string(id)}, std::move(*manifest)};
}

/// A delta continues exactly where its parent ends.
result<void> check_delta(const checkpoint_manifest& delta, const checkpoint_record& parent) {
  const bool from_base = parent.manifest.kind == checkpoint_kind::sampler_base;
  if (!from_base && parent.manifest.kind != checkpoint_kind::sampler_delta)
    return contradiction("a delta needs a sampler checkpoint as its parent");
  if (delta.base != (from_base ? parent.id : parent.manifest.base))
    return contradiction("its base is not its parent's");
  if (delta.depth != parent.manifest.depth + 1 || delta.depth > limits::delta_depth_max)
    return contradiction("depth " + std::to_string(delta.depth) +
                         " does not follow a parent of depth " +
                         std::to_string(parent.manifest.depth));
  if (delta.parent_state != parent.manifest.state)
    return contradiction("it applies to state " + to_hex(delta.parent_state) +
                         " but its parent holds " + to_hex(parent.manifest.state));
  return {};
}

result<void> check_blobs(blob_store& blobs, const checkpoint_manifest& manifest) {
  for (const checkpoint_file& file : manifest.files) {
    const auto found = blobs.info(file.blob);
    if (!found && found.error().code != errc::not_found) return fail(found.error());
    if (!found || found->bytes != file.bytes)
      return fail(errc::corrupt,
                  "checkpoint file " + file.blob.value +
                      (found ? " has " + std::to_string(found->bytes) + " bytes, not " +
                                   std::to_string(file.bytes)
                             : " is missing"),
                  "rank " + std::to_string(file.rank) + " did not finish writing it",
                  "save the checkpoint again");
  }
  return {};
}

bool is_prefix(std::string_view text) {
  return text.size() >= prefix_digits_min && text.size() <= 64 &&
         text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

}  // namespace

std::string file_refs_name(const blob_id& blob) {
  return ended(files_name) + blob.value;
}

put_entry file_ref(const blob_id& blob, const checkpoint_id& checkpoint) {
  return {column::refs, ended(file_refs_name(blob)) + checkpoint.value, {}};
}

write_batch forgetting(const checkpoint_record& record) {
  const checkpoint_manifest& m = record.manifest;
  write_batch batch;
  batch.puts.push_back({column::refs, ended(removed_name) + record.id.value, {}});
  batch.erases.push_back({column::checkpoints, record.id.value});
  batch.erases.push_back({column::refs, index_key(m, record.id)});
  batch.erases.push_back({column::refs, fold_key(m.folds.empty() ? record.id : m.folds)});
  if (!m.parent.empty())
    batch.erases.push_back({column::edges, ended(m.parent.value) + record.id.value});
  for (const checkpoint_file& file : m.files)
    batch.erases.push_back({column::refs, file_ref(file.blob, record.id).key});
  return batch;
}

result<checkpoint_id> identity_of(const checkpoint_manifest& manifest) {
  const auto frame = wire::encode(manifest);
  if (!frame) return fail(frame.error());
  return checkpoint_id{sha256_hex(frame->bytes())};
}

checkpoint_catalog::checkpoint_catalog(key_value_store& values, blob_store& blobs)
    : values_(values), blobs_(blobs) {}

result<checkpoint_record> checkpoint_catalog::commit(const checkpoint_manifest& manifest) {
  auto value = encode_record(manifest);
  if (!value) return fail(value.error());
  checkpoint_record record{checkpoint_id{sha256_hex(std::as_bytes(std::span(*value)))}, manifest};
  const auto known = values_.get(column::checkpoints, record.id.value);
  if (!known) return fail(known.error());
  if (known->has_value()) return record;
  if (!manifest.folds.empty()) {
    auto earlier = fold_of(manifest.folds);
    if (!earlier) return fail(earlier.error());
    if (earlier->has_value()) return std::move(**earlier);
  }
  if (const auto ok = check_lineage(manifest); !ok) return fail(ok.error());
  if (const auto ok = check_blobs(blobs_, manifest); !ok) return fail(ok.error());
  write_batch batch;
  if (!manifest.parent.empty())
    batch.puts.push_back({column::edges, ended(manifest.parent.value) + record.id.value, {}});
  batch.puts.push_back({column::refs, index_key(manifest, record.id), record.id.value});
  for (const checkpoint_file& file : manifest.files)
    batch.puts.push_back(file_ref(file.blob, record.id));
  if (!manifest.folds.empty())
    batch.puts.push_back({column::refs, fold_key(manifest.folds), record.id.value});
  batch.puts.push_back({column::checkpoints, record.id.value, std::move(*value)});
  if (const auto written = values_.write(batch); !written) return fail(written.error());
  return record;
}

result<void> checkpoint_catalog::check_lineage(const checkpoint_manifest& manifest) {
  const bool is_delta = manifest.kind == checkpoint_kind::sampler_delta;
  if (!is_delta && (!manifest.base.empty() || manifest.depth != 0))
    return contradiction("only a delta has a base and a depth");
  if (manifest.parent.empty()) {
    if (is_delta) return contradiction("a delta needs a parent");
    return {};
  }
  const auto parent = find(manifest.parent);
  if (!parent) return fail(parent.error());
  if (!parent->has_value()) {
    const auto removed = values_.get(column::refs, ended(removed_name) + manifest.parent.value);
    if (!removed) return fail(removed.error());
    if (removed->has_value() && !is_delta) return {};
    return contradiction("its parent " + manifest.parent.value + " is not recorded");
  }
  if (!is_delta) return {};
  if (const auto ok = check_delta(manifest, **parent); !ok) return ok;
  return manifest.folds.empty() ? result<void>{} : check_fold(manifest);
}

/// A folded delta starts at the base and ends where what it replaces does.
result<void> checkpoint_catalog::check_fold(const checkpoint_manifest& manifest) {
  const auto target = find(manifest.folds);
  if (!target) return fail(target.error());
  if (!target->has_value()) return contradiction("what it folds is not recorded");
  const checkpoint_manifest& folded = (*target)->manifest;
  if (folded.kind != checkpoint_kind::sampler_delta || !folded.folds.empty() ||
      folded.base != manifest.base || manifest.parent != manifest.base)
    return contradiction("it folds a checkpoint of another chain");
  if (folded.state != manifest.state)
    return contradiction("it gives another state than the checkpoint it folds");
  return {};
}

result<std::optional<checkpoint_record>> checkpoint_catalog::fold_of(
    const checkpoint_id& checkpoint) {
  const auto id = values_.get(column::refs, fold_key(checkpoint));
  if (!id) return fail(id.error());
  if (!id->has_value()) return std::optional<checkpoint_record>{};
  return find(checkpoint_id{**id});
}

result<std::optional<checkpoint_record>> checkpoint_catalog::find(const checkpoint_id& id) {
  const auto value = values_.get(column::checkpoints, id.value);
  if (!value) return fail(value.error());
  if (!value->has_value()) return std::optional<checkpoint_record>{};
  auto record = decode(id.value, **value);
  if (!record) return fail(record.error());
  return std::optional<checkpoint_record>{std::move(*record)};
}

result<checkpoint_record> checkpoint_catalog::get(std::string_view id_or_prefix) {
  const std::string prefix(id_or_prefix);
  if (!is_prefix(prefix))
    return fail(errc::invalid_argument, "'" + prefix.substr(0, 80) + "' is no checkpoint id",
                "an id is 64 hexadecimal digits, and its first 6 are enough where they are unique",
                "list the checkpoints to find the id");
  std::vector<std::string> ids;
  const auto scanned = values_.scan(column::checkpoints, prefix, prefix + "g",
                                    [&](std::string_view key, std::string_view) {
                                      ids.emplace_back(key);
                                      return ids.size() < 2;
                                    });
  if (!scanned) return fail(scanned.error());
  if (ids.size() > 1)
    return fail(
        errc::invalid_argument,
        "'" + prefix + "' fits several checkpoints, among them " + ids[0] + " and " + ids[1],
        "the prefix is too short", "give more digits");
  auto record = ids.empty() ? std::optional<checkpoint_record>{} : find(checkpoint_id{ids[0]});
  if (!record) return fail(record.error());
  if (record->has_value()) return std::move(**record);
  return fail(errc::not_found, "no checkpoint " + prefix, "it was never committed here",
              "list the checkpoints to find the id");
}

result<std::vector<checkpoint_record>> checkpoint_catalog::list(const run_id& run) {
  const std::string all = ended(index_name);
  const std::string first = run.empty() ? all : all + ended(run.value);
  const std::string last = run.empty() ? behind(index_name) : all + behind(run.value);
  std::vector<checkpoint_id> ids;
  const auto scanned =
      values_.scan(column::refs, first, last, [&](std::string_view, std::string_view id) {
        ids.push_back({std::string(id)});
        return true;
      });
  if (!scanned) return fail(scanned.error());
  std::vector<checkpoint_record> records;
  records.reserve(ids.size());
  for (const checkpoint_id& id : ids) {
    auto record = get(id.value);
    if (!record) return fail(record.error());
    records.push_back(std::move(*record));
  }
  return records;
}

result<void> checkpoint_catalog::visit_ids(const std::function<void(std::string_view)>& visit) {
  return values_.scan(column::refs, ended(index_name), behind(index_name),
                      [&](std::string_view, std::string_view id) {
                        visit(id);
                        return true;
                      });
}

result<std::vector<checkpoint_record>> checkpoint_catalog::chain(const checkpoint_id& checkpoint,
                                                                 chain_form form) {
  auto record = get(checkpoint.value);
  if (!record) return fail(record.error());
  std::vector<checkpoint_record> records;
  records.push_back(std::move(*record));
  while (records.back().manifest.kind == checkpoint_kind::sampler_delta) {
    if (form == chain_form::shortest) {
      auto fold = fold_of(records.back().id);
      if (!fold) return fail(fold.error());
      if (fold->has_value()) records.back() = std::move(**fold);
    }
    auto parent = get(records.back().manifest.parent.value);
    if (!parent) return fail(parent.error());
    records.push_back(std::move(*parent));
  }
  std::reverse(records.begin(), records.end());
  return records;
}

result<std::vector<checkpoint_record>> checkpoint_catalog::lineage(
    const checkpoint_id& checkpoint) {
  std::vector<checkpoint_record> records;
  for (checkpoint_id next = checkpoint; !next.empty();) {
    auto record = get(next.value);
    if (!record && record.error().code == errc::not_found && !records.empty()) break;
    if (!record) return fail(record.error());
    next = record->manifest.parent;
    records.push_back(std::move(*record));
  }
  return records;
}

}  // namespace troupe::storage
