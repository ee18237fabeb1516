// Python's two ways to lay out values in text: "%d" % x and "{}".format(x).
#pragma once

#include "models/text/jinja_value.h"

namespace hone::jinja {

/// `format % values`; %s %r %a %d %i %u %f %F %e %E %g %G %x %X %o %c with flags, width, precision and (keys).
Value format_percent(Meter& meter, const Text& format, const Value& values);

/// str.format: positions, names, attributes and items of fields, !s !r !a, and format specs of text and numbers.
Value format_braces(Runtime& runtime, const Text& format, const Args& args);

}  // namespace hone::jinja
