#include "rl/loss.h"

#include <stdexcept>

#include <ATen/ATen.h>

namespace hone {
namespace {

// The mean of x over each sequence, at every token of it.
at::Tensor sequence_mean(const at::Tensor& x, const at::Tensor& sequence, int64_t num_sequences) {
  const at::Tensor zero = at::zeros({num_sequences}, x.options().requires_grad(false));
  const at::Tensor sum = zero.index_add(0, sequence, x);
  const at::Tensor count = zero.index_add(0, sequence, at::ones_like(x));
  return (sum / count).index_select(0, sequence);
}

at::Tensor kl_estimate(KlEstimator kind, const at::Tensor& d) {
  switch (kind) {
    case KlEstimator::kK1:
      return -d;
    case KlEstimator::kK2:
      return d * d / 2;
    case KlEstimator::kK3:
      return d.exp() - d - 1;
  }
  throw std::invalid_argument("unknown KL estimator");
}

at::Tensor soft_gate(const LossSpec& spec, const at::Tensor& ratio, const at::Tensor& advantages) {
  const at::Tensor tau =
      at::where(advantages > 0, at::full_like(ratio, spec.temperature_pos), at::full_like(ratio, spec.temperature_neg))
          .detach();
  return (tau * (ratio - 1)).sigmoid() * 4 / tau;
}

void count_clipped(LossOutput& out, const at::Tensor& active, const LossInput& in) {
  const at::Tensor low = (active & (in.advantages < 0)).to(in.advantages.scalar_type()),
                   high = (active & (in.advantages > 0)).to(in.advantages.scalar_type());
  out.clipped = active.sum().item<double>();
  out.clipped_low = low.sum().item<double>();
  out.clipped_high = high.sum().item<double>();
  if (low.numel() == 0) return;
  out.low_min = sequence_mean(low, in.sequence, in.num_sequences).min().item<double>();
  out.high_max = sequence_mean(high, in.sequence, in.num_sequences).max().item<double>();
}

}  // namespace

LossSpec loss_spec(const RlConfig& c) {
  LossSpec spec{.epsilon = c.epsilon,
                .epsilon_high = c.epsilon_high,
                .delta = c.delta,
                .temperature_pos = c.sapo_temperature_pos,
                .temperature_neg = c.sapo_temperature_neg,
                .beta = c.beta,
                .kl_has_ratio = c.use_bias_correction_kl};
  if (c.loss_type == "grpo") spec.normaliser = Normaliser::kSequenceMean;
  else if (c.loss_type == "dapo") spec.normaliser = Normaliser::kTokenMean;
  else if (c.loss_type == "bnpo") spec.normaliser = Normaliser::kMicroBatchTokenMean;
  else if (c.loss_type == "dr_grpo") spec.normaliser = Normaliser::kMaxLength;
  else if (c.loss_type == "gspo") spec.normaliser = Normaliser::kSequenceMean, spec.ratio = Ratio::kSequence;
  else if (c.loss_type == "cispo") spec.normaliser = Normaliser::kTokenMean, spec.clip = Clip::kDetached;
  else if (c.loss_type == "sapo") spec.normaliser = Normaliser::kSequenceMean, spec.clip = Clip::kSoft;
  else
    throw std::invalid_argument("loss_type '" + c.loss_type +
                                "' is none of grpo, bnpo, dapo, dr_grpo, gspo, cispo, sapo");
  if (c.kl_estimator == "k1") spec.kl = KlEstimator::kK1;
  else if (c.kl_estimator == "k2") spec.kl = KlEstimator::kK2;
  else if (c.kl_estimator == "k3") spec.kl = KlEstimator::kK3;
  else throw std::invalid_argument("kl_estimator '" + c.kl_estimator + "' is none of k1, k2, k3");
  return spec;
}

LossOutput policy_loss(const LossSpec& spec, const LossInput& in) {
  at::Tensor log_ratio = in.policy_logprobs - in.sampler_logprobs;
  if (spec.ratio == Ratio::kSequence) log_ratio = sequence_mean(log_ratio, in.sequence, in.num_sequences);
  const at::Tensor ratio = log_ratio.exp();
  const at::Tensor clipped = ratio.clamp(1 - spec.epsilon, 1 + spec.epsilon_high);
  const at::Tensor plain = (spec.delta > 0 ? ratio.clamp_max(spec.delta) : ratio) * in.advantages;
  const at::Tensor bounded = clipped * in.advantages;
  at::Tensor per_token;
  if (spec.clip == Clip::kPessimistic) per_token = -at::minimum(plain, bounded);
  else if (spec.clip == Clip::kDetached) per_token = -clipped.detach() * in.advantages * in.policy_logprobs;
  else per_token = -soft_gate(spec, ratio, in.advantages) * in.advantages;
  LossOutput out;
  if (spec.clip == Clip::kPessimistic) count_clipped(out, bounded < plain, in);
  else if (spec.clip == Clip::kDetached) count_clipped(out, clipped != ratio, in);
  if (in.ref_logprobs.defined()) {
    at::Tensor kl = kl_estimate(spec.kl, in.ref_logprobs - in.policy_logprobs);
    if (spec.kl_has_ratio) kl = kl * ratio;
    out.kl = kl.sum().item<double>();
    per_token = per_token + spec.beta * kl;
  }
  out.loss = (per_token * in.weights).sum();
  return out;
}

}  // namespace hone
