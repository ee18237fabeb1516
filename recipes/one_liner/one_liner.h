// The one_liner task: write the one-line Python program that turns these inputs into these outputs. Real programs,
// judged by running them.
//
//   prompt     1:5 2:8 4:14\n                                            from 1 to 5, from 2 to 8, from 4 to 14; 12
//   tokens response   <think>x*2+3 1:2+3=5 ok 2:4+3=7 no waitx*3+2 1:3+2=5 ok 2:6+2=8 ok 4:12+2=14 ok yes</think>
//              <answer>for x in map(int,open(0)):print(x*3+2)</answer>
//
// A function is x*M+B or x*M-B, M one of 2..9 or x itself, B in 0..12. A problem is a function and three inputs of 0..9
// in rising order with outputs in 0..99, no two of which are alike. A row has the columns of the `code` reward: inputs
// and outputs, one hidden run over six numbers, some of them far from those shown; a program that only fits what is
// shown fails. Rows: 4,000 to learn from and 400 held out, told apart by a hash of the prompt.
//
// A try is a function and a check of the examples in order: x*M, op, B, =, the sum, then ` ok` when it is the prompt's
// output, else ` no`, which ends the check; ` yes` follows the third ` ok`. Kinds of response: 20 % direct (no
// thoughts), 30 % one try (answered even if wrong), 40 % search (1..max_tries tries with ` wait` between them, the last
// one is answered), 10 % broken (a search whose program lacks one of x, *, M and B: mostly no Python). A try is the
// right function with probability .05, fits the first example with probability guided_fraction, else is drawn at
// random.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "rl/task.h"

namespace hone {

struct OneLiner {
  int factor = 2;  ///< M; 0: x itself
  char op = '+';
  int term = 0;  ///< B

  int operator()(int x) const;
  std::string text() const;  ///< "x*3+2"
  bool operator==(const OneLiner&) const = default;
};

struct OneLinerProblem {
  OneLiner function;
  std::array<int, 3> inputs;  ///< rising
};

/// Whether the three outputs fit the task.
bool is_allowed(const OneLinerProblem& problem);

/// "1:5 2:8 4:14\n"
std::string prompt_of(const OneLinerProblem& problem);

/// Whether the prompt is one of those never trained on: about one in ten.
bool is_held_out(std::string_view prompt);

/// The task; its functions are pure and thread-safe. diagnose gives
///   step_arithmetic  share of written checks a+b=c or a-b=c that are right (0 when there is none)
///   verdict      share of checks whose ok or no is what the prompt says (0 when there is none)
///   tries, waits mean count in a completion;   ends_yes   share of completions whose thoughts end in yes
Task one_liner_task();

}  // namespace hone
