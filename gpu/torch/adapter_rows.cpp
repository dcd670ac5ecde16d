#include "gpu/torch/adapter_rows.hpp"

#include <algorithm>

#include "gpu/kernels/cpu_kernels.hpp"
#include "gpu/models/parameter_layout.hpp"

namespace troupe::gpu {
namespace {

using kernels::panel_columns;
using kernels::panel_rows_max;

/// Rows of one task.
constexpr std::size_t task_rows = 16;

std::size_t num_panels(std::size_t columns) {
  return (columns + panel_columns - 1) / panel_columns;
}

/// Panels of a matrix whose element (k, column) is from[k * k_stride + column * column_stride].
std::vector<float> pack(std::size_t k, std::size_t columns, const float* from, std::size_t k_stride,
                        std::size_t column_stride) {
  std::vector<float> panels(num_panels(columns) * k * panel_columns);
  for (std::size_t panel = 0; panel < num_panels(columns); ++panel) {
    const std::size_t first = panel * panel_columns;
    kernels::for_this_cpu().pack_panel(
        {from + first * column_stride, k, std::min(panel_columns, columns - first), k_stride,
         column_stride},
        panels.data() + panel * k * panel_columns);
  }
  return panels;
}

struct row_block {
  std::size_t rows = 0;
  const float* x = nullptr;
  std::size_t x_stride = 0;
  float* y = nullptr;
  std::size_t y_stride = 0;
};

/// y (+)= x P for packed P [k][columns].
void multiply(const row_block& block, std::size_t k, std::size_t columns, const float* panels,
              write_mode mode) {
  const kernels::cpu_kernels& cpu = kernels::for_this_cpu();
  for (std::size_t panel = 0; panel < num_panels(columns); ++panel) {
    float* const y = block.y + panel * panel_columns;
    const float* addend = mode == write_mode::add ? y : nullptr;
    for (std::size_t done = 0; done < k; done += panel_rows_max) {
      cpu.multiply_panel({block.rows,
                          std::min(panel_rows_max, k - done),
                          std::min(panel_columns, columns - panel * panel_columns),
                          {block.x + done, block.x_stride, 1},
                          panels + (panel * k + done) * panel_columns,
                          addend,
                          y,
                          block.y_stride});
      addend = y;
    }
  }
}

void add_rows(const low_rank_matrix& matrix, const row_block& block) {
  std::vector<float> reduced(block.rows * matrix.rank);
  multiply({block.rows, block.x, block.x_stride, reduced.data(), matrix.rank}, matrix.inputs,
           matrix.rank, matrix.down.data(), write_mode::overwrite);
  multiply({block.rows, reduced.data(), matrix.rank, block.y, block.y_stride}, matrix.rank,
           matrix.outputs, matrix.up.data(), write_mode::add);
}

result<std::vector<float>> read_whole(parameter_source& source, std::uint32_t parameter,
                                      std::uint64_t elements) {
  std::vector<float> out(elements);
  if (auto ok = source.read(state_part::weights, {parameter, 0, elements}, out); !ok)
    return fail(ok.error());
  return out;
}

}  // namespace

torch_adapter::torch_adapter(std::uint64_t number, const model_config& model)
    : model_(model), number_(number) {}

result<std::shared_ptr<const torch_adapter>> torch_adapter::read(std::uint64_t number,
                                                                 const model_config& model,
                                                                 const lora_config& lora,
                                                                 parameter_source& source) {
  auto out = std::make_shared<torch_adapter>(number, model);
  out->places_.resize(parameter_layout(model).size());
  const auto scale = static_cast<float>(lora.alpha / lora.rank);
  for (const adapter& each : adapters_of(model, lora)) {
    auto a = read_whole(source, each.a, lora.rank * each.inputs);
    if (!a) return fail(a.error());
    auto b = read_whole(source, each.b, lora.rank * each.outputs);
    if (!b) return fail(b.error());
    for (float& value : *b)
      value *= scale;
    low_rank_matrix& matrix = out->matrices_.emplace_back();
    matrix.rank = lora.rank;
    matrix.inputs = each.inputs;
    matrix.outputs = each.outputs;
    matrix.down = pack(each.inputs, lora.rank, a->data(), 1, each.inputs);
    matrix.up = pack(lora.rank, each.outputs, b->data(), 1, lora.rank);
    out->num_bytes_ += (matrix.down.size() + matrix.up.size()) * sizeof(float);
    out->places_[each.matrix] = static_cast<std::uint32_t>(out->matrices_.size());
  }
  return out;
}

const low_rank_matrix* torch_adapter::find(std::uint32_t parameter) const {
  const std::uint32_t place = places_[parameter];
  return place == 0 ? nullptr : &matrices_[place - 1];
}

std::vector<adapter_run> adapter_runs(std::span<const torch_adapter* const> rows) {
  std::vector<adapter_run> runs;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (rows[i] == nullptr) continue;
    const bool goes_on = !runs.empty() && runs.back().end == i && runs.back().adapter == rows[i];
    if (!goes_on) runs.push_back({rows[i], i, i});
    runs.back().end = i + 1;
  }
  return runs;
}

void add_low_rank(std::span<const adapter_run> runs, std::uint32_t parameter, const at::Tensor& x,
                  at::Tensor y) {
  if (runs.empty()) return;
  std::vector<adapter_run> tasks;
  for (const adapter_run& run : runs) {
    if (run.adapter->find(parameter) == nullptr) continue;
    for (std::size_t begin = run.begin; begin < run.end; begin += task_rows)
      tasks.push_back({run.adapter, begin, std::min(run.end, begin + task_rows)});
  }
  const std::size_t inputs = extent(x, 1);
  const std::size_t outputs = extent(y, 1);
  const float* const from = values(x);
  float* const to = values(y);
  for_ranges(tasks.size(), 1, [&](std::size_t begin, std::size_t end) {
    for (std::size_t i = begin; i < end; ++i) {
      const adapter_run& task = tasks[i];
      add_rows(*task.adapter->find(parameter), {task.end - task.begin, from + task.begin * inputs,
                                                inputs, to + task.begin * outputs, outputs});
    }
  });
}

}  // namespace troupe::gpu
