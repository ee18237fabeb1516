// Activation recompute: a layer keeps its input alone and computes itself once more when its gradient is wanted.
#pragma once

#include "models/policy.h"

namespace hone {

/// block.forward(x, context, layer), the same bits and the same gradients, for a third more work (Chen et al. 2016,
/// "Training Deep Nets with Sublinear Memory Cost"). The backward adds the block's own gradients to .grad itself:
/// REQUIRES torch::autograd::backward() around it, not grad(); no cache; the block alive until then.
at::Tensor recomputed(const Block& block, const at::Tensor& x, const ForwardContext& context, int64_t layer);

}  // namespace hone
