// Sequences that begin alike, as the completions of a prompt do, pass through a policy with that beginning once: whole
// blocks of 16 positions, whose keys and values all of them read. No bit of any row's result changes, because a row
// depends on its own inputs alone (models/kernels/cpu.h).
//
//   A B C | x y z       rows that pass:  A B C        positions 0 1 2   (one block, say of three)
//   A B C | u v                          x y z                  3 4 5   reads the block of A B C
//                                        u v                    3 4     reads it too
#pragma once

#include <cstdint>
#include <vector>

#include "models/kernels/ops.h"

namespace hone {

struct SharedPrefixes {
  Rows rows;                    ///< spans and positions of the n <= N rows that pass
  std::vector<int64_t> inputs;  ///< (n) their token ids
  std::vector<int64_t> row_of;  ///< (N) the row that passes for each row of the sequences
};

/// For B sequences of `lengths` (B) rows one after another in `inputs` (N). Only neighbours share: runs of them such
/// that the fewest rows pass.
SharedPrefixes share_prefixes(const std::vector<int64_t>& lengths, const std::vector<int64_t>& inputs);

}  // namespace hone
