// What completions of the one_liner task did; the names are those of one_liner.h. Reads garbage leniently, never
// throws.
#pragma once

#include <map>
#include <span>
#include <string>

#include "rollout/types.h"

namespace hone {

std::map<std::string, double> diagnose_one_liner(std::span<const Prompt> prompts, std::span<const Rollout> rollouts);

}  // namespace hone
