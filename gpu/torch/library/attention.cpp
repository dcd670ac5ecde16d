#include "gpu/torch/library/attention.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include <ATen/TensorOperators.h>
#include <ATen/ops/_flash_attention_backward.h>
#include <ATen/ops/_flash_attention_forward.h>
#include <ATen/ops/bmm.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/exp.h>
#include <ATen/ops/logsumexp.h>
#include <ATen/ops/mean.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/rsqrt.h>
#include <ATen/ops/square.h>
#include <ATen/ops/sum.h>
#include <ATen/ops/zeros_like.h>

#include "gpu/torch/library/batch_indices.hpp"
#include "gpu/torch/library/rows.hpp"
#include "gpu/torch/linear.hpp"

namespace troupe::gpu::library {
namespace {

/// Queries whose scores exist at one time, where attention is written out.
constexpr std::int64_t strip_rows = 1024;

struct head_counts {
  explicit head_counts(const model_config& m)
      : dim(m.head_dim),
        queries(m.num_heads),
        keys(m.num_kv_heads),
        scale(1.0 / std::sqrt(static_cast<double>(m.head_dim))) {}

  std::int64_t dim, queries, keys;
  double scale;
  std::int64_t rotated() const { return queries + keys; }
  std::int64_t group() const { return queries / keys; }
};

/// Heads [first, first + count) of rows as [T, count, H].
at::Tensor heads_of(const at::Tensor& rows, const head_counts& heads, std::int64_t first,
                    std::int64_t count) {
  return rows.narrow(1, first * heads.dim, count * heads.dim).unflatten(1, {count, heads.dim});
}

at::Tensor rotate(const at::Tensor& x, const at::Tensor& cosine, const at::Tensor& sine) {
  const auto halves = x.chunk(2, 2);
  return at::cat({halves[0] * cosine - halves[1] * sine, halves[1] * cosine + halves[0] * sine}, 2);
}

/// [N + K, H]
at::Tensor norm_weights(const head_counts& heads, const at::Tensor& q, const at::Tensor& k) {
  return at::cat({q.expand({heads.queries, heads.dim}), k.expand({heads.keys, heads.dim})}, 0);
}

/// Its kernels know heads of whole 16-byte lines, up to a size, and no empty batch.
bool takes_flash(const head_counts& heads, const at::Tensor& qkv) {
  return qkv.is_cuda() && product_type() == compute_type::bf16 && heads.dim % 8 == 0 &&
         heads.dim <= 256 && qkv.size(0) > 0;
}

struct flash_inputs {
  at::Tensor q, k, v;  ///< [T, heads, H] in bf16
};

flash_inputs flash_inputs_of(const head_counts& heads, const at::Tensor& rotated,
                             const at::Tensor& qkv) {
  const auto narrow = [](const at::Tensor& part) { return part.to(at::kBFloat16).contiguous(); };
  return {narrow(heads_of(rotated, heads, 0, heads.queries)),
          narrow(heads_of(rotated, heads, heads.queries, heads.keys)),
          narrow(heads_of(qkv, heads, heads.rotated(), heads.keys))};
}

attended flash_attention(const head_counts& heads, const batch_indices& batch,
                         const at::Tensor& rotated, const at::Tensor& qkv) {
  const auto [q, k, v] = flash_inputs_of(heads, rotated, qkv);
  const auto [out, lse, random, unused, debug] = at::_flash_attention_forward(
      q, k, v, batch.starts, batch.starts, batch.longest, batch.longest, /*dropout_p=*/0.0,
      /*is_causal=*/true, /*return_debug_mask=*/false, heads.scale);
  return {out.flatten(1).to(at::kFloat), lse, {random, unused}};
}

at::Tensor flash_backward(const head_counts& heads, const batch_indices& batch,
                          const at::Tensor& rotated, const at::Tensor& qkv, const attended& forward,
                          const at::Tensor& gradient) {
  const auto [q, k, v] = flash_inputs_of(heads, rotated, qkv);
  const auto as_heads = [&](const at::Tensor& rows) {
    return rows.to(at::kBFloat16).unflatten(1, {heads.queries, heads.dim});
  };
  const auto [dq, dk, dv] = at::_flash_attention_backward(
      as_heads(gradient), q, k, v, as_heads(forward.out), forward.lse, batch.starts, batch.starts,
      batch.longest, batch.longest, /*dropout_p=*/0.0, /*is_causal=*/true, forward.of_device[0],
      forward.of_device[1], heads.scale);
  return at::cat({dq.flatten(1), dk.flatten(1), dv.flatten(1)}, 1).to(at::kFloat);
}

/// One sequence, heads first: [N, L, H], keys and values repeated for each query head.
struct sequence_heads {
  at::Tensor q, k, v;
};

sequence_heads sequence_of(const head_counts& heads, const packed_batch& batch, std::size_t s,
                           const at::Tensor& rotated, const at::Tensor& qkv) {
  const auto first = static_cast<std::int64_t>(batch.offsets[s]);
  const auto length = static_cast<std::int64_t>(batch.length(s));
  const auto part = [&](const at::Tensor& rows, std::int64_t head, std::int64_t count) {
    const at::Tensor all = heads_of(rows.narrow(0, first, length), heads, head, count);
    return all.transpose(0, 1).repeat_interleave(heads.queries / count, 0);
  };
  return {part(rotated, 0, heads.queries), part(rotated, heads.queries, heads.keys),
          part(qkv, heads.rotated(), heads.keys)};
}

/// Causal scores of queries [begin, end) against keys [0, end), scaled.
at::Tensor scores_of(const sequence_heads& of, double scale, std::int64_t begin, std::int64_t end) {
  at::Tensor scores =
      at::bmm(of.q.narrow(1, begin, end - begin), of.k.narrow(1, 0, end).transpose(1, 2))
          .mul_(scale);
  const at::Tensor later =
      at::ones({end - begin, end}, scores.options().dtype(at::kBool)).triu_(begin + 1);
  return scores.masked_fill_(later, -std::numeric_limits<float>::infinity());
}

void sequence_backward(const head_counts& heads, const sequence_heads& of, const at::Tensor& out,
                       const at::Tensor& lse, const at::Tensor& up, at::Tensor into) {
  const std::int64_t length = of.q.size(1);
  at::Tensor dq = at::empty_like(of.q);
  at::Tensor dk = at::zeros_like(of.k);
  at::Tensor dv = at::zeros_like(of.v);
  const at::Tensor along = at::sum(up * out, {2}, /*keepdim=*/true);
  for (std::int64_t begin = 0; begin < length; begin += strip_rows) {
    const std::int64_t end = std::min(length, begin + strip_rows);
    const auto strip = [&](const at::Tensor& rows) { return rows.narrow(1, begin, end - begin); };
    const auto earlier = [&](const at::Tensor& rows) { return rows.narrow(1, 0, end); };
    const at::Tensor p = at::exp(scores_of(of, heads.scale, begin, end) - strip(lse).unsqueeze(2));
    earlier(dv).add_(at::bmm(p.transpose(1, 2), strip(up)));
    const at::Tensor ds = at::bmm(strip(up), earlier(of.v).transpose(1, 2))
                              .sub_(strip(along))
                              .mul_(p)
                              .mul_(heads.scale);
    strip(dq).copy_(at::bmm(ds, earlier(of.k)));
    earlier(dk).add_(at::bmm(ds.transpose(1, 2), strip(of.q)));
  }
  const auto of_group = [&](const at::Tensor& all) {
    return at::sum(all.unflatten(0, {heads.keys, heads.group()}), {1}).transpose(0, 1);
  };
  heads_of(into, heads, 0, heads.queries).copy_(dq.transpose(0, 1));
  heads_of(into, heads, heads.queries, heads.keys).copy_(of_group(dk));
  heads_of(into, heads, heads.rotated(), heads.keys).copy_(of_group(dv));
}

}  // namespace

rotated_heads norm_and_rotate(const model_config& model, const packed_batch& batch,
                              const rotary_cache& rotary, const at::Tensor& qkv,
                              const at::Tensor& q_norm, const at::Tensor& k_norm) {
  const head_counts heads(model);
  const batch_indices& indices = indices_of(model, batch, rotary);
  at::Tensor x = heads_of(qkv, heads, 0, heads.rotated());
  at::Tensor rstd;
  if (q_norm.defined()) {
    rstd = at::rsqrt(at::mean(at::square(x), {2}) + model.rms_norm_eps);
    x = x * rstd.unsqueeze(2) * norm_weights(heads, q_norm, k_norm);
  }
  return {rotate(x, indices.cosine, indices.sine).flatten(1), rstd};
}

void norm_and_rotate_backward(const model_config& model, const packed_batch& batch,
                              const rotary_cache& rotary, const at::Tensor& qkv,
                              const at::Tensor& rstd, const at::Tensor& q_norm,
                              const at::Tensor& k_norm, at::Tensor gradient,
                              const norm_gradients& norms, write_mode mode) {
  const head_counts heads(model);
  const batch_indices& indices = indices_of(model, batch, rotary);
  const at::Tensor into = heads_of(gradient, heads, 0, heads.rotated());
  const at::Tensor dy = rotate(into, indices.cosine, indices.sine.neg());
  if (!q_norm.defined()) {
    into.copy_(dy);
    return;
  }
  const at::Tensor x = heads_of(qkv, heads, 0, heads.rotated());
  const at::Tensor scale = rstd.unsqueeze(2);
  const at::Tensor up = dy * norm_weights(heads, q_norm, k_norm);
  const at::Tensor shared = at::mean(up * x, {2}, /*keepdim=*/true) * at::square(scale);
  into.copy_((up - x * shared) * scale);
  if (!norms.q.defined()) return;
  const at::Tensor of_heads = at::sum(dy * x * scale, {0});
  write(norms.q, at::sum(of_heads.narrow(0, 0, heads.queries), {0}), mode);
  write(norms.k, at::sum(of_heads.narrow(0, heads.queries, heads.keys), {0}), mode);
}

attended attention(const model_config& model, const packed_batch& batch, const at::Tensor& rotated,
                   const at::Tensor& qkv) {
  const head_counts heads(model);
  if (takes_flash(heads, qkv)) return flash_attention(heads, *batch.indices, rotated, qkv);
  attended result{make_tensor({batch.num_tokens(), model.num_heads * std::size_t{model.head_dim}}),
                  make_tensor({batch.num_tokens(), model.num_heads}),
                  {}};
  for (std::size_t s = 0; s < batch.num_sequences(); ++s) {
    const sequence_heads of = sequence_of(heads, batch, s, rotated, qkv);
    const auto first = static_cast<std::int64_t>(batch.offsets[s]);
    const std::int64_t length = of.q.size(1);
    for (std::int64_t begin = 0; begin < length; begin += strip_rows) {
      const std::int64_t end = std::min(length, begin + strip_rows);
      const at::Tensor scores = scores_of(of, heads.scale, begin, end);
      const at::Tensor lse = at::logsumexp(scores, {2});
      const at::Tensor out = at::bmm(at::exp(scores - lse.unsqueeze(2)), of.v.narrow(1, 0, end));
      result.out.narrow(0, first + begin, end - begin).copy_(out.transpose(0, 1).flatten(1));
      result.lse.narrow(0, first + begin, end - begin).copy_(lse.t());
    }
  }
  return result;
}

at::Tensor attention_backward(const model_config& model, const packed_batch& batch,
                              const at::Tensor& rotated, const at::Tensor& qkv,
                              const attended& forward, const at::Tensor& gradient) {
  const head_counts heads(model);
  if (takes_flash(heads, qkv))
    return flash_backward(heads, *batch.indices, rotated, qkv, forward, gradient);
  at::Tensor result = make_tensor({extent(qkv, 0), extent(qkv, 1)});
  for (std::size_t s = 0; s < batch.num_sequences(); ++s) {
    const auto first = static_cast<std::int64_t>(batch.offsets[s]);
    const auto length = static_cast<std::int64_t>(batch.length(s));
    const auto heads_first = [&](const at::Tensor& rows) {
      return heads_of(rows.narrow(0, first, length), heads, 0, heads.queries).transpose(0, 1);
    };
    sequence_backward(heads, sequence_of(heads, batch, s, rotated, qkv), heads_first(forward.out),
                      forward.lse.narrow(0, first, length).t(), heads_first(gradient),
                      result.narrow(0, first, length));
  }
  return result;
}

}  // namespace troupe::gpu::library
