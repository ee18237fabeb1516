#include "models/recompute.h"

#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/autograd.h>

#include "models/kernels/held.h"

namespace hone {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct Call {
  const Block* block;
  Rows rows;
  bool balance_loss;
  int64_t layer;
};

// x -> (y) or (y, balance loss of the block's router).
struct RecomputedFn : torch::autograd::Function<RecomputedFn> {
  static variable_list forward(AutogradContext* ctx, const at::Tensor& x, const Block* block,
                               const ForwardContext* context, int64_t layer) {
    ctx->save_for_backward({x});
    hold(ctx, Call{block, context->rows, context->balance_loss, layer});
    RouterLoad* router = context->router;
    const size_t losses = router ? router->balance_losses.size() : 0;
    variable_list out{block->forward(x, *context, layer)};
    if (router && router->balance_losses.size() > losses) {
      out.push_back(router->balance_losses.back());
      router->balance_losses.pop_back();
    }
    return out;
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const auto& [block, rows, balance_loss, layer] = held<Call>(ctx);
    const at::AutoGradMode with_gradient(true);
    const at::Tensor x = ctx->get_saved_variables()[0].detach().requires_grad_();
    RouterLoad router;
    const at::Tensor y = block->forward(
        x, {.rows = rows, .router = balance_loss ? &router : nullptr, .balance_loss = balance_loss}, layer);
    variable_list outputs{y}, their_grads{grads[0]};
    if (grads.size() > 1 && grads[1].defined()) {
      outputs.push_back(router.balance_losses.at(0));
      their_grads.push_back(grads[1]);
    }
    torch::autograd::backward(outputs, their_grads);
    return {x.grad(), {}, {}, {}};
  }
};

}  // namespace

at::Tensor recomputed(const Block& block, const at::Tensor& x, const ForwardContext& context, int64_t layer) {
  // a frozen embedding's output wants no gradient, but the layer's own weights do
  const at::Tensor input = x.requires_grad() ? x : x.detach().requires_grad_();
  const variable_list out = RecomputedFn::apply(input, &block, &context, layer);
  if (out.size() > 1) context.router->balance_losses.push_back(out[1]);
  return out[0];
}

}  // namespace hone
