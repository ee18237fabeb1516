#include "models/text/pattern.h"

#include <stdexcept>

#include "models/text/json_fields.h"

namespace hone::text {

TokenizerRegex read_pattern(const nlohmann::json& object, const std::string& place) {
  const nlohmann::json& pattern = member(object, "pattern", place);
  try {
    if (pattern.contains("String")) return TokenizerRegex::literal(text_member(pattern, "String", place));
    return TokenizerRegex(text_member(pattern, "Regex", place));
  } catch (const std::invalid_argument& error) {
    refuse(place, error.what());
  }
}

}  // namespace hone::text
