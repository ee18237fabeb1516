#include "models/mixture_of_experts.h"

#include <algorithm>

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/sum.h>

namespace hone {

MixtureOfExperts::MixtureOfExperts(const ModelConfig& c, const std::string& prefix, ParameterList& p)
    : rule_{c.n_routed_experts, c.num_experts_per_tok, c.n_group,
            c.topk_group,       c.norm_topk_prob,      c.routed_scaling_factor},
      softmax_(c.scoring_func == "softmax") {
  const int64_t hidden = c.hidden_size, width = c.moe_intermediate_size, e = c.n_routed_experts;
  // float32 whatever the arithmetic, as DeepSeek-V3's: rounding would send rows to other experts
  router_ = Weight(p.add(prefix + "gate.weight", {e, hidden}, ParameterKind::kMatrix));
  if (!softmax_) bias_ = p.add(prefix + "gate.e_score_correction_bias", {e}, ParameterKind::kRouterBias);
  gate_ = p.add_stack(prefix + "experts.{e}.gate_proj.weight", e, {width, hidden});
  up_ = p.add_stack(prefix + "experts.{e}.up_proj.weight", e, {width, hidden});
  down_ = p.add_stack(prefix + "experts.{e}.down_proj.weight", e, {hidden, width});
  if (c.n_shared_experts > 0) shared_.emplace(p, prefix + "shared_experts.", hidden, width * c.n_shared_experts);
}

at::Tensor MixtureOfExperts::operator()(const at::Tensor& x, const ForwardContext& context) const {
  const at::Tensor s = scores(x);
  const at::Tensor ids = ops::select_experts(rule_, s, bias_);
  if (context.router) report(s, ids, context);
  const at::Tensor routed = ops::experts(x, gate_, up_, down_, ids, ops::expert_weights(rule_, s, ids));
  return shared_ ? ops::add(routed, (*shared_)(x)) : routed;
}

at::Tensor MixtureOfExperts::scores(const at::Tensor& x) const {
  const at::Tensor logits = ops::linear(x, router_);
  return softmax_ ? ops::softmax(logits) : ops::sigmoid(logits);
}

void MixtureOfExperts::report(const at::Tensor& scores, const at::Tensor& ids, const ForwardContext& context) const {
  std::vector<int64_t> counts(static_cast<size_t>(rule_.experts), 0);
  for (int64_t i = 0; i < ids.numel(); ++i) ++counts[static_cast<size_t>(ids.const_data_ptr<int64_t>()[i])];
  context.router->counts.push_back(std::move(counts));
  context.router->chosen.push_back(ids);
  if (context.balance_loss) context.router->balance_losses.push_back(balance_loss(scores, context.rows));
}

// Sequence-wise balance loss over alpha (V3 eq. 17-20), mean over sequences: sum_i f_i P_i with
// f_i = E / (k T) #{t : i among the top k of s_t, unbiased}, P_i = mean_t s_ti / sum_j s_tj. Only P has a gradient.
at::Tensor MixtureOfExperts::balance_loss(const at::Tensor& scores, const Rows& rows) const {
  RoutingRule plain = rule_;
  plain.groups = plain.kept_groups = 1;
  const at::Tensor top = ops::select_experts(plain, scores, /*bias=*/{});
  at::Tensor share = at::empty(scores.sizes(), scores.options().requires_grad(false).dtype(at::kDouble));
  for (const auto& span : rows.spans) {
    std::vector<double> f(static_cast<size_t>(rule_.experts), 0.0);
    const auto t = static_cast<double>(span.count);
    const double one = static_cast<double>(rule_.experts) / (static_cast<double>(rule_.top_k) * t);
    const int64_t* id = top.const_data_ptr<int64_t>() + span.row * rule_.top_k;
    for (int64_t i = 0; i < span.count * rule_.top_k; ++i) f[static_cast<size_t>(id[i])] += one;
    for (double& x : f) x /= t * static_cast<double>(rows.spans.size());
    for (int64_t i = 0; i < span.count; ++i) {
      std::copy(f.begin(), f.end(), share.mutable_data_ptr<double>() + (span.row + i) * rule_.experts);
    }
  }
  return (share.to(scores.scalar_type()) * scores / scores.sum(1, /*keepdim=*/true)).sum();
}

}  // namespace hone
