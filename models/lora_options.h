// What a low-rank adaptation of a policy is made of; knows nothing of torch.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace hone {

struct LoraOptions {
  int64_t rank = 0;                              ///< r; 0: none, all weights are trained
  double alpha = 32.0;                           ///< what is added to a weight is scaled by alpha / rank
  std::vector<std::string> target_modules = {};  ///< q_proj, down_proj, ..; empty: every linear layer
};

}  // namespace hone
