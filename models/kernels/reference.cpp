#include "models/kernels/reference.h"

#include <ATen/ATen.h>

namespace hone::reference {

at::Tensor embedding(const at::Tensor& table, const at::Tensor& ids) { return at::embedding(table, ids); }

at::Tensor linear(const at::Tensor& x, const at::Tensor& w, const at::Tensor& bias) {
  return bias.defined() ? at::linear(x, w, bias) : at::linear(x, w);
}

at::Tensor rms_norm(const at::Tensor& x, const at::Tensor& w, double eps) {
  return x * at::rsqrt(x.pow(2).mean(-1, /*keepdim=*/true) + eps) * w;
}

at::Tensor rope(const at::Tensor& x, const RopeTable& table, const Rows& rows) {
  const auto half = table.dim() / 2, skip = x.size(2) - table.dim();
  const at::Tensor frequency = at::tensor(table.inverse_frequencies(), at::kDouble);
  const at::Tensor angle = at::tensor(rows.positions, at::kDouble).unsqueeze(1) * frequency;  // (N, D/2)
  const at::Tensor cos = (angle.cos() * table.attention_factor()).to(x.options()).unsqueeze(1);
  const at::Tensor sin = (angle.sin() * table.attention_factor()).to(x.options()).unsqueeze(1);
  const at::Tensor turned = x.narrow(2, skip, table.dim());
  const bool pairs = table.adjacent_pairs();
  const at::Tensor u = pairs ? turned.slice(2, 0, {}, 2) : turned.narrow(2, 0, half);
  const at::Tensor v = pairs ? turned.slice(2, 1, {}, 2) : turned.narrow(2, half, half);
  const at::Tensor a = u * cos - v * sin, b = v * cos + u * sin;
  const at::Tensor out = pairs ? at::stack({a, b}, 3).flatten(2) : at::cat({a, b}, 2);
  return at::cat({x.narrow(2, 0, skip), out}, 2);
}

at::Tensor swiglu(const at::Tensor& gate, const at::Tensor& up) { return at::silu(gate) * up; }

at::Tensor attention(const cpu::AttentionShape& s, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                     const Rows& rows) {
  const at::Tensor value = s.value_in_key ? k.narrow(2, 0, s.value_dim) : v;
  std::vector<at::Tensor> outs;
  for (const auto& span : rows.spans) {
    const auto group = s.heads / s.kv_heads;
    const at::Tensor qs = q.narrow(0, span.row, span.count).transpose(0, 1);  // (H, T, Dk)
    const at::Tensor ks = k.narrow(0, span.row, span.count).transpose(0, 1).repeat_interleave(group, 0);
    const at::Tensor vs = value.narrow(0, span.row, span.count).transpose(0, 1).repeat_interleave(group, 0);
    const at::Tensor later = at::ones({span.count, span.count}, q.options().dtype(at::kBool)).triu(1);
    const at::Tensor scores = (at::matmul(qs, ks.transpose(1, 2)) * s.scale).masked_fill(later, -INFINITY);
    outs.push_back(at::matmul(scores.softmax(-1), vs).transpose(0, 1));
  }
  return at::cat(outs, 0);
}

namespace {

// kv_b as (H, dn + dv, c)
at::Tensor per_head(const LatentShape& s, const at::Tensor& kv_b) {
  return kv_b.view({s.heads, s.nope_dim + s.value_dim, s.rank});
}

}  // namespace

at::Tensor latent_query(const LatentShape& s, const at::Tensor& q, const at::Tensor& kv_b, const RopeTable& table,
                        const Rows& rows) {
  const at::Tensor up = per_head(s, kv_b).narrow(1, 0, s.nope_dim);  // (H, dn, c)
  const at::Tensor absorbed = at::einsum("nhd,hdc->nhc", {q.narrow(2, 0, s.nope_dim), up});
  return at::cat({absorbed, reference::rope(q.narrow(2, s.nope_dim, s.rope_dim), table, rows)}, 2);
}

at::Tensor latent_key(const LatentShape& s, const at::Tensor& kv, const at::Tensor& norm, double eps,
                      const RopeTable& table, const Rows& rows) {
  const at::Tensor rotated = reference::rope(kv.narrow(1, s.rank, s.rope_dim).unsqueeze(1), table, rows);
  return at::cat({reference::rms_norm(kv.narrow(1, 0, s.rank), norm, eps).unsqueeze(1), rotated}, 2);
}

at::Tensor latent_value(const LatentShape& s, const at::Tensor& context, const at::Tensor& kv_b) {
  const at::Tensor up = per_head(s, kv_b).narrow(1, s.nope_dim, s.value_dim);  // (H, dv, c)
  return at::einsum("nhc,hvc->nhv", {context, up}).flatten(1);
}

at::Tensor expert_weights(const RoutingRule& rule, const at::Tensor& scores, const at::Tensor& ids) {
  at::Tensor w = scores.gather(1, ids);
  if (rule.normalise) w = w / (w.sum(1, /*keepdim=*/true) + 1e-20);
  return w * rule.scale;
}

at::Tensor experts(const at::Tensor& x, const at::Tensor& gate, const at::Tensor& up, const at::Tensor& down,
                   const at::Tensor& ids, const at::Tensor& weights) {
  at::Tensor out = at::zeros_like(x);
  for (int64_t e = 0; e < gate.size(0); ++e) {
    const auto found = (ids == e).nonzero_numpy();
    const at::Tensor &row = found[0], &slot = found[1];
    const at::Tensor h = x.index_select(0, row);
    const at::Tensor y = at::linear(reference::swiglu(at::linear(h, gate[e]), at::linear(h, up[e])), down[e]);
    out = out.index_add(0, row, y * weights.index({row, slot}).unsqueeze(1));
  }
  return out;
}

TokenLogprobs token_logprobs(const at::Tensor& hidden, const at::Tensor& head, const at::Tensor& targets,
                             const at::Tensor& forbidden, double inv_temperature) {
  at::Tensor logits = at::linear(hidden, head) * inv_temperature;
  if (forbidden.defined()) {
    const at::Tensor column = forbidden.unsqueeze(1);
    const at::Tensor mask = at::arange(head.size(0), targets.options()).unsqueeze(0) == column;
    logits = logits.masked_fill(mask, -INFINITY);
  }
  const at::Tensor logp = logits.log_softmax(1);
  const at::Tensor p = logp.exp();
  const at::Tensor entropy = -(p * logp.masked_fill(p == 0, 0)).sum(1);
  const at::Tensor own = logp.gather(1, targets.unsqueeze(1)).squeeze(1);
  return {own, entropy.detach(), (own >= std::get<0>(logp.max(1))).to(logp.scalar_type()).detach()};
}

}  // namespace hone::reference
