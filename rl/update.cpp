#include "rl/update.h"

#include <algorithm>
#include <numeric>

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/sum.h>

namespace hone {
namespace {

at::Tensor tensor_of(const std::vector<int64_t>& values) {
  at::Tensor t = at::empty({static_cast<int64_t>(values.size())}, at::kLong);
  std::copy(values.begin(), values.end(), t.mutable_data_ptr<int64_t>());
  return t;
}
at::Tensor tensor_of(const std::vector<float>& values, at::ScalarType type) {
  at::Tensor t = at::empty({static_cast<int64_t>(values.size())}, at::kFloat);
  std::copy(values.begin(), values.end(), t.mutable_data_ptr<float>());
  return t.to(type);
}

// The trainer's log-probs of a micro-batch's loss tokens.
TokenLogprobs evaluate(const Policy& policy, const Batch& batch, double inv_temperature, RouterLoad* router,
                       bool balance) {
  const Rows rows = pack_rows(batch.lengths);
  const at::Tensor hidden =
      policy.forward(tensor_of(batch.inputs), {.rows = rows, .router = router, .balance_loss = balance});
  return ops::token_logprobs(hidden.index_select(0, tensor_of(batch.rows)), policy.head(), tensor_of(batch.targets),
                             tensor_of(batch.forbidden), inv_temperature);
}

void add_counts(std::vector<std::vector<int64_t>>& total, const std::vector<std::vector<int64_t>>& part) {
  if (total.empty()) total = part;
  else
    for (size_t l = 0; l < part.size(); ++l) {
      for (size_t e = 0; e < part[l].size(); ++e) total[l][e] += part[l][e];
    }
}

// alpha times the layers' balance losses, weighed by this micro-batch's share of the sequences.
at::Tensor with_balance_loss(at::Tensor loss, const RouterLoad& router, double alpha, double share) {
  for (const at::Tensor& balance : router.balance_losses) loss = loss + balance * (alpha * share);
  return loss;
}

// Forward, `loss_of(part, logprobs, offset) -> loss`, backward, for every micro-batch; the sums that all losses report.
template <class LossOf>
UpdateStats accumulate(const Policy& policy, const Batch& batch, const UpdateOptions& options, const LossOf& loss_of) {
  UpdateStats stats;
  std::vector<std::vector<int64_t>> counts;
  const bool balance = options.router_aux_loss_alpha > 0;
  int64_t offset = 0;
  for (const auto& [begin, end] : micro_batches(batch, options.micro_batch_tokens)) {
    const Batch part = slice(batch, begin, end);
    if (part.num_loss_tokens() == 0) continue;
    RouterLoad router;
    const TokenLogprobs out = evaluate(policy, part, options.inv_temperature, &router, balance);
    at::Tensor loss = loss_of(part, out.logprobs, offset);
    stats.loss += loss.item<double>();
    stats.entropy += out.entropy.sum().item<double>();
    const double share = static_cast<double>(end - begin) / static_cast<double>(batch.num_sequences());
    with_balance_loss(loss, router, options.router_aux_loss_alpha, share).backward();
    add_counts(counts, router.counts);
    offset += part.num_loss_tokens();
  }
  stats.entropy /= static_cast<double>(std::max<int64_t>(1, batch.num_loss_tokens()));
  stats.has_router = !counts.empty();
  stats.max_vio = max_violation(counts);
  if (options.router_bias_update_rate > 0) update_router_biases(policy, counts, options.router_bias_update_rate);
  return stats;
}

}  // namespace

std::vector<float> token_logprobs(const Policy& policy, const Batch& batch, double inv_temperature,
                                  int64_t micro_batch_tokens) {
  at::NoGradGuard no_grad;
  std::vector<float> all;
  for (const auto& [begin, end] : micro_batches(batch, micro_batch_tokens)) {
    const Batch part = slice(batch, begin, end);
    if (part.num_loss_tokens() == 0) continue;
    const at::Tensor logprobs =
        evaluate(policy, part, inv_temperature, nullptr, false).logprobs.to(at::kFloat).contiguous();
    all.insert(all.end(), logprobs.const_data_ptr<float>(), logprobs.const_data_ptr<float>() + logprobs.numel());
  }
  return all;
}

UpdateStats accumulate_policy_gradient(const Policy& policy, const Batch& batch, const LossSpec& spec,
                                       const std::vector<float>& ref_logprobs, const UpdateOptions& options,
                                       const LogprobsSeen& seen) {
  double clipped = 0, kl = 0;
  UpdateStats stats =
      accumulate(policy, batch, options, [&](const Batch& part, const at::Tensor& logprobs, int64_t offset) {
        const at::ScalarType type = logprobs.scalar_type();
        if (seen) seen({logprobs.const_data_ptr<float>(), static_cast<size_t>(logprobs.numel())}, offset);
        LossInput in{.policy_logprobs = logprobs,
                     .sampler_logprobs = tensor_of(part.sampler_logprobs, type),
                     .advantages = tensor_of(part.advantages, type),
                     .weights = tensor_of(part.weights, type),
                     .sequence = tensor_of(part.sequence),
                     .num_sequences = part.num_sequences(),
                     .ref_logprobs = {}};
        if (!ref_logprobs.empty()) {
          const auto begin = ref_logprobs.begin() + offset;
          in.ref_logprobs = tensor_of(std::vector<float>(begin, begin + part.num_loss_tokens()), type);
        }
        const LossOutput out = policy_loss(spec, in);
        clipped += out.clipped;
        kl += out.kl;
        return out.loss;
      });
  const auto tokens = static_cast<double>(std::max<int64_t>(1, batch.num_loss_tokens()));
  stats.clip_ratio = clipped / tokens;
  stats.kl = kl / tokens;
  return stats;
}

UpdateStats accumulate_cross_entropy_gradient(const Policy& policy, const Batch& batch, const UpdateOptions& options) {
  return accumulate(policy, batch, options, [](const Batch& part, const at::Tensor& logprobs, int64_t) {
    return -(logprobs * tensor_of(part.weights, logprobs.scalar_type())).sum();
  });
}

void apply_gradient(Optimizer& optimizer, const UpdateOptions& options, UpdateStats& stats) {
  stats.grad_norm = optimizer.step(options.rate_factor);
}

void update_router_biases(const Policy& policy, const std::vector<std::vector<int64_t>>& counts, double rate) {
  at::NoGradGuard no_grad;
  const auto biases = policy.router_biases();
  for (size_t l = 0; l < biases.size() && l < counts.size(); ++l) {
    const double mean =
        std::accumulate(counts[l].begin(), counts[l].end(), 0.0) / static_cast<double>(counts[l].size());
    float* bias = biases[l].mutable_data_ptr<float>();
    for (size_t e = 0; e < counts[l].size(); ++e) {
      const double missing = mean - static_cast<double>(counts[l][e]);
      bias[e] += static_cast<float>(missing > 0 ? rate : missing < 0 ? -rate : 0);
    }
  }
}

double max_violation(const std::vector<std::vector<int64_t>>& counts) {
  double sum = 0;
  for (const auto& layer : counts) {
    const double mean = std::accumulate(layer.begin(), layer.end(), 0.0) / static_cast<double>(layer.size());
    sum += mean > 0 ? (static_cast<double>(*std::max_element(layer.begin(), layer.end())) - mean) / mean : 0;
  }
  return counts.empty() ? 0 : sum / static_cast<double>(counts.size());
}

}  // namespace hone
