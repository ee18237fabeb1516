#include "rl/distillation.h"

#include <cmath>
#include <stdexcept>

#include <ATen/ATen.h>

namespace hone {
namespace {

// KL of distributions given as log-probs (M, V) -> (M).
at::Tensor kl(const at::Tensor& p, const at::Tensor& q) { return (p.exp() * (p - q)).sum(-1); }

}  // namespace

DistillationSpec distillation_spec(const SftConfig& c) {
  DistillationSpec spec{.beta = c.distil_beta, .temperature = c.distil_temperature};
  if (c.distil_loss == "forward_kl") spec.divergence = Divergence::kForwardKl;
  else if (c.distil_loss == "reverse_kl") spec.divergence = Divergence::kReverseKl;
  else if (c.distil_loss == "jsd") spec.divergence = Divergence::kJsd;
  else throw std::invalid_argument("distil_loss '" + c.distil_loss + "' is none of forward_kl, reverse_kl, jsd");
  return spec;
}

at::Tensor divergence(const DistillationSpec& spec, const at::Tensor& student_logits,
                      const at::Tensor& teacher_logits) {
  const at::Tensor q = at::log_softmax(student_logits / spec.temperature, -1);
  const at::Tensor p = at::log_softmax(teacher_logits.detach() / spec.temperature, -1);
  switch (spec.divergence) {
    case Divergence::kForwardKl:
      return kl(p, q);
    case Divergence::kReverseKl:
      return kl(q, p);
    case Divergence::kJsd: {
      const at::Tensor m = at::logaddexp(p + std::log(spec.beta), q + std::log1p(-spec.beta));
      return spec.beta * kl(p, m) + (1 - spec.beta) * kl(q, m);
    }
  }
  throw std::invalid_argument("unknown divergence");
}

}  // namespace hone
