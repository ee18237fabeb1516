// Methods of Python's str, list, tuple and dict, and the text operations that filters share with them.
#pragma once

#include <string>
#include <string_view>

#include "models/text/jinja_value.h"

namespace hone::jinja {

/// str.replace; count below 0: all.
std::string replace_text(Meter& meter, std::string_view text, std::string_view from, std::string_view to, Int count);
/// str.strip(characters); "left", "right" of it. Without characters: white space.
std::string strip_text(std::string_view text, const std::string* characters, bool left = true, bool right = true);
/// Spaces (or `fill`) on both sides up to `width` code points, as str.center, ljust and rjust do.
enum class Align { kLeft, kRight, kCenter };
std::string align_text(Meter& meter, const std::string& text, Int width, Align align, const std::string& fill = " ");

}  // namespace hone::jinja
