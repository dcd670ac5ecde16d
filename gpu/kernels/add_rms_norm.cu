#include <random>
#include <type_traits>

#include <cuda_bf16.h>

#include "gpu/kernels/add_rms_norm.hpp"
#include "gpu/kernels/device_memory.cuh"

namespace troupe::gpu::kernels {
namespace {

constexpr unsigned threads = 256;

template <class T>
__device__ float widened(T value) {
  return static_cast<float>(value);
}

template <class T>
__global__ void forward_kernel(add_rms_norm_rows<T> task) {
  const std::size_t first = std::size_t{blockIdx.x} * task.width;
  float squares = 0;
  for (std::size_t i = threadIdx.x; i < task.width; i += threads) {
    T sum = task.residual[first + i];
    if (task.x != nullptr) {
      sum = static_cast<T>(widened(sum) + widened(task.x[first + i]));
      task.residual[first + i] = sum;
    }
    squares += widened(sum) * widened(sum);
  }
  const float mean = block_sum(squares) / static_cast<float>(task.width);
  const float rstd = rsqrtf(mean + task.eps);
  if (threadIdx.x == 0) task.rstd[blockIdx.x] = rstd;
  for (std::size_t i = threadIdx.x; i < task.width; i += threads)
    task.y[first + i] =
        static_cast<T>(widened(task.residual[first + i]) * rstd * widened(task.weight[i]));
}

/// One block per tile of rows: gradients of its rows, and its part of the weight's.
template <class T>
__global__ void backward_kernel(add_rms_norm_gradient_rows<T> task) {
  float* const part = task.scratch + std::size_t{blockIdx.x} * task.width;
  for (std::size_t i = threadIdx.x; i < task.width; i += threads)
    part[i] = 0;
  const std::size_t begin = std::size_t{blockIdx.x} * norm_tile_rows;
  const std::size_t end = begin + norm_tile_rows < task.rows ? begin + norm_tile_rows : task.rows;
  for (std::size_t row = begin; row < end; ++row) {
    const std::size_t first = row * task.width;
    const float rstd = task.rstd[row];
    float projection = 0;
    for (std::size_t i = threadIdx.x; i < task.width; i += threads)
      projection += widened(task.y_gradient[first + i]) * widened(task.weight[i]) *
                    widened(task.residual[first + i]);
    const float shared = block_sum(projection) * rstd * rstd / static_cast<float>(task.width);
    for (std::size_t i = threadIdx.x; i < task.width; i += threads) {
      const float up = widened(task.y_gradient[first + i]);
      const float h = widened(task.residual[first + i]);
      const float through = rstd * (up * widened(task.weight[i]) - h * shared);
      T& sum = task.residual_gradient[first + i];
      sum = static_cast<T>(widened(sum) + through);
      part[i] += up * h * rstd;
    }
  }
}

__global__ void add_tiles_kernel(std::size_t tiles, std::size_t width, const float* parts,
                                 float* sum) {
  const std::size_t i = std::size_t{blockIdx.x} * threads + threadIdx.x;
  if (i >= width) return;
  float total = sum[i];
  for (std::size_t tile = 0; tile < tiles; ++tile)
    total += parts[tile * width + i];
  sum[i] = total;
}

template <class T>
std::vector<T> as(const std::vector<float>& values) {
  return {values.begin(), values.end()};
}

template <class T>
std::vector<float> as_floats(const std::vector<T>& values) {
  std::vector<float> out;
  for (const T& value : values)
    out.push_back(static_cast<float>(value));
  return out;
}

/// Values that T holds exactly, so that both sides start from the same numbers.
template <class T>
std::vector<float> random_values(std::size_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float& value : values)
    value = static_cast<float>(static_cast<T>(normal(random)));
  return values;
}

/// The norm alone on the residual stream as an addition left it; `y` is the reference's.
result<kernel_report> check_alone(const rms_norm_rows& task, device_array<float>& out,
                                  std::span<const float> y) {
  if (auto ok = rms_norm(task, nullptr); !ok) return fail(ok.error());
  const auto actual = out.copy();
  if (!actual) return fail(actual.error());
  kernel_report report{"rms_norm fp32", worst_difference(*actual, y), 1e-5, 0, 0};
  report.microseconds = best_microseconds([&] { (void)rms_norm(task, nullptr); });
  const auto gigabytes = static_cast<double>(2 * y.size() * sizeof(float)) / 1e9;
  report.gigabytes_per_second = gigabytes / (report.microseconds * 1e-6);
  return report;
}

template <class T>
result<void> check(std::size_t rows, std::size_t width, std::vector<kernel_report>& reports) {
  constexpr bool is_float = std::is_same_v<T, float>;
  const std::string suffix = is_float ? " fp32" : " bf16";
  const double tolerance = is_float ? 1e-5 : 1e-2;
  const auto x = random_values<T>(rows * width, 1);
  auto residual = random_values<T>(rows * width, 2);
  const auto weight = random_values<T>(width, 3);
  const auto up = random_values<T>(rows * width, 4);
  auto along = random_values<T>(rows * width, 5);
  device_array<T> d_x(as<T>(x)), d_residual(as<T>(residual)), d_weight(as<T>(weight));
  device_array<T> d_y(rows * width), d_up(as<T>(up)), d_along(as<T>(along));
  device_array<float> d_rstd(rows), d_weight_gradient(std::vector<float>(width, 0.0F));
  device_array<float> d_scratch(add_rms_norm_scratch(rows, width));
  std::vector<float> y(rows * width), rstd(rows), weight_gradient(width);

  const add_rms_norm_rows<T> task{
      rows,  width,      d_x.data(),   d_residual.data(), d_weight.data(),
      1e-6F, d_y.data(), d_rstd.data()};
  if (auto ok = add_rms_norm(task, nullptr); !ok) return ok;
  const auto actual = d_y.copy();
  if (!actual) return fail(actual.error());
  add_rms_norm_reference(
      {rows, width, x.data(), residual.data(), weight.data(), 1e-6F, y.data(), rstd.data()});
  kernel_report forward{"add_rms_norm" + suffix, worst_difference(as_floats(*actual), y), tolerance,
                        0, 0};

  if constexpr (is_float) {
    device_array<float> d_alone(rows * width);
    const auto alone = check_alone(
        {rows, width, d_residual.data(), d_weight.data(), 1e-6F, d_alone.data(), d_rstd.data()},
        d_alone, y);
    if (!alone) return fail(alone.error());
    reports.push_back(*alone);
  }

  const add_rms_norm_gradient_rows<T> back{
      rows,        width,          d_residual.data(),        d_weight.data(), d_rstd.data(),
      d_up.data(), d_along.data(), d_weight_gradient.data(), d_scratch.data()};
  if (auto ok = add_rms_norm_backward(back, nullptr); !ok) return ok;
  const auto actual_along = d_along.copy();
  if (!actual_along) return fail(actual_along.error());
  const auto actual_weight = d_weight_gradient.copy();
  if (!actual_weight) return fail(actual_weight.error());
  add_rms_norm_backward_reference({rows, width, residual.data(), weight.data(), rstd.data(),
                                   up.data(), along.data(), weight_gradient.data(), nullptr});
  kernel_report backward{"add_rms_norm_backward" + suffix,
                         std::max(worst_difference(as_floats(*actual_along), along),
                                  worst_difference(*actual_weight, weight_gradient)),
                         tolerance, 0, 0};
  const auto gigabytes = static_cast<double>(rows * width * sizeof(T)) / 1e9;
  forward.microseconds = best_microseconds([&] { (void)add_rms_norm(task, nullptr); });
  forward.gigabytes_per_second = 4 * gigabytes / (forward.microseconds * 1e-6);
  backward.microseconds = best_microseconds([&] { (void)add_rms_norm_backward(back, nullptr); });
  backward.gigabytes_per_second = 4 * gigabytes / (backward.microseconds * 1e-6);
  reports.push_back(forward);
  reports.push_back(backward);
  return {};
}

}  // namespace

template <class T>
result<void> add_rms_norm(const add_rms_norm_rows<T>& task, device_stream stream) {
  if (task.rows == 0) return {};
  forward_kernel<<<static_cast<unsigned>(task.rows), threads, 0,
                   static_cast<cudaStream_t>(stream)>>>(task);
  return cuda_done(cudaGetLastError(), "starting add_rms_norm");
}

result<void> rms_norm(const rms_norm_rows& task, device_stream stream) {
  add_rms_norm_rows<float> whole;
  whole.rows = task.rows;
  whole.width = task.width;
  // Only read, because nothing is added.
  whole.residual = const_cast<float*>(task.x);
  whole.weight = task.weight;
  whole.eps = task.eps;
  whole.y = task.y;
  whole.rstd = task.rstd;
  return add_rms_norm(whole, stream);
}

template <class T>
result<void> add_rms_norm_backward(const add_rms_norm_gradient_rows<T>& task,
                                   device_stream stream) {
  if (task.rows == 0) return {};
  const auto on = static_cast<cudaStream_t>(stream);
  const std::size_t tiles = (task.rows + norm_tile_rows - 1) / norm_tile_rows;
  backward_kernel<<<static_cast<unsigned>(tiles), threads, 0, on>>>(task);
  const auto blocks = static_cast<unsigned>((task.width + threads - 1) / threads);
  add_tiles_kernel<<<blocks, threads, 0, on>>>(tiles, task.width, task.scratch,
                                               task.weight_gradient);
  return cuda_done(cudaGetLastError(), "starting add_rms_norm_backward");
}

template result<void> add_rms_norm(const add_rms_norm_rows<float>&, device_stream);
template result<void> add_rms_norm(const add_rms_norm_rows<__nv_bfloat16>&, device_stream);
template result<void> add_rms_norm_backward(const add_rms_norm_gradient_rows<float>&,
                                            device_stream);
template result<void> add_rms_norm_backward(const add_rms_norm_gradient_rows<__nv_bfloat16>&,
                                            device_stream);

result<std::vector<kernel_report>> check_add_rms_norm(std::size_t rows, std::size_t width) {
  std::vector<kernel_report> reports;
  if (auto ok = check<float>(rows, width, reports); !ok) return fail(ok.error());
  if (auto ok = check<__nv_bfloat16>(rows, width, reports); !ok) return fail(ok.error());
  return reports;
}

}  // namespace troupe::gpu::kernels
