#include "gpu/torch/cached_attention.hpp"

#include <algorithm>
#include <cmath>

#include "gpu/parallel.hpp"

namespace troupe::gpu {
namespace {

using kernels::cache_page;

constexpr std::size_t group_rows_max = 8;

/// Pages whose last position a row sees.
std::size_t whole_pages(const decoder_row& row) {
  return (row.position + 1) / cache_page;
}

std::size_t common_pages(const decoder_row& a, const decoder_row& b) {
  const std::size_t most = std::min(whole_pages(a), whole_pages(b));
  const float* const* const pages = a.cache->addresses();
  return static_cast<std::size_t>(std::mismatch(pages, pages + most, b.cache->addresses()).first -
                                  pages);
}

/// What threads reuse from task to task.
struct attention_room {
  std::vector<kernels::cached_query> queries;
  std::vector<float> scratch;
};

void attend(const model_config& model, const row_group& group, std::size_t offset, const float* q,
            float* out, attention_room& room) {
  const std::size_t dim = model.head_dim;
  const std::size_t heads = model.num_heads / model.num_kv_heads;
  kernels::cached_attention_task task;
  room.queries.clear();
  for (std::size_t i = 0; i < group.rows.size(); ++i) {
    const decoder_row& row = group.rows[i];
    const std::size_t at = i * model.num_heads * dim;
    for (std::size_t head = 0; head < heads; ++head)
      room.queries.push_back(
          {q + at + head * dim, out + at + head * dim, row.position + 1, row.cache->addresses()});
    task.scratch_stride =
        std::max(task.scratch_stride, page_pool::pages_for(row.position + 1) * cache_page);
  }
  room.scratch.resize(std::max(room.scratch.size(), room.queries.size() * task.scratch_stride));
  task.head_dim = dim;
  task.scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(dim)));
  task.offset = offset;
  task.queries = room.queries.data();
  task.num_queries = room.queries.size();
  task.num_shared_pages = group.num_shared_pages;
  task.scratch = room.scratch.data();
  kernels::for_this_cpu().cached_attention(task);
}

}  // namespace

std::vector<row_group> group_by_pages(std::span<const decoder_row> rows) {
  std::vector<row_group> groups;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (!groups.empty() && groups.back().rows.size() < group_rows_max) {
      row_group& last = groups.back();
      const std::size_t common = common_pages(last.rows.front(), rows[i]);
      // One that shares less would take from what the others share.
      const bool is_alone = last.rows.size() == 1;
      if (common > 0 && (is_alone || common >= last.num_shared_pages)) {
        last.rows = rows.subspan(last.first, last.rows.size() + 1);
        last.num_shared_pages = is_alone ? common : last.num_shared_pages;
        continue;
      }
    }
    groups.push_back({rows.subspan(i, 1), i, 0});
  }
  return groups;
}

void cached_attention(const model_config& model, std::uint32_t block,
                      std::span<const row_group> groups, const float* q, float* out) {
  const std::size_t key_heads = model.num_kv_heads;
  const std::size_t width = std::size_t{model.num_heads} * model.head_dim;
  for_ranges(groups.size() * key_heads, 1, [&](std::size_t begin, std::size_t end) {
    attention_room room;
    for (std::size_t task = begin; task < end; ++task) {
      const row_group& group = groups[task / key_heads];
      const std::size_t head = task % key_heads;
      const std::size_t at = group.first * width + head * width / key_heads;
      attend(model, group, offset_in_page(model, block, head), q + at, out + at, room);
    }
  });
}

}  // namespace troupe::gpu
