#include "rl/shared_prefix.h"

#include <algorithm>
#include <limits>

namespace hone {
namespace {

// A run of sequences [begin, end) that share their first blocks.
struct Run {
  int64_t begin, end, blocks;
};

// (B) Whole blocks that a sequence has in common with the one before it; each keeps a row of its own.
std::vector<int64_t> common_blocks(const std::vector<int64_t>& lengths, const std::vector<int64_t>& inputs) {
  std::vector<int64_t> blocks(lengths.size(), 0);
  int64_t offset = 0;
  for (size_t b = 1; b < lengths.size(); ++b) {
    const auto before = inputs.begin() + offset, own = before + lengths[b - 1];
    const int64_t most = std::min(lengths[b - 1], lengths[b]) - 1;
    blocks[b] = (std::mismatch(own, own + most, before).first - own) / cpu::kBlock;
    offset += lengths[b - 1];
  }
  return blocks;
}

// The runs that spare most rows: best[e] is of the sequences before e, with a last run that starts at from[e].
std::vector<Run> best_runs(const std::vector<int64_t>& common) {
  const auto n = static_cast<int64_t>(common.size());
  std::vector<int64_t> best(common.size() + 1, 0), from(common.size() + 1, 0), shared(common.size() + 1, 0);
  for (int64_t end = 1; end <= n; ++end) {
    best[static_cast<size_t>(end)] = -1;
    int64_t blocks = std::numeric_limits<int64_t>::max();
    for (int64_t begin = end - 1; begin >= 0 && blocks > 0; --begin) {
      const int64_t size = end - begin,
                    spared = best[static_cast<size_t>(begin)] + (size > 1 ? (size - 1) * blocks : 0);
      if (spared > best[static_cast<size_t>(end)]) {
        best[static_cast<size_t>(end)] = spared;
        from[static_cast<size_t>(end)] = begin;
        shared[static_cast<size_t>(end)] = size > 1 ? blocks : 0;
      }
      blocks = std::min(blocks, common[static_cast<size_t>(begin)]);
    }
  }
  std::vector<Run> runs;
  for (int64_t end = n; end > 0; end = from[static_cast<size_t>(end)]) {
    runs.push_back({from[static_cast<size_t>(end)], end, shared[static_cast<size_t>(end)]});
  }
  std::ranges::reverse(runs);
  return runs;
}

}  // namespace

SharedPrefixes share_prefixes(const std::vector<int64_t>& lengths, const std::vector<int64_t>& inputs) {
  SharedPrefixes out;
  // input rows [first, first + count) as positions from `position` on, behind the blocks of `prefix`
  const auto add = [&](int64_t first, int64_t count, int64_t position, const cpu::RowSpan& prefix) {
    out.inputs.insert(out.inputs.end(), inputs.begin() + first, inputs.begin() + first + count);
    return add_span(out.rows, count, position, prefix.first_block);
  };
  const auto map = [&](int64_t row, int64_t count) {
    for (int64_t i = 0; i < count; ++i) out.row_of.push_back(row + i);
  };
  int64_t offset = 0;
  for (const Run& run : best_runs(common_blocks(lengths, inputs))) {
    const int64_t shared = run.blocks * cpu::kBlock;
    cpu::RowSpan prefix;
    if (shared > 0) prefix = add(offset, shared, 0, {});
    for (int64_t b = run.begin; b < run.end; ++b) {
      const int64_t length = lengths[static_cast<size_t>(b)];
      map(prefix.row, shared);
      const cpu::RowSpan own = add(offset + shared, length - shared, shared, prefix);
      map(own.row, own.count);
      offset += length;
    }
  }
  return out;
}

}  // namespace hone
