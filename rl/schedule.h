// The learning rate over the steps of a stage, as a share of its peak. With w = warmup_steps, n = max_steps:
//
//   step < w               (step + 1) / w
//   constant               1
//   linear, cosine         from 1 at step w to lr_min_ratio at step n - 1, along a line or half a cosine
//   warmup_stable_decay    1 up to step lr_decay_start * n, then a line to lr_min_ratio at step n - 1
#pragma once

#include <cstdint>

#include "rl/config.h"

namespace hone {

/// Factor for the step-th update, counted from 0. After the last step it stays at its final value.
double learning_rate_factor(const OptimConfig& config, int64_t step);

}  // namespace hone
