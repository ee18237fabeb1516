// The `pattern` of a tokenizer.json's Split and Replace: {"String": ..} or {"Regex": ..}.
#pragma once

#include <string>

#include <nlohmann/json_fwd.hpp>

#include "models/tokenizer_regex.h"

namespace hone::text {

/// object["pattern"]. Throws std::runtime_error naming the place and what is wrong.
TokenizerRegex read_pattern(const nlohmann::json& object, const std::string& place);

}  // namespace hone::text
