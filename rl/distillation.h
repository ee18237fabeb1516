// Logit distillation: how far the student's distribution of a next token is from the teacher's. With P the teacher's
// and Q the student's softmax(logits / temperature), and M = beta P + (1 - beta) Q:
//
//   forward_kl  KL(P || Q) = sum_v P log(P / Q)            covers every mode of the teacher (Hinton et al. 2015)
//   reverse_kl  KL(Q || P) = sum_v Q log(Q / P)            keeps to the teacher's modes (MiniLLM, Gu et al. 2023)
//   jsd         beta KL(P || M) + (1 - beta) KL(Q || M)    GKD, Agarwal et al. 2023, eq. 1, 0 < beta < 1
//
// As in TRL, whose beta 0 and 1 are forward_kl and reverse_kl; jsd / beta and jsd / (1 - beta) tend to them. Not scaled
// by the squared temperature. On-policy distillation (GKD) is the same loss on completions that the student samples.
#pragma once

#include <ATen/core/Tensor.h>

#include "rl/config.h"

namespace hone {

enum class Divergence { kForwardKl, kReverseKl, kJsd };

struct DistillationSpec {
  Divergence divergence = Divergence::kForwardKl;
  double beta = 0.5;  ///< for kJsd
  double temperature = 1.0;
};
/// distil_loss, distil_beta, distil_temperature of a recipe. Throws std::invalid_argument for an unknown word.
DistillationSpec distillation_spec(const SftConfig& config);

/// Both (M, V) -> (M), nats, >= 0 but for rounding; the gradient goes to the student alone.
at::Tensor divergence(const DistillationSpec& spec, const at::Tensor& student_logits, const at::Tensor& teacher_logits);

}  // namespace hone
