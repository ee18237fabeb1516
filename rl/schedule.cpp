#include "rl/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace hone {
namespace {

/// 0 at `from`, 1 at `to` and after it.
double share(double step, double from, double to) {
  if (step <= from) return 0;
  return to <= from ? 1 : std::min(1.0, (step - from) / (to - from));
}

}  // namespace

double learning_rate_factor(const OptimConfig& config, int64_t step) {
  const double warmup = double(config.warmup_steps), last = double(config.max_steps - 1), now = double(step);
  if (now < warmup) return (now + 1) / warmup;
  const double fall = 1 - config.lr_min_ratio;
  if (config.lr_scheduler_type == "linear") return 1 - fall * share(now, warmup, last);
  if (config.lr_scheduler_type == "cosine") {
    return 1 - fall * (1 - std::cos(std::numbers::pi * share(now, warmup, last))) / 2;
  }
  if (config.lr_scheduler_type == "warmup_stable_decay") {
    const double start = std::max(warmup, config.lr_decay_start * double(config.max_steps));
    return 1 - fall * share(now, start, last);
  }
  return 1;
}

}  // namespace hone
