// A Jinja template as chat templates are written: jinja2 3.1 in the sandbox and with the settings that transformers
// gives it (trim_blocks, lstrip_blocks, loop controls, {% generation %}, tojson, raise_exception, strftime_now).
//
// The language is complete but for what loads other templates (include, import, extends, block), autoescape, and the
// filters that jinja_builtins.h lists as left out; integers have 128 bits, complex numbers are refused. Templates are
// untrusted: a render ends with an Error of kind kLimit at the limits of jinja_value.h (10,000,000 steps, 512 MiB
// built, 64 MiB of output, 900 levels of evaluation), and nothing outside the given variables can be reached.
// Proven against PyPI jinja2 by tests/python/chat_template_parity_test.py and tests/golden/jinja_cases.jsonl.
#pragma once

#include <ctime>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "models/text/jinja_value.h"

namespace hone::jinja {

struct Tree;

struct Span {
  size_t begin = 0, end = 0;  ///< byte positions in the text, end behind the last
};

struct Rendered {
  std::string text;
  std::vector<Span> generation;  ///< what stood inside {% generation %}
};

struct RenderOptions {
  Limits limits;
  std::optional<std::tm> now;  ///< local time of strftime_now; without it the function fails
  /// Collect the spans. A {% generation %} inside a macro, filter, call or set block has no place in the text yet, so
  /// it is then an Error (transformers gives wrong places for it).
  bool tracks_generation = false;
};

/// Immutable; safe to render from several threads.
class Template {
 public:
  /// Throws Error of kind kSyntax, or kLimit for text above Limits::max_template_bytes.
  static Template parse(std::string_view source);
  /// Throws Error. `variables`: what the template sees by name.
  Rendered render(const Dict& variables, const RenderOptions& options = {}) const;

 private:
  explicit Template(std::shared_ptr<const Tree> tree) : tree_(std::move(tree)) {}
  std::shared_ptr<const Tree> tree_;
};

}  // namespace hone::jinja
