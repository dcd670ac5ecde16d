// The references of all kernels for a GPU; sums within a rank are in double.

#include <algorithm>
#include <cmath>
#include <span>
#include <vector>

#include "gpu/kernels/adamw.hpp"
#include "gpu/kernels/add_rms_norm.hpp"
#include "gpu/kernels/rank_sums.hpp"
#include "gpu/kernels/token_logprobs.hpp"
#include "gpu/kernels/weights_digest.hpp"
#include "messages/state_digest.hpp"

namespace troupe::gpu::kernels {

void sum_ranks_reference(const rank_sum& task) {
  for (std::size_t i = 0; i < task.count; ++i) {
    float total = task.parts[i];
    for (std::size_t rank = 1; rank < task.ranks; ++rank)
      total += task.parts[rank * task.count + i];
    task.sum[i] = total;
  }
}

void adamw_reference(const adamw_task& task) {
  const auto wide = [](float value) { return static_cast<double>(value); };
  for (std::size_t i = 0; i < task.count; ++i) {
    const double gradient = wide(task.gradients[i]) * wide(task.gradient_scale);
    const double average =
        wide(task.beta1) * wide(task.exp_avg[i]) + (1 - wide(task.beta1)) * gradient;
    const double square =
        wide(task.beta2) * wide(task.exp_avg_sq[i]) + (1 - wide(task.beta2)) * gradient * gradient;
    const double scale = std::sqrt(square) * wide(task.inverse_sqrt_correction2) + wide(task.eps);
    const double decay = 1 - wide(task.learning_rate) * wide(task.weight_decay);
    task.exp_avg[i] = static_cast<float>(average);
    task.exp_avg_sq[i] = static_cast<float>(square);
    task.weights[i] =
        static_cast<float>(wide(task.weights[i]) * decay - wide(task.step_size) * average / scale);
  }
}

void weights_digest_reference(const digest_elements& task) {
  state_digest digest;
  add_elements(digest, task.parameter, task.first, std::span(task.weights, task.count));
  task.sums[0] += digest.low;
  task.sums[1] += digest.high;
}

void token_logprobs_reference(const logprob_rows& task) {
  for (std::size_t row = 0; row < task.rows; ++row) {
    const float* const z = task.logits + row * task.vocabulary;
    const auto best = static_cast<double>(*std::max_element(z, z + task.vocabulary));
    double sum = 0;
    for (std::size_t i = 0; i < task.vocabulary; ++i)
      sum += std::exp(static_cast<double>(z[i]) - best);
    const double lse = best + std::log(sum);
    const auto target = static_cast<double>(z[static_cast<std::size_t>(task.targets[row])]);
    task.lse[row] = static_cast<float>(lse);
    task.logprobs[row] = static_cast<float>(std::min(target - lse, 0.0));
  }
}

void token_logprobs_backward_reference(const logprob_gradient_rows& task) {
  for (std::size_t row = 0; row < task.rows; ++row) {
    float* const z = task.logits + row * task.vocabulary;
    const auto lse = static_cast<double>(task.lse[row]);
    const auto up = static_cast<double>(task.gradient[row]);
    for (std::size_t i = 0; i < task.vocabulary; ++i) {
      const double hit = i == static_cast<std::size_t>(task.targets[row]) ? 1.0 : 0.0;
      z[i] = static_cast<float>(up * (hit - std::exp(static_cast<double>(z[i]) - lse)));
    }
  }
}

void add_rms_norm_reference(const add_rms_norm_rows<float>& task) {
  for (std::size_t row = 0; row < task.rows; ++row) {
    float* const h = task.residual + row * task.width;
    double squares = 0;
    for (std::size_t i = 0; i < task.width; ++i) {
      h[i] += task.x[row * task.width + i];
      squares += static_cast<double>(h[i]) * static_cast<double>(h[i]);
    }
    const double mean = squares / static_cast<double>(task.width);
    const double rstd = 1 / std::sqrt(mean + static_cast<double>(task.eps));
    task.rstd[row] = static_cast<float>(rstd);
    for (std::size_t i = 0; i < task.width; ++i)
      task.y[row * task.width + i] = static_cast<float>(static_cast<double>(h[i]) * rstd *
                                                        static_cast<double>(task.weight[i]));
  }
}

void add_rms_norm_backward_reference(const add_rms_norm_gradient_rows<float>& task) {
  std::vector<double> weight_gradient(task.width);
  for (std::size_t row = 0; row < task.rows; ++row) {
    const float* const h = task.residual + row * task.width;
    const float* const up = task.y_gradient + row * task.width;
    const auto rstd = static_cast<double>(task.rstd[row]);
    double projection = 0;
    for (std::size_t i = 0; i < task.width; ++i)
      projection += static_cast<double>(up[i]) * static_cast<double>(task.weight[i]) *
                    static_cast<double>(h[i]);
    const double shared = projection * rstd * rstd / static_cast<double>(task.width);
    for (std::size_t i = 0; i < task.width; ++i) {
      const double through = static_cast<double>(up[i]) * static_cast<double>(task.weight[i]);
      task.residual_gradient[row * task.width + i] +=
          static_cast<float>(rstd * (through - static_cast<double>(h[i]) * shared));
      weight_gradient[i] += static_cast<double>(up[i]) * static_cast<double>(h[i]) * rstd;
    }
  }
  for (std::size_t i = 0; i < task.width; ++i)
    task.weight_gradient[i] += static_cast<float>(weight_gradient[i]);
}

}  // namespace troupe::gpu::kernels
