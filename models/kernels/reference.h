// The operations of ops.h in plain ATen: any dtype, any device, gradients by autograd. The oracle of the tests, and
// the path of tensors that are not float32 on the CPU.
#pragma once

#include "models/kernels/ops.h"

namespace hone::reference {

at::Tensor embedding(const at::Tensor& table, const at::Tensor& ids);
at::Tensor linear(const at::Tensor& x, const at::Tensor& w, const at::Tensor& bias);
at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& w, double eps);
at::Tensor rope(const at::Tensor& x, const RopeTable& table, const Rows& rows);
at::Tensor swiglu(const at::Tensor& gate, const at::Tensor& up);
at::Tensor attention(const cpu::AttentionShape& shape, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                     const Rows& rows);
at::Tensor latent_query(const LatentShape& s, const at::Tensor& q, const at::Tensor& kv_b, const RopeTable& table,
                        const Rows& rows);
at::Tensor latent_key(const LatentShape& s, const at::Tensor& kv, const at::Tensor& norm, double eps,
                      const RopeTable& table, const Rows& rows);
at::Tensor latent_value(const LatentShape& s, const at::Tensor& context, const at::Tensor& kv_b);
at::Tensor expert_weights(const RoutingRule& rule, const at::Tensor& scores, const at::Tensor& ids);
at::Tensor experts(const at::Tensor& x, const at::Tensor& gate, const at::Tensor& up, const at::Tensor& down,
                   const at::Tensor& ids, const at::Tensor& weights);
TokenLogprobs token_logprobs(const at::Tensor& hidden, const at::Tensor& head, const at::Tensor& targets,
                             const at::Tensor& forbidden, double inv_temperature);

}  // namespace hone::reference
