// What jinja2's compiler finds out before anything runs: which names a scope sets before it reads them (they are
// undefined there until set, even when an outer scope or the caller has one), and uses that can never work.
#pragma once

#include "models/text/jinja_ast.h"

namespace hone::jinja {

/// Fills unset_names, unset_else_names, uses_loop and catches_* of the tree. Throws Error of kind kSyntax for unknown
/// filters and tests (those inside `if` are left to the runtime, as in jinja2), assignments to `loop`, and `break` or
/// `continue` outside a loop.
void resolve_scopes(Tree& tree);

}  // namespace hone::jinja
