#include <random>

#include "gpu/kernels/adamw.hpp"
#include "gpu/kernels/device_memory.cuh"

namespace troupe::gpu::kernels {
namespace {

constexpr unsigned threads = 256;
constexpr std::size_t blocks_max = 8192;

__global__ void adamw_kernel(adamw_task task) {
  const float decay = 1.0F - task.learning_rate * task.weight_decay;
  const float take1 = 1.0F - task.beta1;
  const float take2 = 1.0F - task.beta2;
  const std::size_t step = std::size_t{gridDim.x} * threads;
  for (std::size_t i = std::size_t{blockIdx.x} * threads + threadIdx.x; i < task.count; i += step) {
    const float gradient = task.gradients[i] * task.gradient_scale;
    const float average = task.beta1 * task.exp_avg[i] + take1 * gradient;
    const float square = task.beta2 * task.exp_avg_sq[i] + take2 * gradient * gradient;
    task.exp_avg[i] = average;
    task.exp_avg_sq[i] = square;
    const float scale = sqrtf(square) * task.inverse_sqrt_correction2 + task.eps;
    task.weights[i] = task.weights[i] * decay - task.step_size * average / scale;
  }
}

std::vector<float> random_values(std::size_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float& value : values)
    value = normal(random);
  return values;
}

adamw_task some_step(std::size_t count) {
  adamw_task task;
  task.count = count;
  task.gradient_scale = 0.5F;
  task.learning_rate = 1e-2F;
  task.beta1 = 0.9F;
  task.beta2 = 0.99F;
  task.eps = 1e-8F;
  task.weight_decay = 0.1F;
  task.step_size = 2e-2F;
  task.inverse_sqrt_correction2 = 3.0F;
  return task;
}

}  // namespace

result<void> adamw(const adamw_task& task, device_stream stream) {
  if (task.count == 0) return {};
  const std::size_t blocks = std::min(blocks_max, (task.count + threads - 1) / threads);
  adamw_kernel<<<static_cast<unsigned>(blocks), threads, 0, static_cast<cudaStream_t>(stream)>>>(
      task);
  return cuda_done(cudaGetLastError(), "starting adamw");
}

result<std::vector<kernel_report>> check_adamw(std::size_t count) {
  auto weights = random_values(count, 1);
  auto average = random_values(count, 2);
  auto square = random_values(count, 3);
  for (float& value : square)
    value *= value;
  const auto gradients = random_values(count, 4);
  device_array<float> d_weights(weights), d_average(average), d_square(square);
  device_array<float> d_gradients(gradients);
  adamw_task on_host = some_step(count);
  adamw_task on_device = on_host;
  on_host.weights = weights.data();
  on_host.exp_avg = average.data();
  on_host.exp_avg_sq = square.data();
  on_host.gradients = gradients.data();
  adamw_reference(on_host);
  on_device.weights = d_weights.data();
  on_device.exp_avg = d_average.data();
  on_device.exp_avg_sq = d_square.data();
  on_device.gradients = d_gradients.data();
  if (auto ok = adamw(on_device, nullptr); !ok) return fail(ok.error());
  kernel_report report{"adamw", 0, 1e-6, 0, 0};
  for (const auto& [actual, expected] :
       {std::pair{&d_weights, &weights}, {&d_average, &average}, {&d_square, &square}}) {
    const auto copied = actual->copy();
    if (!copied) return fail(copied.error());
    report.worst_error = std::max(report.worst_error, worst_difference(*copied, *expected));
  }
  report.microseconds = best_microseconds([&] { (void)adamw(on_device, nullptr); });
  const auto gigabytes = static_cast<double>(7 * count * sizeof(float)) / 1e9;
  report.gigabytes_per_second = gigabytes / (report.microseconds * 1e-6);
  return std::vector<kernel_report>{report};
}

}  // namespace troupe::gpu::kernels
