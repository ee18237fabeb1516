// The countdown task: reach a target with three numbers and + - *. Made from nothing: problems, vocabulary, corpus.
//
//   prompt     7 3 12:33\n                                        8 tokens
//   response   <think>7+3=10,10+12=22 vs 33 wait12+3=15,15*7=..   14 tokens a try, the verdict included
//              .. vs 33 yes</think><answer>(7*3)+12</answer>
//
// Problems. Numbers 1..12, repeats allowed. A derivation is r = x op1 y, v = r op2 z over the ways to choose x, y, z
// from the numbers and op1, op2 from + - *, with x >= y where op1 is + or *, and r and v in 1..99. A problem is a
// multiset of numbers and a target that some derivation reaches: 3971 of them. 400 are held out, by
// (k0*7919 + k1*104729 + k2*1299709 + target*15485863) % 1009 % 10 == 0 over the sorted numbers k. The split is by
// problem: the same numbers do occur in training with other targets.
//
// Corpus. Numbers are drawn uniformly, the target uniformly over what they reach; held-out problems are drawn again.
// Kinds of response: 20 % direct (empty thoughts), 30 % one try (ends in yes or no, and is answered even if wrong),
// 35 % search (1..max_tries tries; ` wait` after a miss, ` yes` and stop at a hit, ` no` and a wrong answer at the
// last), 15 % broken (one of those kinds with a tag dropped, only an answer, no answer, a wrong number, or the bare
// target as answer). A try is a derivation that reaches the target with probability .1, else one drawn uniformly whose
// second operation is, with probability guided_fraction, replaced by the one closest to the target. A search redraws
// up to 8 times a try it has already made.
//
// Two languages. The task countdown_bilingual has the same problems; its words are English or Chinese. A document is
// written in Chinese with probability foreign_fraction, with mixed_fraction the language of each word is drawn, else it
// is English. So a policy trained on it mixes languages as R1-Zero did, until a reward asks it not to. Its completions
// can be rewritten into a readable form: recipes/countdown/rewrite.h.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "rl/task.h"

namespace hone {

/// v = (x op1 y) op2 z, and r = x op1 y.
struct Derivation {
  int x, y, z;
  char op1, op2;
  int r, v;

  bool operator==(const Derivation&) const = default;
};

/// The distinct derivations of three numbers, in a fixed order. Those that share x op1 y are neighbours.
std::vector<Derivation> derivations(std::array<int, 3> numbers);

/// Whether the problem is one of the 400.
bool is_held_out(std::array<int, 3> numbers, int target);

/// The task; its functions are pure and thread-safe. Names in diagnose: see recipes/countdown/diagnose.h.
Task countdown_task();
Task bilingual_countdown_task();

}  // namespace hone
