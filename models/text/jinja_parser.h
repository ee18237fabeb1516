// Template text to tree, with jinja2's grammar and its messages. Not supported, and refused by name: include, import,
// from, extends, block, autoescape, and tuples of slices in a subscript.
#pragma once

#include <string_view>

#include "models/text/jinja_ast.h"

namespace hone::jinja {

/// Throws Error of kind kSyntax with the line, also for filters and tests that do not exist and for nesting beyond 100
/// statements or 180 expressions.
Tree parse(std::string_view source);

}  // namespace hone::jinja
