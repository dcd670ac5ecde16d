#include "apps/gateway/checkpoint_search.hpp"

#include <optional>

#include "config/deadlines.hpp"

namespace troupe::gateway {
namespace {

bool is_wanted(const checkpoint_manifest& manifest, checkpoint_kind kind, const std::string& name) {
  const bool wants_sampler = kind != checkpoint_kind::training;
  const bool is_sampler = manifest.kind == checkpoint_kind::sampler_base ||
                          manifest.kind == checkpoint_kind::sampler_delta;
  const bool fits = wants_sampler ? is_sampler : manifest.kind == checkpoint_kind::training;
  return fits && manifest.name == name;
}

}  // namespace

void find_checkpoint(cluster_link& link, const run_id& run, checkpoint_kind kind,
                     const std::string& name, std::function<void(result<checkpoint_record>)> then) {
  link.ask_store<checkpoint_list>(
      deadlines::store, list_checkpoints_request{run},
      [run, kind, name, then = std::move(then)](result<checkpoint_list> list) {
        if (!list) return then(fail(list.error()));
        std::optional<checkpoint_record> found;
        for (checkpoint_record& record : list->records) {
          const bool is_newer = !found || record.manifest.seq_id > found->manifest.seq_id;
          if (is_newer && is_wanted(record.manifest, kind, name)) found = std::move(record);
        }
        if (found) return then(std::move(*found));
        then(fail(errc::not_found, "there are no weights '" + name + "' of " + run.value,
                  "the name is mistyped, or they were never saved",
                  "use a path that save_state or save_weights_for_sampler answered"));
      });
}

}  // namespace troupe::gateway
