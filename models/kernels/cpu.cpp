#include "models/kernels/cpu.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cmath>
#include <cstring>
#include <vector>

#include "models/float_formats.h"
#include "models/kernels/aligned.h"
#include "models/kernels/isa.h"
#include "models/kernels/thread_pool.h"

namespace hone::cpu {
namespace {

const Isa* find_isa(std::string_view name) {
#if defined(__x86_64__)
  const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  const bool bf16 = avx512 && __builtin_cpu_supports("avx512bf16");
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  if (bf16 && (name.empty() || name == "avx512bf16")) return &avx512bf16_isa();
  if (avx512 && (name.empty() || name == "avx512")) return &avx512_isa();
  if (avx2 && (name.empty() || name == "avx2")) return &avx2_isa();
#endif
  return name.empty() || name == "generic" ? &generic_isa() : nullptr;
}

std::atomic<const Isa*>& chosen() {
  static std::atomic<const Isa*> isa{find_isa("")};
  return isa;
}
const Isa& isa() { return *chosen().load(std::memory_order_relaxed); }

// Memory of a thread's kernels: grows to the largest need and stays.
float* scratch(int64_t floats) {
  thread_local AlignedFloats memory;
  if (static_cast<int64_t>(memory.size()) < floats) memory.resize(static_cast<size_t>(floats));
  return memory.data();
}

// body(begin, end) over [0, n) in pieces of `grain`; the pieces are the same for any number of threads.
template <class Body>
void split(int64_t n, int64_t grain, const Body& body) {
  const int64_t pieces = (n + grain - 1) / grain;
  kernel_pool().run(pieces, [&](int64_t i) { body(i * grain, std::min(n, (i + 1) * grain)); });
}

constexpr int64_t kElements = 1 << 12;  // elementwise work of one task: some microseconds

}  // namespace

std::string_view instruction_set() { return isa().name; }

bool use_instruction_set(std::string_view name) {
  const Isa* found = find_isa(name);
  if (found) chosen() = found;
  return found != nullptr;
}

// --- products ---------------------------------------------------------------------------------------------------

namespace {

struct GemmTask {
  const Gemm* gemm;
  int64_t panel0, panel1, m0, m1;
};

// A piece a thread where the work is worth it: rows when there are more of them than columns, unless the other way
// shares out more evenly. No bit depends on the split.
void add_tasks(const Gemm& g, std::vector<GemmTask>& tasks) {
  constexpr int64_t kWork = 1 << 18, kRowStep = 12,
                    kReading = 8;  // a weight costs as much to read as 8 rows to compute
  constexpr double kMuch = 1.04;
  const int64_t panels = (g.n + kPanel - 1) / kPanel, row_steps = (g.m + kRowStep - 1) / kRowStep;
  const int64_t work = std::max(g.m, kReading) * panels * kPanel * g.k;
  const int64_t pieces = std::clamp<int64_t>(work / kWork, 1, kernel_pool().threads());
  const auto largest = [&](int64_t n) {
    return static_cast<double>((n + pieces - 1) / pieces) / static_cast<double>(n);
  };
  const double by_rows = largest(row_steps) * static_cast<double>(row_steps * kRowStep) / static_cast<double>(g.m);
  const double by_panels = largest(panels);
  const bool split_rows = g.m > g.n ? by_rows < by_panels * kMuch : by_rows * kMuch < by_panels;
  for (int64_t i = 0; i < pieces; ++i) {
    if (split_rows) {
      const auto row = [&](int64_t piece) { return std::min(g.m, piece * row_steps / pieces * kRowStep); };
      if (row(i) < row(i + 1)) tasks.push_back({&g, 0, panels, row(i), row(i + 1)});
    } else if (i * panels / pieces < (i + 1) * panels / pieces) {
      tasks.push_back({&g, i * panels / pieces, (i + 1) * panels / pieces, 0, g.m});
    }
  }
}

}  // namespace

void gemm(std::span<const Gemm> products) {
  std::vector<GemmTask> tasks;
  for (const Gemm& g : products) {
    if (g.k == 0 && !g.accumulate) {
      for (int64_t i = 0; i < g.m; ++i) std::fill_n(g.c + i * g.c_row, g.n, 0.f);
    } else if (g.m > 0) {
      add_tasks(g, tasks);
    }
  }
  kernel_pool().run(static_cast<int64_t>(tasks.size()), [&](int64_t i) {
    const GemmTask& t = tasks[static_cast<size_t>(i)];
    isa().gemm_block(*t.gemm, t.panel0, t.panel1, t.m0, t.m1, scratch(gemm_scratch(*t.gemm)));
  });
}

int64_t packed_size(int64_t n, int64_t k) { return (n + kPanel - 1) / kPanel * kPanel * k; }

namespace {

// Panel by panel through `put(panel, floats [k][32])`.
template <class Put>
void for_panels(const float* w, int64_t n, int64_t k, const Put& put) {
  split((n + kPanel - 1) / kPanel, std::max<int64_t>(1, kElements / (k * kPanel)), [&](int64_t begin, int64_t end) {
    for (int64_t panel = begin; panel < end; ++panel) {
      float* out = put.floats(panel);
      for (int64_t j = 0; j < kPanel; j += 16) {
        const int64_t row = panel * kPanel + j;
        if (row + 16 <= n) isa().turn(w + row * k, k, k, out + j, kPanel);
        else
          for (int64_t p = 0; p < k; ++p) {
            for (int64_t i = 0; i < 16; ++i) out[p * kPanel + j + i] = row + i < n ? w[(row + i) * k + p] : 0.f;
          }
      }
      put.done(panel, out);
    }
  });
}

struct PutFloats {
  float* packed;
  int64_t size;
  float* floats(int64_t panel) const { return packed + panel * size; }
  void done(int64_t, float*) const {}
};
struct PutBfloat16 {
  uint16_t* packed;
  int64_t size;
  float* floats(int64_t) const { return scratch(size); }
  void done(int64_t panel, float* made) const {
    for (int64_t i = 0; i < size; ++i) packed[panel * size + i] = bfloat16_of_float(made[i]);
  }
};

struct PutPairs {
  uint32_t* packed;
  int64_t k;
  int64_t size() const { return (k + 1) / 2 * kPanel; }
  float* floats(int64_t) const { return scratch((k + 1) * kPanel); }
  void done(int64_t panel, float* made) const {
    isa().pack_pairs(made, k);
    std::memcpy(packed + panel * size(), made, sizeof(uint32_t) * static_cast<size_t>(size()));
  }
};

}  // namespace

void pack_weight(const float* w, int64_t n, int64_t k, float* packed) {
  for_panels(w, n, k, PutFloats{packed, k * kPanel});
}
void pack_weight(const float* w, int64_t n, int64_t k, uint16_t* packed) {
  for_panels(w, n, k, PutBfloat16{packed, k * kPanel});
}

int64_t packed_pairs_size(int64_t n, int64_t k) { return (n + kPanel - 1) / kPanel * kPanel * ((k + 1) / 2); }
void pack_weight_pairs(const float* w, int64_t n, int64_t k, uint32_t* packed) {
  for_panels(w, n, k, PutPairs{packed, k});
}

bool is_bfloat16(const float* w, int64_t n) {
  constexpr int64_t kStretch = 4096;
  for (int64_t begin = 0; begin < n; begin += kStretch) {
    uint32_t low = 0;
    for (int64_t i = begin; i < std::min(n, begin + kStretch); ++i) low |= std::bit_cast<uint32_t>(w[i]);
    if (low & 0xffffu) return false;
  }
  return true;
}

// --- rows -------------------------------------------------------------------------------------------------------

void rms_norm(const float* x, int64_t x_row, const float* w, float* y, int64_t y_row, float* rstd, int64_t n, int64_t c,
              float eps) {
  split(n, std::max<int64_t>(1, kElements / c), [&](int64_t b, int64_t e) {
    isa().rms_norm(x + b * x_row, x_row, w, y + b * y_row, y_row, rstd ? rstd + b : nullptr, e - b, c, eps);
  });
}

void rms_norm_backward(const float* x, int64_t x_row, const float* w, const float* rstd, const float* dy,
                       int64_t dy_row, float* dx, int64_t dx_row, float* dw, int64_t n, int64_t c) {
  constexpr int64_t kRowsAPiece = 128;  // dw: partial sums of fixed pieces, added in order
  std::vector<float> partial(static_cast<size_t>((n + kRowsAPiece - 1) / kRowsAPiece * c));
  split(n, kRowsAPiece, [&](int64_t b, int64_t e) {
    isa().rms_norm_backward(x + b * x_row, x_row, w, rstd + b, dy + b * dy_row, dy_row, dx + b * dx_row, dx_row,
                            partial.data() + b / kRowsAPiece * c, e - b, c);
  });
  for (size_t i = 0; i < partial.size(); ++i) dw[static_cast<int64_t>(i) % c] += partial[i];
}

void swiglu(const float* gate, const float* up, float* y, int64_t n) {
  split(n, kElements, [&](int64_t b, int64_t e) { isa().swiglu(gate + b, up + b, y + b, e - b); });
}
void swiglu_backward(const float* gate, const float* up, const float* dy, float* dgate, float* dup, int64_t n) {
  split(n, kElements,
        [&](int64_t b, int64_t e) { isa().swiglu_backward(gate + b, up + b, dy + b, dgate + b, dup + b, e - b); });
}
void sigmoid(const float* x, float* y, int64_t n) {
  split(n, kElements, [&](int64_t b, int64_t e) { isa().sigmoid(x + b, y + b, e - b); });
}
void add(const float* a, const float* b, float* y, int64_t n) {
  split(n, kElements, [&](int64_t begin, int64_t end) { isa().add(a + begin, b + begin, y + begin, end - begin); });
}

void softmax(const float* x, float* y, int64_t n, int64_t c) {
  split(n, std::max<int64_t>(1, kElements / c), [&](int64_t b, int64_t e) {
    for (int64_t r = b; r < e; ++r) {
      const RowStats s = isa().row_stats(x + r * c, c, 1.f, -1);
      isa().exp_row(x + r * c, c, s, 1.f, -1, y + r * c);
      const float inverse = static_cast<float>(std::exp(-static_cast<double>(s.log_sum)));
      for (int64_t i = 0; i < c; ++i) y[r * c + i] *= inverse;
    }
  });
}

void rope(const Rope& r, const float* x, float* y, const int32_t* positions, int64_t n, int64_t heads, int64_t head_dim,
          float sign) {
  split(n, std::max<int64_t>(1, kElements / (heads * head_dim)), [&](int64_t b, int64_t e) {
    isa().rope(r, x + b * heads * head_dim, y + b * heads * head_dim, positions + b, e - b, heads, head_dim, sign);
  });
}

// --- vocabulary -------------------------------------------------------------------------------------------------

RowStats row_stats(const float* z, int64_t v, float inv_temperature, int32_t forbidden) {
  return isa().row_stats(z, v, inv_temperature, forbidden);
}
void exp_row(const float* z, int64_t v, const RowStats& s, float inv_temperature, int32_t forbidden, float* e) {
  isa().exp_row(z, v, s, inv_temperature, forbidden, e);
}
void logprob_backward_row(float* z, int64_t v, const RowStats& s, float inv_temperature, int32_t forbidden,
                          int32_t target, float d_logprob) {
  isa().logprob_backward_row(z, v, s, inv_temperature, forbidden, target, d_logprob);
}

// --- attention --------------------------------------------------------------------------------------------------

namespace {

float* place_of(const RowSpan& span, int64_t position, int64_t width, float* blocks) {
  return blocks + (span.first_block + position / kBlock - span.shared_blocks) * width * kBlock + position % kBlock;
}

}  // namespace

void write_blocks(const float* x, int64_t x_row, int64_t kv_heads, int64_t dim, std::span<const RowSpan> spans,
                  float* blocks) {
  const int64_t width = kv_heads * dim;
  split(static_cast<int64_t>(spans.size()), 4, [&](int64_t begin, int64_t end) {
    for (int64_t s = begin; s < end; ++s) {
      const RowSpan& span = spans[static_cast<size_t>(s)];
      if (s + 1 < end && spans[static_cast<size_t>(s + 1)].count == 1) {  // decoding: each float is a line of its own
        const float* next =
            place_of(spans[static_cast<size_t>(s + 1)], spans[static_cast<size_t>(s + 1)].position, width, blocks);
        for (int64_t j = 0; j < width; ++j) __builtin_prefetch(next + j * kBlock, 1);
      }
      for (int64_t i = 0; i < span.count;) {
        float* place = place_of(span, span.position + i, width, blocks);
        const float* row = x + (span.row + i) * x_row;
        if ((span.position + i) % kBlock == 0 && i + kBlock <= span.count) {
          isa().turn(row, x_row, width, place, kBlock);
          i += kBlock;
        } else {
          for (int64_t j = 0; j < width; ++j) place[j * kBlock] = row[j];
          ++i;
        }
      }
    }
  });
}

namespace {

struct AttentionTask {
  const RowSpan* span;
  int64_t kv_head, first, count;
};

// Tasks of similar cost: rows of short spans are taken together by the pool's own order.
std::vector<AttentionTask> attention_tasks(const AttentionShape& s, std::span<const RowSpan> spans, int64_t queries) {
  std::vector<AttentionTask> tasks;
  for (const RowSpan& span : spans) {
    for (int64_t h = 0; h < s.kv_heads; ++h) {
      for (int64_t i = 0; i < span.count; i += queries)
        tasks.push_back({&span, h, i, std::min(queries, span.count - i)});
    }
  }
  return tasks;
}

}  // namespace

void attention(const AttentionShape& s, const float* q, const float* key_blocks, const float* value_blocks,
               std::span<const RowSpan> spans, float* out) {
  const auto tasks = attention_tasks(s, spans, 64);
  split(static_cast<int64_t>(tasks.size()), 4, [&](int64_t b, int64_t e) {
    for (int64_t i = b; i < e; ++i) {
      const AttentionTask& t = tasks[static_cast<size_t>(i)];
      const int64_t padded = (t.span->position + t.first + t.count + kBlock) / kBlock * kBlock;
      isa().attend(s, q, key_blocks, value_blocks, *t.span, t.kv_head, t.first, t.count, out, scratch(4 * padded));
    }
  });
}

namespace {

// Each span at position 0 with those behind it that share its blocks.
std::vector<std::span<const RowSpan>> families_of(std::span<const RowSpan> spans) {
  std::vector<std::span<const RowSpan>> families;
  for (size_t begin = 0, end = 0; begin < spans.size(); begin = end) {
    for (end = begin + 1; end < spans.size() && spans[end].position > 0;) ++end;
    families.push_back(spans.subspan(begin, end - begin));
  }
  return families;
}

}  // namespace

int64_t attention_backward_scratch(const AttentionShape& s, int64_t length) {
  const int64_t padded = (length + kBlock - 1) / kBlock * kBlock;
  return padded * (s.key_dim + s.value_dim + 2 * kQueryChunk);
}

void attention_backward(const AttentionShape& s, const float* q, const float* key_blocks, const float* value_blocks,
                        std::span<const RowSpan> spans, const float* d_out, float* dq, float* dk, float* dv) {
  const auto families = families_of(spans);
  kernel_pool().run(static_cast<int64_t>(families.size()) * s.kv_heads, [&](int64_t i) {
    const std::span<const RowSpan> family = families[static_cast<size_t>(i / s.kv_heads)];
    int64_t longest = 0;
    for (const RowSpan& span : family) longest = std::max(longest, span.position + span.count);
    isa().attend_backward(s, q, key_blocks, value_blocks, family, i % s.kv_heads, d_out, dq, dk, dv,
                          scratch(attention_backward_scratch(s, longest)));
  });
}

// --- optimizer --------------------------------------------------------------------------------------------------

void adamw(const AdamW& o, float* w, const float* g, float* m, float* v, int64_t n) {
  split(n, kElements, [&](int64_t b, int64_t e) { isa().adamw(o, w + b, g + b, m + b, v + b, e - b); });
}

}  // namespace hone::cpu
