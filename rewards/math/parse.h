// Tokens into an expression tree that keeps the shape of what was written.
//
//   1,234         a number                2\frac12     the number 5/2        (1,2)      an open interval
//   1, 2; 3, 4    a set of two tuples     x=1,2        x = {1, 2}            (2,1)      a tuple
//   a=1,b=2       a set of equations      1 \pm 2      a set of two          x=y=3      a chain
//
// A descent by hand: one function per level of precedence, depth and nodes bounded by the budget. Several readings are
// settled as Math-Verify settles them: symbols count without case, \log is decimal, a:b divides, a subscript of a
// number is dropped, f(x) is a call where x is one symbol or number, degrees are numbers.
#pragma once

#include <vector>

#include "rewards/math/budget.h"
#include "rewards/math/expr.h"
#include "rewards/math/lex.h"

namespace hone {

/// The tree, in `arena`; null when the tokens are no formula or a limit was reached (the budget says which). Numbers
/// may be split in `tokens` (\frac12).
Expr parse(std::vector<Token>& tokens, Arena& arena, bool quirks, Budget& budget);

/// -a, a / b as they are written: numbers stay numbers.
Expr negated(Arena& arena, Expr value);
Expr quotient(Arena& arena, Expr top, Expr bottom);

}  // namespace hone
