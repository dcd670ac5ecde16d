#include "storage/arc_delta.hpp"

#include <algorithm>
#include <utility>
#include <vector>

#include "config/limits.hpp"
#include "storage/posix/arc_shard.hpp"
#include "storage/posix/folder_draft.hpp"

namespace troupe::storage {
namespace {

using posix::arc_shard;
using posix::byte_vector;
using posix::folder_draft;

bool is_shard(const std::string& name) {
  return name.ends_with(".safetensors");
}

tl::unexpected<error> misfit(const std::string& what) {
  return fail(errc::invalid_argument, what, "the directories are of different models",
              "use the directories of one model, with the same files and tensors");
}

result<std::vector<std::string>> shards_of(const std::string& directory) {
  auto names = posix::list_directory(directory);
  if (!names) return fail(names.error());
  std::erase_if(*names, [](const std::string& name) { return !is_shard(name); });
  std::ranges::sort(*names);
  if (names->empty()) return misfit(directory + " holds no safetensors file");
  return std::move(*names);
}

result<std::vector<std::string>> common_shards(const std::string& a, const std::string& b) {
  auto left = shards_of(a);
  if (!left) return left;
  const auto right = shards_of(b);
  if (!right) return fail(right.error());
  if (*left != *right) return misfit(a + " and " + b + " hold different shards");
  return left;
}

result<void> copy_others(const std::string& from, folder_draft& to) {
  const auto names = posix::list_directory(from);
  if (!names) return fail(names.error());
  for (const std::string& name : *names) {
    if (is_shard(name)) continue;
    const auto text = posix::read_text(from + "/" + name, limits::model_companion_file_bytes_max);
    if (!text) return fail(text.error());
    if (auto ok = to.write_file(name, *text); !ok) return ok;
  }
  return {};
}

/// Both shards hold tensors of the same names.
result<void> check_tensors(const arc_shard& a, const arc_shard& b) {
  for (const safetensors_entry& tensor : a.tensors()) {
    if (b.find(tensor.name) == nullptr) return misfit(b.path() + " lacks tensor " + tensor.name);
  }
  if (a.tensors().size() != b.tensors().size())
    return misfit(b.path() + " holds other tensors than " + a.path());
  return {};
}

result<void> write_difference(const arc_shard& before, const arc_shard& after,
                              const std::string& name, folder_draft& draft, arc_summary& sums) {
  if (auto ok = check_tensors(before, after); !ok) return ok;
  std::vector<safetensors_entry> entries;
  std::vector<std::pair<std::string, std::string>> checksums;
  byte_vector data;
  for (const safetensors_entry& tensor : before.tensors()) {
    const safetensors_entry& next = *after.find(tensor.name);
    if (next.type != tensor.type || next.shape != tensor.shape)
      return misfit("tensor " + tensor.name + " has another type or shape in " + after.path());
    const auto from = before.read(tensor);
    if (!from) return fail(from.error());
    const auto to = after.read(next);
    if (!to) return fail(to.error());
    const auto difference = posix::arc_difference(*from, *to);
    if (!difference) return fail(difference.error());
    const std::uint64_t begin = data.size();
    data.insert(data.end(), difference->begin(), difference->end());
    entries.push_back({tensor.name, "U8", {difference->size()}, begin, data.size()});
    checksums.emplace_back(tensor.name, posix::arc_checksum(*to));
    ++sums.tensors;
    sums.bytes += to->size();
  }
  sums.delta_bytes += data.size();
  const auto header = write_safetensors_header(entries, checksums);
  if (!header) return fail(header.error());
  const auto file = draft.create_file(name);
  if (!file) return fail(file.error());
  const std::string path = draft.path_of(name);
  auto written = posix::write_all(*file, std::as_bytes(std::span(*header)), path);
  if (written) written = posix::write_all(*file, data, path);
  if (written) written = posix::sync_data(*file, path);
  return written;
}

result<void> write_applied(const arc_shard& before, const arc_shard& delta, const std::string& name,
                           folder_draft& draft, arc_summary& sums) {
  if (!delta.is_delta())
    return fail(errc::invalid_argument, delta.path() + " is no arc_v2 delta",
                "its tensors are weights, or their checksums are missing",
                "give the directory of a delta");
  if (auto ok = check_tensors(before, delta); !ok) return ok;
  const auto file = draft.create_file(name);
  if (!file) return fail(file.error());
  const std::string path = draft.path_of(name);
  const auto beginning = before.beginning();
  if (!beginning) return fail(beginning.error());
  if (auto ok = posix::write_all(*file, *beginning, path); !ok) return ok;
  for (const safetensors_entry& tensor : before.tensors()) {
    auto from = before.read(tensor);
    if (!from) return fail(from.error());
    const auto difference = delta.read(*delta.find(tensor.name));
    if (!difference) return fail(difference.error());
    const auto to = posix::arc_apply(std::move(*from), *difference,
                                     delta.metadata().at(tensor.name), tensor.name);
    if (!to) return fail(to.error());
    if (auto ok = posix::write_all(*file, *to, path); !ok) return ok;
    ++sums.tensors;
    sums.bytes += to->size();
    sums.delta_bytes += difference->size();
  }
  return posix::sync_data(*file, path);
}

using shard_step = result<void> (*)(const arc_shard&, const arc_shard&, const std::string&,
                                    folder_draft&, arc_summary&);

result<arc_summary> for_shards(const std::string& before, const std::string& other,
                               const std::string& others_from, const std::string& target,
                               shard_step step) {
  const auto names = common_shards(before, other);
  if (!names) return fail(names.error());
  auto draft = folder_draft::create(target);
  if (!draft) return fail(draft.error());
  arc_summary sums;
  for (const std::string& name : *names) {
    const auto left = arc_shard::open(before + "/" + name);
    if (!left) return fail(left.error());
    const auto right = arc_shard::open(other + "/" + name);
    if (!right) return fail(right.error());
    if (auto ok = step(*left, *right, name, *draft, sums); !ok) return fail(ok.error());
    ++sums.files;
  }
  if (auto ok = copy_others(others_from, *draft); !ok) return fail(ok.error());
  if (auto ok = draft->publish(); !ok) return fail(ok.error());
  return sums;
}

}  // namespace

result<arc_summary> write_arc_delta(const std::string& before, const std::string& after,
                                    const std::string& target) {
  return for_shards(before, after, after, target, write_difference);
}

result<arc_summary> apply_arc_delta(const std::string& before, const std::string& delta,
                                    const std::string& target) {
  return for_shards(before, delta, before, target, write_applied);
}

}  // namespace troupe::storage
