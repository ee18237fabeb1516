// JSON to template values and back; tojson writes what Python's json.dumps writes.
#pragma once

#include <optional>
#include <string>

#include <nlohmann/json_fwd.hpp>

#include "models/text/jinja_value.h"

namespace hone::jinja {

/// Throws Error of kind kLimit for JSON nested deeper than 150 levels.
Value from_json(Meter& meter, const nlohmann::ordered_json& json);

struct JsonStyle {
  bool ensure_ascii = false;
  std::optional<std::string> indent;  ///< one level's; none: all on one line
  std::string item_separator = ", ", key_separator = ": ";
  bool sort_keys = false;
};
/// Throws Error for what JSON cannot hold.
std::string to_json(Meter& meter, const Value& value, const JsonStyle& style);

}  // namespace hone::jinja
