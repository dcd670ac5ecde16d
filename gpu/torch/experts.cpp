#include "gpu/torch/experts.hpp"

#include "gpu/torch/library/places.hpp"
#include "gpu/torch/linear.hpp"
#include "gpu/torch/row_ops.hpp"

namespace troupe::gpu {
namespace {

at::Tensor places_of(const at::Tensor& all, const routing& choice, std::size_t expert) {
  const std::size_t begin = choice.offsets[expert];
  return all.narrow(0, static_cast<std::int64_t>(begin),
                    static_cast<std::int64_t>(choice.offsets[expert + 1] - begin));
}

/// d weight of each slot: how its place's inputs to the last product, unweighted, meet the gradient
/// of the weighted ones.
std::vector<float> weight_gradients(const routing& choice, const at::Tensor& inner,
                                    const at::Tensor& scaled_gradient) {
  if (uses_library()) return library::dot_places(choice, inner, scaled_gradient);
  const std::size_t width = extent(inner, 1);
  std::vector<float> gradient(choice.num_places());
  const float* const a = values(inner);
  const float* const b = values(scaled_gradient);
  for_ranges(choice.num_places(), 16, [&](std::size_t begin, std::size_t end) {
    for (std::size_t place = begin; place < end; ++place) {
      float sum = 0;
      for (std::size_t i = place * width; i < (place + 1) * width; ++i)
        sum += a[i] * b[i];
      gradient[choice.slots[place]] = sum;
    }
  });
  return gradient;
}

}  // namespace

at::Tensor experts_forward(const expert_config& config, const expert_layer& layer,
                           const at::Tensor& x, const at::Tensor& residual, expert_state& state) {
  {
    // A rounded logit may pick another expert than the sampler does.
    const product_scope exact(compute_type::fp32);
    state.choice = route(config, linear(x, layer.router));
  }
  const routing& choice = state.choice;
  const at::Tensor input = gather_places(choice, x);
  state.gate_up = make_tensor({choice.num_places(), std::size_t{2} * config.width});
  for (std::size_t e = 0; e < layer.experts.size(); ++e)
    project_into(layer.experts[e].gate_up, places_of(input, choice, e),
                 places_of(state.gate_up, choice, e));
  const at::Tensor inner = swiglu(state.gate_up);
  scale_places(choice, inner);
  const at::Tensor output = make_tensor({choice.num_places(), extent(x, 1)});
  for (std::size_t e = 0; e < layer.experts.size(); ++e)
    project_into(layer.experts[e].down, places_of(inner, choice, e), places_of(output, choice, e));
  at::Tensor y = residual.clone();
  add_places(choice, output, y);
  return y;
}

at::Tensor experts_backward(const expert_config& config, const expert_layer& layer,
                            const at::Tensor& x, const at::Tensor& dy, expert_state& state,
                            const expert_layer& gradients, write_mode mode) {
  const routing& choice = state.choice;
  const at::Tensor inner = swiglu(state.gate_up);
  const at::Tensor scaled = inner.clone();
  scale_places(choice, scaled);
  const at::Tensor output_gradient = gather_places(choice, dy);
  const at::Tensor inner_gradient = make_tensor({choice.num_places(), config.width});
  for (std::size_t e = 0; e < layer.experts.size(); ++e)
    project_backward_into(layer.experts[e].down, places_of(scaled, choice, e),
                          places_of(output_gradient, choice, e), gradients.experts[e].down, mode,
                          places_of(inner_gradient, choice, e));
  const std::vector<float> weight_gradient = weight_gradients(choice, inner, inner_gradient);
  scale_places(choice, inner_gradient);
  swiglu_backward(inner_gradient, state.gate_up);

  const at::Tensor input = gather_places(choice, x);
  const at::Tensor input_gradient = make_tensor({choice.num_places(), extent(x, 1)});
  for (std::size_t e = 0; e < layer.experts.size(); ++e)
    project_backward_into(layer.experts[e].gate_up, places_of(input, choice, e),
                          places_of(state.gate_up, choice, e), gradients.experts[e].gate_up, mode,
                          places_of(input_gradient, choice, e));
  const at::Tensor logit_gradient = route_backward(config, choice, weight_gradient);
  at::Tensor dx = linear_input_gradient(logit_gradient, layer.router);
  if (gradients.router.defined()) linear_weight_gradient(logit_gradient, x, gradients.router, mode);
  add_places(choice, input_gradient, dx);
  state = expert_state{};
  return dx;
}

}  // namespace troupe::gpu
