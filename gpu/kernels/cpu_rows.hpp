// Element-wise and row-wise kernels. Included by cpu_tables.hpp and cpu_fp16.cpp only.
//
// Sums inside a row use one accumulator per vector lane; `omp simd` allows exactly that.

inline float dot(std::size_t width, const float* a, const float* b) {
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (std::size_t i = 0; i < width; ++i)
    sum += a[i] * b[i];
  return sum;
}

inline void rms_norm(std::size_t rows, std::size_t width, const float* x, const float* weight,
                     float eps, float* y, float* rstd) {
  for (std::size_t row = 0; row < rows; ++row) {
    const float* const from = x + row * width;
    float* const to = y + row * width;
    const float mean = dot(width, from, from) / static_cast<float>(width);
    const float factor = 1.0F / __builtin_sqrtf(mean + eps);
    rstd[row] = factor;
#pragma omp simd
    for (std::size_t i = 0; i < width; ++i)
      to[i] = weight[i] * (from[i] * factor);
  }
}

inline void rms_norm_backward(std::size_t rows, std::size_t width, const float* x,
                              const float* weight, const float* rstd, const float* dy, float* dx,
                              float* weight_gradient) {
  for (std::size_t row = 0; row < rows; ++row) {
    const float* const from = x + row * width;
    const float* const up = dy + row * width;
    float* const to = dx + row * width;
    const float factor = rstd[row];
    float projection = 0;
#pragma omp simd reduction(+ : projection)
    for (std::size_t i = 0; i < width; ++i)
      projection += up[i] * weight[i] * from[i];
    const float shared = projection * factor * factor / static_cast<float>(width);
#pragma omp simd
    for (std::size_t i = 0; i < width; ++i) {
      to[i] += factor * (up[i] * weight[i] - from[i] * shared);
      weight_gradient[i] += up[i] * from[i] * factor;
    }
  }
}

inline float norm_rotate(std::size_t head_dim, const float* x, const float* weight, float eps,
                         const float* cosine, const float* sine, float* y) {
  const float mean = dot(head_dim, x, x) / static_cast<float>(head_dim);
  const float rstd = 1.0F / __builtin_sqrtf(mean + eps);
  const std::size_t half = head_dim / 2;
#pragma omp simd
  for (std::size_t i = 0; i < half; ++i) {
    const float a = weight[i] * (x[i] * rstd);
    const float b = weight[i + half] * (x[i + half] * rstd);
    y[i] = a * cosine[i] - b * sine[i];
    y[i + half] = b * cosine[i] + a * sine[i];
  }
  return rstd;
}

inline void norm_rotate_backward(std::size_t head_dim, const float* x, const float* weight,
                                 float rstd, const float* cosine, const float* sine, float* dy,
                                 float* weight_gradient) {
  const std::size_t half = head_dim / 2;
  float projection = 0;
#pragma omp simd reduction(+ : projection)
  for (std::size_t i = 0; i < half; ++i) {
    const float a = dy[i] * cosine[i] + dy[i + half] * sine[i];
    const float b = dy[i + half] * cosine[i] - dy[i] * sine[i];
    projection += a * weight[i] * x[i] + b * weight[i + half] * x[i + half];
    dy[i] = a;
    dy[i + half] = b;
  }
  const float shared = projection * rstd * rstd / static_cast<float>(head_dim);
#pragma omp simd
  for (std::size_t i = 0; i < head_dim; ++i) {
    weight_gradient[i] += dy[i] * x[i] * rstd;
    dy[i] = rstd * (dy[i] * weight[i] - x[i] * shared);
  }
}

inline void rotate(std::size_t head_dim, const float* x, const float* cosine, const float* sine,
                   float* y) {
  const std::size_t half = head_dim / 2;
#pragma omp simd
  for (std::size_t i = 0; i < half; ++i) {
    const float a = x[i];
    const float b = x[i + half];
    y[i] = a * cosine[i] - b * sine[i];
    y[i + half] = b * cosine[i] + a * sine[i];
  }
}

inline void rotate_backward(std::size_t head_dim, const float* cosine, const float* sine,
                            float* dy) {
  const std::size_t half = head_dim / 2;
#pragma omp simd
  for (std::size_t i = 0; i < half; ++i) {
    const float a = dy[i] * cosine[i] + dy[i + half] * sine[i];
    const float b = dy[i + half] * cosine[i] - dy[i] * sine[i];
    dy[i] = a;
    dy[i + half] = b;
  }
}

inline float sigmoid(float x) {
  return 1.0F / (1.0F + exp_fast(-x));
}

inline void swiglu(std::size_t count, const float* gate, const float* up, float* y) {
#pragma omp simd
  for (std::size_t i = 0; i < count; ++i)
    y[i] = gate[i] * sigmoid(gate[i]) * up[i];
}

inline void swiglu_backward(std::size_t rows, std::size_t width, float* dy, float* gate_up) {
  for (std::size_t row = 0; row < rows; ++row) {
    float* const gate = gate_up + row * 2 * width;
    float* const up = gate + width;
    float* const down = dy + row * width;
#pragma omp simd
    for (std::size_t i = 0; i < width; ++i) {
      const float g = gate[i];
      const float u = up[i];
      const float d = down[i];
      const float open = sigmoid(g);
      const float silu = g * open;
      down[i] = silu * u;
      gate[i] = d * u * (open + silu * (1.0F - open));
      up[i] = d * silu;
    }
  }
}

inline float row_max(std::size_t width, const float* row) {
  float best = row[0];
#pragma omp simd reduction(max : best)
  for (std::size_t i = 0; i < width; ++i)
    best = row[i] > best ? row[i] : best;
  return best;
}

inline float log_sum_exp(std::size_t width, const float* row) {
  const float best = row_max(width, row);
  float sum = 0;
#pragma omp simd reduction(+ : sum)
  for (std::size_t i = 0; i < width; ++i)
    sum += exp_fast(row[i] - best);
  return best + __builtin_logf(sum);
}

inline void exponentials(std::size_t width, float offset, float* row) {
#pragma omp simd
  for (std::size_t i = 0; i < width; ++i)
    row[i] = exp_fast(row[i] - offset);
}

inline void logprob_backward(std::size_t width, float lse, std::size_t target, float gradient,
                             const float* row, float* dx) {
#pragma omp simd
  for (std::size_t i = 0; i < width; ++i)
    dx[i] = -gradient * exp_fast(row[i] - lse);
  dx[target] += gradient;
}

inline void add(std::size_t count, const float* from, float* to) {
#pragma omp simd
  for (std::size_t i = 0; i < count; ++i)
    to[i] += from[i];
}

inline void widen_bf16(std::size_t count, const std::uint16_t* from, float* to) {
#pragma omp simd
  for (std::size_t i = 0; i < count; ++i)
    to[i] = __builtin_bit_cast(float, static_cast<std::uint32_t>(from[i]) << 16U);
}
