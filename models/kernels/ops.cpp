#include "models/kernels/ops.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/sum.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include "models/float_formats.h"
#include "models/kernels/held.h"
#include "models/kernels/reference.h"
#include "models/kernels/thread_pool.h"

namespace hone {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

bool native(const at::Tensor& x) { return x.device().is_cpu() && x.scalar_type() == at::kFloat; }
bool wants_grad(std::initializer_list<const at::Tensor*> inputs) {
  return at::GradMode::is_enabled() && std::any_of(inputs.begin(), inputs.end(), [](const at::Tensor* t) {
           return t->defined() && t->requires_grad();
         });
}
// autograd::Function takes an absent tensor only like this.
std::optional<at::Tensor> optional(const at::Tensor& t) { return t.defined() ? std::optional(t) : std::nullopt; }
float* data(const at::Tensor& t) { return t.mutable_data_ptr<float>(); }

cpu::Gemm forward_product(const at::Tensor& x, cpu::Panels packed, int64_t out, float* y) {
  return {.a = data(x),
          .a_row = x.size(-1),
          .b_packed = packed,
          .c = y,
          .c_row = out,
          .m = x.numel() / x.size(-1),
          .n = out,
          .k = x.size(-1)};
}
// The two products of a linear's backward.
struct Backward {
  int64_t out, in;
  bool bfloat16;

  // dx = dy w
  cpu::Gemm input(const float* dy, int64_t rows, const float* w, float* dx) const {
    return {.a = dy,
            .a_row = out,
            .b = w,
            .b_row = in,
            .c = dx,
            .c_row = in,
            .m = rows,
            .n = in,
            .k = out,
            .bfloat16 = bfloat16};
  }
  // dw += dy^T x
  cpu::Gemm weight(const float* dy, int64_t rows, const float* x, float* dw) const {
    return {.a = dy,
            .a_row = 1,
            .a_col = out,
            .b = x,
            .b_row = in,
            .c = dw,
            .c_row = in,
            .m = out,
            .n = in,
            .k = rows,
            .accumulate = true,
            .bfloat16 = bfloat16};
  }
};

// What a backward pass adds the gradient of w to: w.grad() (Arithmetic::adds_gradients) or zeros of its own to hand on.
class WeightGradient {
 public:
  WeightGradient(const at::Tensor& w, bool in_place) : in_place_(in_place) {
    at::Tensor& sum = in_place ? w.mutable_grad() : sum_;
    if (!sum.defined()) sum = at::zeros(w.sizes(), at::kFloat);
    sum_ = sum;
  }
  float* data() const { return sum_.mutable_data_ptr<float>(); }
  at::Tensor handed_on() const { return in_place_ ? at::Tensor() : sum_; }

 private:
  bool in_place_;
  at::Tensor sum_;
};

at::Tensor handed_on(const std::optional<WeightGradient>& gradient) {
  return gradient ? gradient->handed_on() : at::Tensor();
}

// The slices of a weight of w's shape, one after the other, each by `pack(floats (out, in), out, in, place)`.
template <class T, class Pack>
void pack_slices(const at::Tensor& w, const float* values, int64_t size, AlignedVector<T>& packed, const Pack& pack) {
  const int64_t in = w.size(-1), out = w.size(-2), slices = w.numel() / (in * out);
  packed.resize(static_cast<size_t>(slices * size));
  for (int64_t i = 0; i < slices; ++i) pack(values + i * out * in, out, in, packed.data() + i * size);
}

constexpr auto pack_weight = [](const float* w, int64_t out, int64_t in, auto* place) {
  cpu::pack_weight(w, out, in, place);
};

}  // namespace

int64_t Weight::packed_size() const {
  const int64_t out = tensor_.size(-2), in = tensor_.size(-1);
  return bfloat16_products() ? cpu::packed_pairs_size(out, in) : cpu::packed_size(out, in);
}

void Weight::pack(const float* values) const {
  Packed made{.addition = packed_->addition};
  if (bfloat16_products()) {
    made.pairs = std::move(packed_->pairs);
    pack_slices(tensor_, values, packed_size(), made.pairs, cpu::pack_weight_pairs);
  } else if (cpu::is_bfloat16(values, tensor_.numel())) {
    made.bfloat16 = std::move(packed_->bfloat16);
    pack_slices(tensor_, values, packed_size(), made.bfloat16, pack_weight);
  } else {
    made.floats = std::move(packed_->floats);
    pack_slices(tensor_, values, packed_size(), made.floats, pack_weight);
  }
  *packed_ = std::move(made);
}

at::Tensor Weight::values() const {
  if (!addition()) return tensor_;
  const at::Tensor w = tensor_.detach().clone(), b = addition()->b.detach() * addition()->scale;
  cpu::Gemm product = Backward{b.size(1), w.size(1), false}.input(data(b), w.size(0), data(addition()->a), data(w));
  product.accumulate = true;
  cpu::gemm({&product, 1});
  return bfloat16_products() ? w.to(at::kBFloat16).to(at::kFloat) : w;
}

// Tensors count their changes; the lowest bit tells the arithmetic.
int64_t Weight::version() const {
  if (is_packed_only()) return 0;
  auto changes = static_cast<int64_t>(tensor_._version());
  if (addition())
    changes += static_cast<int64_t>(addition()->a._version()) + static_cast<int64_t>(addition()->b._version());
  return 2 * changes + bfloat16_products();
}

cpu::Panels Weight::packed(int64_t e) const {
  const int64_t now = version();
  if (!is_packed_only() && packed_->version != now) {
    pack(data(values()));
    packed_->version = now;
  }
  const int64_t first = e * packed_size();
  if (!packed_->pairs.empty()) return {.pairs = packed_->pairs.data() + first};
  if (!packed_->bfloat16.empty()) return {.bfloat16 = packed_->bfloat16.data() + first};
  return {.floats = packed_->floats.data() + first};
}

void Weight::copy_row(int64_t row, float* to) const {
  const int64_t c = tensor_.size(1);
  if (!is_packed_only()) {
    std::memcpy(to, data(tensor_) + row * c, sizeof(float) * static_cast<size_t>(c));
    return;
  }
  const cpu::Panels panels = packed();
  const int64_t panel = row / cpu::kPanel, lane = row % cpu::kPanel;
  for (int64_t i = 0; i < c; ++i) {
    const int64_t place = (panel * c + i) * cpu::kPanel + lane;
    if (panels.pairs) {
      const uint32_t pair = panels.pairs[(panel * ((c + 1) / 2) + i / 2) * cpu::kPanel + lane];
      to[i] = float_of_bfloat16(static_cast<uint16_t>(i % 2 ? pair >> 16 : pair));
    } else {
      to[i] = panels.floats ? panels.floats[place] : float_of_bfloat16(panels.bfloat16[place]);
    }
  }
}

cpu::RowSpan add_span(Rows& rows, int64_t count, int64_t position, int64_t shared_block) {
  const cpu::RowSpan span{.row = rows.count(),
                          .count = count,
                          .position = position,
                          .first_block = rows.num_blocks,
                          .shared_block = shared_block,
                          .shared_blocks = position / cpu::kBlock};
  rows.spans.push_back(span);
  for (int64_t i = 0; i < count; ++i) rows.positions.push_back(static_cast<int32_t>(position + i));
  rows.num_blocks += (count + cpu::kBlock - 1) / cpu::kBlock;
  return span;
}

Rows pack_rows(std::span<const int64_t> lengths) {
  Rows rows;
  for (const int64_t length : lengths) add_span(rows, length);
  return rows;
}

RopeTable::RopeTable(std::vector<double> inverse_frequencies, double attention_factor, bool adjacent_pairs)
    : inverse_frequencies_(std::move(inverse_frequencies)),
      factor_(attention_factor),
      adjacent_(adjacent_pairs),
      table_(std::make_shared<Table>()) {}

cpu::Rope RopeTable::upto(int64_t positions) const {
  const int64_t half = static_cast<int64_t>(inverse_frequencies_.size());
  int64_t have = static_cast<int64_t>(table_->cos.size()) / half;
  if (have < positions) {
    const int64_t want = std::max<int64_t>(positions, 2 * have);
    for (; have < want; ++have) {
      for (const double f : inverse_frequencies_) {
        const auto angle = static_cast<float>(have) * static_cast<float>(f);  // float32, as the published code has it
        table_->cos.push_back(static_cast<float>(std::cos(static_cast<double>(angle)) * factor_));
        table_->sin.push_back(static_cast<float>(std::sin(static_cast<double>(angle)) * factor_));
      }
    }
  }
  return {table_->cos.data(), table_->sin.data(), 2 * half, adjacent_};
}

// --- embedding --------------------------------------------------------------------------------------------------

namespace {

at::Tensor embedding_forward(const Weight& table, const at::Tensor& ids) {
  const int64_t c = table.tensor().size(1), n = ids.numel();
  at::Tensor out = at::empty({n, c}, at::kFloat);
  const int64_t *id = ids.const_data_ptr<int64_t>(), v = table.tensor().size(0);
  for (int64_t i = 0; i < n; ++i) {
    TORCH_CHECK(id[i] >= 0 && id[i] < v, "token id ", id[i], " at row ", i, " is outside the vocabulary of ", v);
    table.copy_row(id[i], data(out) + i * c);
  }
  return out;
}

struct EmbeddingFn : Function<EmbeddingFn> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& table, const at::Tensor& ids,
                            const Weight* weight) {
    ctx->save_for_backward({table, ids});
    ctx->saved_data["adds_gradients"] = weight->adds_gradients();
    return embedding_forward(*weight, ids);
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const auto saved = ctx->get_saved_variables();
    const at::Tensor &table = saved[0], &ids = saved[1];
    const at::Tensor dy = grads[0].contiguous();
    const WeightGradient dw(table, ctx->saved_data["adds_gradients"].toBool());
    const int64_t c = dy.size(1), n = ids.numel();
    const int64_t* id = ids.const_data_ptr<int64_t>();
    float* to = dw.data();
    const float* from = data(dy);
    for (int64_t i = 0; i < n; ++i) {
      float* row = to + id[i] * c;
      const float* d = from + i * c;
      for (int64_t j = 0; j < c; ++j) row[j] += d[j];
    }
    return {dw.handed_on(), {}, {}};
  }
};

}  // namespace

at::Tensor ops::embedding(const Weight& table, const at::Tensor& ids) {
  if (!table.is_packed_only() && !native(table.tensor())) return reference::embedding(table.tensor(), ids);
  return wants_grad({&table.tensor()}) ? EmbeddingFn::apply(table.tensor(), ids, &table)
                                       : embedding_forward(table, ids);
}

// --- linear -----------------------------------------------------------------------------------------------------

namespace {

at::Tensor linear_forward(const at::Tensor& x, const Weight& w, const at::Tensor& bias) {
  const int64_t out = w.tensor().size(0);
  TORCH_CHECK(x.size(-1) == w.tensor().size(1), "linear: input width ", x.size(-1), " for a weight of ",
              w.tensor().sizes());
  at::Tensor y = at::empty({x.numel() / x.size(-1), out}, x.options());
  const cpu::Gemm product = forward_product(x, w.packed(), out, data(y));
  cpu::gemm({&product, 1});
  if (bias.defined()) y.add_(bias);
  return y;
}

// What a linear's backward adds for w = w0 + scale b a, out of what the layer read and its output's gradient:
// db += scale dy^T (x a^T), da += scale (dy b)^T x, and to dx = dy w0, where that is wanted, scale (dy b) a. Nothing of
// w's size is made.
void low_rank_backward(const LowRank& w, const at::Tensor& x, const at::Tensor& dy, float* da, float* db, float* dx) {
  const int64_t n = dy.size(0), out = dy.size(1), in = x.size(-1), rank = w.a.size(0);
  const Backward inner{rank, in, false}, outer{out, rank, false};
  const at::Tensor xa = at::empty({n, rank}, dy.options()), dyb = at::empty_like(xa);
  const cpu::Gemm down[] = {{.a = data(x),
                             .a_row = in,
                             .b = data(w.a),
                             .b_row = 1,
                             .b_col = in,
                             .c = data(xa),
                             .c_row = rank,
                             .m = n,
                             .n = rank,
                             .k = in},
                            outer.input(data(dy), n, data(w.b), data(dyb))};
  cpu::gemm(down);
  xa.mul_(w.scale);
  dyb.mul_(w.scale);
  std::vector<cpu::Gemm> up{outer.weight(data(dy), n, data(xa), db), inner.weight(data(dyb), n, data(x), da)};
  if (dx) {
    up.push_back(inner.input(data(dyb), n, data(w.a), dx));
    up.back().accumulate = true;
  }
  cpu::gemm(up);
}

struct LinearFn : Function<LinearFn> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x, const at::Tensor& w,
                            const std::optional<at::Tensor>& bias, const std::optional<at::Tensor>& a,
                            const std::optional<at::Tensor>& b, const Weight* weight) {
    ctx->save_for_backward({x, w, a.value_or(at::Tensor()), b.value_or(at::Tensor())});
    ctx->saved_data["bias"] = bias.has_value();
    if (a) ctx->saved_data["scale"] = weight->addition()->scale;
    ctx->saved_data["bfloat16"] = weight->bfloat16_products();
    ctx->saved_data["adds_gradients"] = weight->adds_gradients();
    return linear_forward(x, *weight, bias.value_or(at::Tensor()));
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const auto saved = ctx->get_saved_variables();
    const at::Tensor &x = saved[0], &w = saved[1], &a = saved[2], &b = saved[3];
    const bool in_place = ctx->saved_data["adds_gradients"].toBool();
    const at::Tensor dy = grads[0].contiguous();
    const Backward back{w.size(0), w.size(1), ctx->saved_data["bfloat16"].toBool()};
    const int64_t rows = dy.size(0);
    at::Tensor dx, dbias;
    std::optional<WeightGradient> dw, da, db;
    std::vector<cpu::Gemm> products;
    if (ctx->needs_input_grad(0)) {
      dx = at::empty_like(x);
      products.push_back(back.input(data(dy), rows, data(w), data(dx)));
    }
    if (ctx->needs_input_grad(1)) {
      dw.emplace(w, in_place);
      products.push_back(back.weight(data(dy), rows, data(x), dw->data()));
    }
    cpu::gemm(products);
    if (ctx->saved_data["bias"].toBool() && ctx->needs_input_grad(2)) dbias = dy.sum(0);
    if (a.defined()) {
      da.emplace(a, in_place);
      db.emplace(b, in_place);
      low_rank_backward({a, b, ctx->saved_data["scale"].toDouble()}, x, dy, da->data(), db->data(),
                        dx.defined() ? data(dx) : nullptr);
    }
    return {dx, handed_on(dw), dbias, handed_on(da), handed_on(db), {}};
  }
};

}  // namespace

at::Tensor ops::linear(const at::Tensor& x, const Weight& w, const at::Tensor& bias) {
  if (!native(x)) return reference::linear(x, w.tensor(), bias);
  const at::Tensor rows = x.contiguous();
  const LowRank added = w.addition().value_or(LowRank{});
  return wants_grad({&x, &w.tensor(), &bias, &added.a})
             ? LinearFn::apply(rows, w.tensor(), optional(bias), optional(added.a), optional(added.b), &w)
             : linear_forward(rows, w, bias);
}

// --- add, rms_norm, swiglu, sigmoid, softmax -----------------------------------------------------------------------

namespace {

at::Tensor add_forward(const at::Tensor& a, const at::Tensor& b) {
  at::Tensor y = at::empty_like(a);
  cpu::add(data(a), data(b), data(y), a.numel());
  return y;
}

struct AddFn : Function<AddFn> {
  static at::Tensor forward(AutogradContext*, const at::Tensor& a, const at::Tensor& b) { return add_forward(a, b); }
  static variable_list backward(AutogradContext*, const variable_list& grads) { return {grads[0], grads[0]}; }
};

at::Tensor rms_norm_forward(const at::Tensor& x, const at::Tensor& w, double eps, at::Tensor* rstd) {
  const int64_t c = x.size(-1), n = x.numel() / c;
  at::Tensor y = at::empty_like(x);
  if (rstd) *rstd = at::empty({n}, x.options());
  cpu::rms_norm(data(x), c, data(w), data(y), c, rstd ? data(*rstd) : nullptr, n, c, static_cast<float>(eps));
  return y;
}

struct RmsNormFn : Function<RmsNormFn> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x, const at::Tensor& w, double eps) {
    at::Tensor rstd;
    at::Tensor y = rms_norm_forward(x, w, eps, &rstd);
    ctx->save_for_backward({x, w, rstd});
    return y;
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const auto saved = ctx->get_saved_variables();
    const at::Tensor &x = saved[0], &w = saved[1], &rstd = saved[2];
    const at::Tensor dy = grads[0].contiguous();
    const int64_t c = x.size(-1);
    at::Tensor dx = at::empty_like(x), dw = at::zeros_like(w);
    cpu::rms_norm_backward(data(x), c, data(w), data(rstd), data(dy), c, data(dx), c, data(dw), x.numel() / c, c);
    return {dx, dw, {}};
  }
};

at::Tensor swiglu_forward(const at::Tensor& gate, const at::Tensor& up) {
  at::Tensor y = at::empty_like(gate);
  cpu::swiglu(data(gate), data(up), data(y), gate.numel());
  return y;
}

struct SwigluFn : Function<SwigluFn> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& gate, const at::Tensor& up) {
    ctx->save_for_backward({gate, up});
    return swiglu_forward(gate, up);
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const auto saved = ctx->get_saved_variables();
    const at::Tensor dy = grads[0].contiguous();
    at::Tensor dgate = at::empty_like(dy), dup = at::empty_like(dy);
    cpu::swiglu_backward(data(saved[0]), data(saved[1]), data(dy), data(dgate), data(dup), dy.numel());
    return {dgate, dup};
  }
};

at::Tensor sigmoid_forward(const at::Tensor& x) {
  at::Tensor y = at::empty_like(x);
  cpu::sigmoid(data(x), data(y), x.numel());
  return y;
}

struct SigmoidFn : Function<SigmoidFn> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x) {
    at::Tensor y = sigmoid_forward(x);
    ctx->save_for_backward({y});
    return y;
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const at::Tensor y = ctx->get_saved_variables()[0];
    return {grads[0] * y * (1.0 - y)};
  }
};

at::Tensor softmax_forward(const at::Tensor& x) {
  const int64_t c = x.size(-1), n = x.numel() / c;
  at::Tensor y = at::empty_like(x);
  for (int64_t i = 0; i < n; ++i) {
    const float* from = data(x) + i * c;
    float* to = data(y) + i * c;
    cpu::exp_row(from, c, cpu::row_stats(from, c, 1, -1), 1, -1, to);
    const auto scale = static_cast<float>(1 / std::accumulate(to, to + c, 0.0));
    for (int64_t j = 0; j < c; ++j) to[j] *= scale;
  }
  return y;
}

struct SoftmaxFn : Function<SoftmaxFn> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x) {
    at::Tensor y = softmax_forward(x);
    ctx->save_for_backward({y});
    return y;
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const at::Tensor y = ctx->get_saved_variables()[0], weighted = grads[0] * y;
    return {weighted - y * weighted.sum(-1, /*keepdim=*/true)};
  }
};

}  // namespace

at::Tensor ops::add(const at::Tensor& a, const at::Tensor& b) {
  TORCH_CHECK(a.sizes() == b.sizes(), "add: shapes ", a.sizes(), " and ", b.sizes());
  if (!native(a)) return a + b;
  const at::Tensor x = a.contiguous(), y = b.contiguous();
  return wants_grad({&a, &b}) ? AddFn::apply(x, y) : add_forward(x, y);
}

at::Tensor ops::rms_norm(const at::Tensor& x, const at::Tensor& w, double eps) {
  if (!native(x)) return reference::rms_norm(x, w, eps);
  const at::Tensor rows = x.contiguous();
  return wants_grad({&x, &w}) ? RmsNormFn::apply(rows, w, eps) : rms_norm_forward(rows, w, eps, nullptr);
}

at::Tensor ops::swiglu(const at::Tensor& gate, const at::Tensor& up) {
  if (!native(gate)) return reference::swiglu(gate, up);
  return wants_grad({&gate, &up}) ? SwigluFn::apply(gate, up) : swiglu_forward(gate, up);
}

at::Tensor ops::sigmoid(const at::Tensor& x) {
  if (!native(x)) return x.sigmoid();
  return wants_grad({&x}) ? SigmoidFn::apply(x) : sigmoid_forward(x);
}

at::Tensor ops::softmax(const at::Tensor& x) {
  if (!native(x)) return x.softmax(-1);
  const at::Tensor rows = x.contiguous();
  return wants_grad({&x}) ? SoftmaxFn::apply(rows) : softmax_forward(rows);
}

// --- rope -------------------------------------------------------------------------------------------------------

namespace {

int64_t longest(const Rows& rows) {
  return rows.positions.empty() ? 0 : *std::max_element(rows.positions.begin(), rows.positions.end()) + 1;
}

at::Tensor rope_forward(const at::Tensor& x, const RopeTable& table, const Rows& rows, float sign) {
  at::Tensor y = at::empty_like(x);
  cpu::rope(table.upto(longest(rows)), data(x), data(y), rows.positions.data(), x.size(0), x.size(1), x.size(2), sign);
  return y;
}

struct Turn {
  RopeTable table;
  Rows rows;
};

struct RopeFn : Function<RopeFn> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x, const RopeTable* table, const Rows* rows) {
    hold(ctx, Turn{*table, *rows});
    return rope_forward(x, *table, *rows, 1.f);
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const Turn& turn = held<Turn>(ctx);
    return {rope_forward(grads[0].contiguous(), turn.table, turn.rows, -1.f), {}, {}};
  }
};

}  // namespace

at::Tensor ops::rope(const at::Tensor& x, const RopeTable& table, const Rows& rows) {
  if (!native(x)) return reference::rope(x, table, rows);
  const at::Tensor heads = x.contiguous();
  return wants_grad({&x}) ? RopeFn::apply(heads, &table, &rows) : rope_forward(heads, table, rows, 1.f);
}

// --- attention --------------------------------------------------------------------------------------------------

namespace {

// Whole sequences. What is behind the end of one, in its last block, is read and weighs nothing: zeros.
at::Tensor blocks_of_rows(const at::Tensor& x, const Rows& rows) {
  at::Tensor blocks = at::empty({rows.num_blocks, x.size(1), x.size(2), cpu::kBlock}, x.options());
  const int64_t block = x.size(1) * x.size(2) * cpu::kBlock;
  for (const cpu::RowSpan& span : rows.spans) {
    const int64_t full = span.count / cpu::kBlock;
    if (span.count % cpu::kBlock) std::fill_n(data(blocks) + (span.first_block + full) * block, block, 0.f);
  }
  cpu::write_blocks(data(x), x.size(1) * x.size(2), x.size(1), x.size(2), rows.spans, data(blocks));
  return blocks;
}
const float* data_or_null(const at::Tensor& t) { return t.defined() ? data(t) : nullptr; }

struct AttentionFn : Function<AttentionFn> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& q, const at::Tensor& k,
                            const std::optional<at::Tensor>& v, const cpu::AttentionShape* shape, const Rows* rows) {
    ctx->save_for_backward({q, k, v.value_or(at::Tensor())});
    hold(ctx, std::pair{*shape, *rows});
    const at::Tensor keys = blocks_of_rows(k, *rows);
    const at::Tensor values = v ? blocks_of_rows(*v, *rows) : at::Tensor();
    at::Tensor out = at::empty({q.size(0), q.size(1), shape->value_dim}, q.options());
    cpu::attention(*shape, data(q), data(keys), data_or_null(values), rows->spans, data(out));
    return out;
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const auto saved = ctx->get_saved_variables();
    const auto& [shape, rows] = held<std::pair<cpu::AttentionShape, Rows>>(ctx);
    const at::Tensor &q = saved[0], &k = saved[1], &v = saved[2];
    const at::Tensor d_out = grads[0].contiguous();
    const at::Tensor keys = blocks_of_rows(k, rows);
    const at::Tensor values = v.defined() ? blocks_of_rows(v, rows) : v;
    at::Tensor dq = at::empty_like(q), dk = at::empty_like(k);
    at::Tensor dv = v.defined() ? at::empty_like(v) : at::Tensor();
    cpu::attention_backward(shape, data(q), data(keys), data_or_null(values), rows.spans, data(d_out), data(dq),
                            data(dk), dv.defined() ? data(dv) : nullptr);
    return {dq, dk, dv, {}, {}};
  }
};

at::Tensor attention_cached(const cpu::AttentionShape& shape, const at::Tensor& q, const at::Tensor& k,
                            const at::Tensor& v, const Rows& rows, const LayerCache& cache) {
  cpu::write_blocks(data(k), k.size(1) * k.size(2), k.size(1), k.size(2), rows.spans, data(cache.keys));
  if (v.defined())
    cpu::write_blocks(data(v), v.size(1) * v.size(2), v.size(1), v.size(2), rows.spans, data(cache.values));
  at::Tensor out = at::empty({q.size(0), q.size(1), shape.value_dim}, q.options());
  cpu::attention(shape, data(q), data(cache.keys), data_or_null(cache.values), rows.spans, data(out));
  return out;
}

}  // namespace

at::Tensor ops::attention(const cpu::AttentionShape& shape, const at::Tensor& q, const at::Tensor& k,
                          const at::Tensor& v, const Rows& rows, LayerCache* cache) {
  if (!native(q)) {
    TORCH_CHECK(!cache, "sampling with a cache needs float32 on the CPU");
    return reference::attention(shape, q, k, v, rows);
  }
  const at::Tensor qc = q.contiguous(), kc = k.contiguous(), vc = v.defined() ? v.contiguous() : v;
  if (cache) return attention_cached(shape, qc, kc, vc, rows, *cache);
  return AttentionFn::apply(qc, kc, optional(vc), &shape, &rows);
}

// --- multi-head latent attention --------------------------------------------------------------------------------

namespace {

struct Latent {
  LatentShape shape;
  Turn turn;
  bool bfloat16 = false;
  int64_t head_rows() const { return shape.nope_dim + shape.value_dim; }  // rows of kv_b per head
  int64_t query_dim() const { return shape.nope_dim + shape.rope_dim; }
  int64_t key_dim() const { return shape.rank + shape.rope_dim; }
};

// The part of every head that is only rotated.
void copy_tails(const float* from, int64_t from_dim, float* to, int64_t to_dim, int64_t n, int64_t tail) {
  for (int64_t i = 0; i < n; ++i) {
    std::memcpy(to + (i + 1) * to_dim - tail, from + (i + 1) * from_dim - tail,
                sizeof(float) * static_cast<size_t>(tail));
  }
}

void rotate_in_place(const Turn& turn, const at::Tensor& x, float sign) {
  cpu::rope(turn.table.upto(longest(turn.rows)), data(x), data(x), turn.rows.positions.data(), x.size(0), x.size(1),
            x.size(2), sign);
}

at::Tensor latent_query_forward(const Latent& l, const at::Tensor& q, const at::Tensor& kv_b) {
  const LatentShape& s = l.shape;
  const int64_t n = q.size(0);
  at::Tensor out = at::empty({n, s.heads, l.key_dim()}, q.options());
  std::vector<cpu::Gemm> products;
  for (int64_t h = 0; h < s.heads; ++h) {
    products.push_back({.a = data(q) + h * l.query_dim(),
                        .a_row = s.heads * l.query_dim(),
                        .b = data(kv_b) + h * l.head_rows() * s.rank,
                        .b_row = s.rank,
                        .c = data(out) + h * l.key_dim(),
                        .c_row = s.heads * l.key_dim(),
                        .m = n,
                        .n = s.rank,
                        .k = s.nope_dim,
                        .bfloat16 = l.bfloat16});
  }
  cpu::gemm(products);
  copy_tails(data(q), l.query_dim(), data(out), l.key_dim(), n * s.heads, s.rope_dim);
  rotate_in_place(l.turn, out, 1.f);
  return out;
}

struct LatentQueryFn : Function<LatentQueryFn> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& q, const at::Tensor& kv_b, const Latent* latent) {
    ctx->save_for_backward({q, kv_b});
    hold(ctx, *latent);
    return latent_query_forward(*latent, q, kv_b);
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const auto saved = ctx->get_saved_variables();
    const Latent& l = held<Latent>(ctx);
    const LatentShape& s = l.shape;
    const at::Tensor &q = saved[0], &kv_b = saved[1];
    const at::Tensor d = grads[0].clone(at::MemoryFormat::Contiguous);
    rotate_in_place(l.turn, d, -1.f);
    at::Tensor dq = at::empty_like(q), dw = at::zeros_like(kv_b);
    std::vector<cpu::Gemm> products;
    for (int64_t h = 0; h < s.heads; ++h) {
      const float* dh = data(d) + h * l.key_dim();
      const int64_t d_row = s.heads * l.key_dim(), q_row = s.heads * l.query_dim(), slice = h * l.head_rows() * s.rank;
      products.push_back({.a = dh,
                          .a_row = d_row,
                          .b = data(kv_b) + slice,
                          .b_row = 1,
                          .b_col = s.rank,
                          .c = data(dq) + h * l.query_dim(),
                          .c_row = q_row,
                          .m = q.size(0),
                          .n = s.nope_dim,
                          .k = s.rank,
                          .bfloat16 = l.bfloat16});
      products.push_back({.a = data(q) + h * l.query_dim(),
                          .a_row = 1,
                          .a_col = q_row,
                          .b = dh,
                          .b_row = d_row,
                          .c = data(dw) + slice,
                          .c_row = s.rank,
                          .m = s.nope_dim,
                          .n = s.rank,
                          .k = q.size(0),
                          .bfloat16 = l.bfloat16});
    }
    cpu::gemm(products);
    copy_tails(data(d), l.key_dim(), data(dq), l.query_dim(), q.size(0) * s.heads, s.rope_dim);
    return {dq, dw, {}};
  }
};

at::Tensor latent_key_forward(const Latent& l, const at::Tensor& kv, const at::Tensor& norm, double eps,
                              at::Tensor* rstd) {
  const int64_t n = kv.size(0), dim = l.key_dim();
  at::Tensor out = at::empty({n, 1, dim}, kv.options());
  if (rstd) *rstd = at::empty({n}, kv.options());
  cpu::rms_norm(data(kv), dim, data(norm), data(out), dim, rstd ? data(*rstd) : nullptr, n, l.shape.rank,
                static_cast<float>(eps));
  copy_tails(data(kv), dim, data(out), dim, n, l.shape.rope_dim);
  rotate_in_place(l.turn, out, 1.f);
  return out;
}

struct LatentKeyFn : Function<LatentKeyFn> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& kv, const at::Tensor& norm, double eps,
                            const Latent* latent) {
    at::Tensor rstd;
    at::Tensor out = latent_key_forward(*latent, kv, norm, eps, &rstd);
    ctx->save_for_backward({kv, norm, rstd});
    hold(ctx, *latent);
    return out;
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const auto saved = ctx->get_saved_variables();
    const Latent& l = held<Latent>(ctx);
    const at::Tensor &kv = saved[0], &norm = saved[1], &rstd = saved[2];
    const at::Tensor d = grads[0].clone(at::MemoryFormat::Contiguous);
    rotate_in_place(l.turn, d, -1.f);
    at::Tensor dkv = at::empty_like(kv), dw = at::zeros_like(norm);
    const int64_t n = kv.size(0), dim = l.key_dim();
    cpu::rms_norm_backward(data(kv), dim, data(norm), data(rstd), data(d), dim, data(dkv), dim, data(dw), n,
                           l.shape.rank);
    copy_tails(data(d), dim, data(dkv), dim, n, l.shape.rope_dim);
    return {dkv, dw, {}, {}};
  }
};

// Per head: out (N, dv) = context (N, c) Wuv^T.
at::Tensor latent_value_forward(const Latent& l, const at::Tensor& context, const at::Tensor& kv_b) {
  const LatentShape& s = l.shape;
  const int64_t n = context.size(0);
  at::Tensor out = at::empty({n, s.heads * s.value_dim}, context.options());
  std::vector<cpu::Gemm> products;
  for (int64_t h = 0; h < s.heads; ++h) {
    products.push_back({.a = data(context) + h * s.rank,
                        .a_row = s.heads * s.rank,
                        .b = data(kv_b) + (h * l.head_rows() + s.nope_dim) * s.rank,
                        .b_row = 1,
                        .b_col = s.rank,
                        .c = data(out) + h * s.value_dim,
                        .c_row = s.heads * s.value_dim,
                        .m = n,
                        .n = s.value_dim,
                        .k = s.rank,
                        .bfloat16 = l.bfloat16});
  }
  cpu::gemm(products);
  return out;
}

struct LatentValueFn : Function<LatentValueFn> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& context, const at::Tensor& kv_b,
                            const Latent* latent) {
    ctx->save_for_backward({context, kv_b});
    hold(ctx, *latent);
    return latent_value_forward(*latent, context, kv_b);
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const auto saved = ctx->get_saved_variables();
    const Latent& l = held<Latent>(ctx);
    const LatentShape& s = l.shape;
    const at::Tensor &context = saved[0], &kv_b = saved[1];
    const at::Tensor d = grads[0].contiguous();
    at::Tensor dx = at::empty_like(context), dw = at::zeros_like(kv_b);
    std::vector<cpu::Gemm> products;
    for (int64_t h = 0; h < s.heads; ++h) {
      const float* dh = data(d) + h * s.value_dim;
      const int64_t d_row = s.heads * s.value_dim, x_row = s.heads * s.rank, n = d.size(0);
      const int64_t slice = (h * l.head_rows() + s.nope_dim) * s.rank;
      products.push_back({.a = dh,
                          .a_row = d_row,
                          .b = data(kv_b) + slice,
                          .b_row = s.rank,
                          .c = data(dx) + h * s.rank,
                          .c_row = x_row,
                          .m = n,
                          .n = s.rank,
                          .k = s.value_dim,
                          .bfloat16 = l.bfloat16});
      products.push_back({.a = dh,
                          .a_row = 1,
                          .a_col = d_row,
                          .b = data(context) + h * s.rank,
                          .b_row = x_row,
                          .c = data(dw) + slice,
                          .c_row = s.rank,
                          .m = s.value_dim,
                          .n = s.rank,
                          .k = n,
                          .bfloat16 = l.bfloat16});
    }
    cpu::gemm(products);
    return {dx, dw, {}};
  }
};

}  // namespace

at::Tensor ops::latent_query(const LatentShape& s, const at::Tensor& q, const Weight& kv_b, const RopeTable& table,
                             const Rows& rows) {
  if (!native(q)) return reference::latent_query(s, q, kv_b.tensor(), table, rows);
  const Latent latent{s, {table, rows}, kv_b.bfloat16_products()};
  const at::Tensor x = q.contiguous();
  return wants_grad({&q, &kv_b.tensor()}) ? LatentQueryFn::apply(x, kv_b.tensor(), &latent)
                                          : latent_query_forward(latent, x, kv_b.tensor());
}

at::Tensor ops::latent_key(const LatentShape& s, const at::Tensor& kv, const at::Tensor& norm, double eps,
                           const RopeTable& table, const Rows& rows) {
  if (!native(kv)) return reference::latent_key(s, kv, norm, eps, table, rows);
  const Latent latent{s, {table, rows}};
  const at::Tensor x = kv.contiguous();
  return wants_grad({&kv, &norm}) ? LatentKeyFn::apply(x, norm, eps, &latent)
                                  : latent_key_forward(latent, x, norm, eps, nullptr);
}

at::Tensor ops::latent_value(const LatentShape& s, const at::Tensor& context, const Weight& kv_b) {
  if (!native(context)) return reference::latent_value(s, context, kv_b.tensor());
  const Latent latent{s, {}, kv_b.bfloat16_products()};
  const at::Tensor x = context.contiguous();
  return wants_grad({&context, &kv_b.tensor()}) ? LatentValueFn::apply(x, kv_b.tensor(), &latent)
                                                : latent_value_forward(latent, x, kv_b.tensor());
}

// --- mixture of experts -----------------------------------------------------------------------------------------

namespace {

// The `count` largest of values (lower index first among equals), as a mask over `size` entries.
template <class T>
std::vector<char> largest(const T* values, int64_t size, int64_t count) {
  std::vector<int64_t> order(static_cast<size_t>(size));
  for (int64_t i = 0; i < size; ++i) order[static_cast<size_t>(i)] = i;
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return values[a] > values[b]; });
  std::vector<char> mask(static_cast<size_t>(size), 0);
  for (int64_t i = 0; i < count; ++i) mask[static_cast<size_t>(order[static_cast<size_t>(i)])] = 1;
  return mask;
}

template <class T>
void select_row(const RoutingRule& rule, const T* scores, const T* bias, int64_t* ids) {
  const int64_t size = rule.experts / rule.groups;
  std::vector<T> choice(static_cast<size_t>(rule.experts));
  for (int64_t e = 0; e < rule.experts; ++e) choice[static_cast<size_t>(e)] = scores[e] + bias[e];
  if (rule.groups > 1) {
    std::vector<T> group(static_cast<size_t>(rule.groups));
    for (int64_t g = 0; g < rule.groups; ++g) {
      std::vector<T> sorted(choice.begin() + g * size, choice.begin() + (g + 1) * size);
      std::sort(sorted.begin(), sorted.end(), std::greater<>());
      group[static_cast<size_t>(g)] = sorted[0] + (size > 1 ? sorted[1] : T(0));
    }
    const auto kept = largest(group.data(), rule.groups, rule.kept_groups);
    for (int64_t e = 0; e < rule.experts; ++e) {
      if (!kept[static_cast<size_t>(e / size)]) choice[static_cast<size_t>(e)] = -std::numeric_limits<T>::infinity();
    }
  }
  const auto chosen = largest(choice.data(), rule.experts, rule.top_k);
  for (int64_t e = 0; e < rule.experts; ++e) {
    if (chosen[static_cast<size_t>(e)]) *ids++ = e;
  }
}

template <class T>
void select_rows(const RoutingRule& rule, const at::Tensor& scores, const at::Tensor& bias, at::Tensor& ids) {
  const T* s = scores.const_data_ptr<T>();
  const T* b = bias.const_data_ptr<T>();
  int64_t* out = ids.mutable_data_ptr<int64_t>();
  constexpr int64_t kRows = 256;
  const int64_t n = scores.size(0);
  kernel_pool().run((n + kRows - 1) / kRows, [&](int64_t piece) {
    for (int64_t i = piece * kRows; i < std::min(n, (piece + 1) * kRows); ++i) {
      select_row(rule, s + i * rule.experts, b, out + i * rule.top_k);
    }
  });
}

// g_j = scale s_j / (sum s + 1e-20), or scale s_j.
at::Tensor expert_weights_forward(const RoutingRule& rule, const at::Tensor& scores, const at::Tensor& ids) {
  at::Tensor out = at::empty({ids.size(0), rule.top_k}, scores.options());
  const int64_t *id = ids.const_data_ptr<int64_t>(), n = ids.size(0);
  const float* all = data(scores);
  float* to = data(out);
  for (int64_t i = 0; i < n; ++i) {
    const float* s = all + i * rule.experts;
    float sum = 0;
    for (int64_t j = 0; j < rule.top_k; ++j) sum += s[id[i * rule.top_k + j]];
    const float factor = static_cast<float>(rule.scale) / (rule.normalise ? sum + 1e-20f : 1.f);
    for (int64_t j = 0; j < rule.top_k; ++j) to[i * rule.top_k + j] = s[id[i * rule.top_k + j]] * factor;
  }
  return out;
}

struct ExpertWeightsFn : Function<ExpertWeightsFn> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& scores, const at::Tensor& ids,
                            const RoutingRule* rule) {
    ctx->save_for_backward({scores, ids});
    hold(ctx, *rule);
    return expert_weights_forward(*rule, scores, ids);
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const auto saved = ctx->get_saved_variables();
    const RoutingRule& rule = held<RoutingRule>(ctx);
    const at::Tensor &scores = saved[0], &ids = saved[1];
    const at::Tensor dy = grads[0].contiguous();
    at::Tensor ds = at::zeros_like(scores);
    const int64_t k = rule.top_k, n = ids.size(0);
    const int64_t* all_ids = ids.const_data_ptr<int64_t>();
    const float *all_scores = data(scores), *all_dy = data(dy);
    float* to = data(ds);
    for (int64_t i = 0; i < n; ++i) {
      const int64_t* id = all_ids + i * k;
      const float *s = all_scores + i * rule.experts, *d = all_dy + i * k;
      float sum = 0, dot = 0;
      for (int64_t j = 0; j < k; ++j) {
        sum += s[id[j]];
        dot += d[j] * s[id[j]];
      }
      const float total = rule.normalise ? sum + 1e-20f : 1.f, back = rule.normalise ? dot / total : 0.f;
      const float factor = static_cast<float>(rule.scale) / total;
      for (int64_t j = 0; j < k; ++j) to[i * rule.experts + id[j]] = factor * (d[j] - back);
    }
    return {ds, {}, {}};
  }
};

// The (row, slot) pairs sorted by expert; expert e owns places [first[e], first[e + 1]).
struct Dispatch {
  std::vector<int64_t> first;  // (E + 1)
  std::vector<int64_t> pair;   // (N k) row * k + slot
  int64_t k = 0;
};

Dispatch dispatch(const at::Tensor& ids, int64_t experts) {
  Dispatch d{std::vector<int64_t>(static_cast<size_t>(experts + 1), 0),
             std::vector<int64_t>(static_cast<size_t>(ids.numel())), ids.size(1)};
  const int64_t* id = ids.const_data_ptr<int64_t>();
  for (int64_t i = 0; i < ids.numel(); ++i) ++d.first[static_cast<size_t>(id[i] + 1)];
  for (size_t e = 0; e < static_cast<size_t>(experts); ++e) d.first[e + 1] += d.first[e];
  std::vector<int64_t> next(d.first.begin(), d.first.end() - 1);
  for (int64_t i = 0; i < ids.numel(); ++i) d.pair[static_cast<size_t>(next[static_cast<size_t>(id[i])]++)] = i;
  return d;
}

template <class Body>
void for_pairs(const Dispatch& d, const Body& body) {
  constexpr int64_t kPairs = 128;
  const auto n = static_cast<int64_t>(d.pair.size());
  kernel_pool().run((n + kPairs - 1) / kPairs, [&](int64_t piece) {
    for (int64_t i = piece * kPairs; i < std::min(n, (piece + 1) * kPairs); ++i)
      body(i, d.pair[static_cast<size_t>(i)]);
  });
}

struct ExpertActivations {
  at::Tensor x, gate, up, act, y;  // (N k, ...), in dispatch order
};

// One product per expert: y rows = x rows w_e^T.
void expert_products(const Dispatch& d, const at::Tensor& x, const Weight& w, const at::Tensor& y,
                     std::vector<cpu::Gemm>& out) {
  const int64_t in = x.size(1), width = y.size(1);
  for (size_t e = 0; e + 1 < d.first.size(); ++e) {
    out.push_back({.a = data(x) + d.first[e] * in,
                   .a_row = in,
                   .b_packed = w.packed(static_cast<int64_t>(e)),
                   .c = data(y) + d.first[e] * width,
                   .c_row = width,
                   .m = d.first[e + 1] - d.first[e],
                   .n = width,
                   .k = in});
  }
}

ExpertActivations experts_activations(const Dispatch& d, const at::Tensor& x, const Weight& gate, const Weight& up,
                                      const Weight& down) {
  const int64_t pairs = static_cast<int64_t>(d.pair.size()), c = x.size(1), f = gate.tensor().size(1);
  ExpertActivations a{at::empty({pairs, c}, x.options()), at::empty({pairs, f}, x.options()),
                      at::empty({pairs, f}, x.options()), at::empty({pairs, f}, x.options()),
                      at::empty({pairs, c}, x.options())};
  for_pairs(d, [c, k = d.k, to = data(a.x), from = data(x)](int64_t i, int64_t pair) {
    std::memcpy(to + i * c, from + pair / k * c, sizeof(float) * static_cast<size_t>(c));
  });
  std::vector<cpu::Gemm> products;
  expert_products(d, a.x, gate, a.gate, products);
  expert_products(d, a.x, up, a.up, products);
  cpu::gemm(products);
  cpu::swiglu(data(a.gate), data(a.up), data(a.act), a.act.numel());
  products.clear();
  expert_products(d, a.act, down, a.y, products);
  cpu::gemm(products);
  return a;
}

// place[row * k + slot] = the pair's position in dispatch order.
std::vector<int64_t> places(const Dispatch& d) {
  std::vector<int64_t> place(d.pair.size());
  for (size_t i = 0; i < d.pair.size(); ++i) place[static_cast<size_t>(d.pair[i])] = static_cast<int64_t>(i);
  return place;
}

// out row = sum over its slots in order of factor * rows[place]; factors null: 1.
at::Tensor combine(const Dispatch& d, const at::Tensor& rows, const float* factors, int64_t n) {
  const int64_t c = rows.size(1);
  at::Tensor out = at::zeros({n, c}, rows.options());
  const auto place = places(d);
  float* to = data(out);
  const float* from = data(rows);
  constexpr int64_t kRows = 64;
  kernel_pool().run((n + kRows - 1) / kRows, [&](int64_t piece) {
    for (int64_t i = piece * kRows; i < std::min(n, (piece + 1) * kRows); ++i) {
      for (int64_t j = 0; j < d.k; ++j) {
        const float factor = factors ? factors[i * d.k + j] : 1.f;
        const float* row = from + place[static_cast<size_t>(i * d.k + j)] * c;
        float* o = to + i * c;
        for (int64_t t = 0; t < c; ++t) o[t] += factor * row[t];
      }
    }
  });
  return out;
}

struct ExpertsFn : Function<ExpertsFn> {
  static at::Tensor forward(AutogradContext* ctx, const at::Tensor& x, const at::Tensor& gate_w, const at::Tensor& up_w,
                            const at::Tensor& down_w, const at::Tensor& weights, const at::Tensor& ids,
                            const Weight* gate, const Weight* up, const Weight* down) {
    Dispatch d = dispatch(ids, gate_w.size(0));
    const ExpertActivations a = experts_activations(d, x, *gate, *up, *down);
    at::Tensor out = combine(d, a.y, data(weights), x.size(0));
    ctx->save_for_backward({gate_w, up_w, down_w, weights, a.x, a.gate, a.up, a.act, a.y});
    hold(ctx, std::move(d));
    ctx->saved_data["bfloat16"] = gate->bfloat16_products();
    ctx->saved_data["adds_gradients"] = gate->adds_gradients();
    return out;
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const auto saved = ctx->get_saved_variables();
    const Dispatch& d = held<Dispatch>(ctx);
    const bool bfloat16 = ctx->saved_data["bfloat16"].toBool();
    const at::Tensor &gate_w = saved[0], &up_w = saved[1], &down_w = saved[2], &weights = saved[3];
    const ExpertActivations a{saved[4], saved[5], saved[6], saved[7], saved[8]};
    const at::Tensor dout = grads[0].contiguous();
    const int64_t c = dout.size(1), f = gate_w.size(1);
    const Backward outwards{c, f, bfloat16}, inwards{f, c, bfloat16};
    at::Tensor dweights = at::empty_like(weights), dy = at::empty_like(a.y), dact = at::empty_like(a.act);
    for_pairs(d, [c, k = d.k, all_g = data(dout), all_y = data(a.y), all_w = data(weights), all_dy = data(dy),
                  all_dw = data(dweights)](int64_t i, int64_t pair) {
      const float *g = all_g + pair / k * c, *y = all_y + i * c, w = all_w[pair];
      float *to = all_dy + i * c, dot = 0;
      for (int64_t t = 0; t < c; ++t) {
        dot += g[t] * y[t];
        to[t] = w * g[t];
      }
      all_dw[pair] = dot;
    });
    const bool in_place = ctx->saved_data["adds_gradients"].toBool();
    std::optional<WeightGradient> dgate_w, dup_w, ddown_w;
    if (ctx->needs_input_grad(1)) {
      dgate_w.emplace(gate_w, in_place);
      dup_w.emplace(up_w, in_place);
      ddown_w.emplace(down_w, in_place);
    }
    at::Tensor dgate = at::empty_like(a.gate), dup = at::empty_like(a.up);
    at::Tensor dx1 = at::empty_like(a.x), dx2 = at::empty_like(a.x);
    auto each = [&](auto&& body) {
      std::vector<cpu::Gemm> products;
      for (size_t e = 0; e + 1 < d.first.size(); ++e) {
        const int64_t rows = d.first[e + 1] - d.first[e];
        if (rows > 0) body(products, static_cast<int64_t>(e), d.first[e], rows);
      }
      cpu::gemm(products);
    };
    each([&](auto& p, int64_t e, int64_t at, int64_t rows) {
      p.push_back(outwards.input(data(dy) + at * c, rows, data(down_w) + e * c * f, data(dact) + at * f));
      if (ddown_w)
        p.push_back(outwards.weight(data(dy) + at * c, rows, data(a.act) + at * f, ddown_w->data() + e * c * f));
    });
    cpu::swiglu_backward(data(a.gate), data(a.up), data(dact), data(dgate), data(dup), dact.numel());
    each([&](auto& p, int64_t e, int64_t at, int64_t rows) {
      p.push_back(inwards.input(data(dgate) + at * f, rows, data(gate_w) + e * c * f, data(dx1) + at * c));
      p.push_back(inwards.input(data(dup) + at * f, rows, data(up_w) + e * c * f, data(dx2) + at * c));
      if (!dgate_w) return;
      p.push_back(inwards.weight(data(dgate) + at * f, rows, data(a.x) + at * c, dgate_w->data() + e * c * f));
      p.push_back(inwards.weight(data(dup) + at * f, rows, data(a.x) + at * c, dup_w->data() + e * c * f));
    });
    cpu::add(data(dx1), data(dx2), data(dx1), dx1.numel());
    return {combine(d, dx1, nullptr, dout.size(0)),
            handed_on(dgate_w),
            handed_on(dup_w),
            handed_on(ddown_w),
            dweights,
            {},
            {},
            {},
            {}};
  }
};

}  // namespace

at::Tensor ops::select_experts(const RoutingRule& rule, const at::Tensor& scores, const at::Tensor& bias) {
  const at::Tensor s = scores.detach().contiguous();
  const at::Tensor b =
      bias.defined() ? bias.detach().to(s.scalar_type()).contiguous() : at::zeros({rule.experts}, s.options());
  at::Tensor ids = at::empty({scores.size(0), rule.top_k}, scores.options().dtype(at::kLong));
  if (s.scalar_type() == at::kDouble) select_rows<double>(rule, s, b, ids);
  else select_rows<float>(rule, s, b, ids);
  return ids;
}

at::Tensor ops::expert_weights(const RoutingRule& rule, const at::Tensor& scores, const at::Tensor& ids) {
  if (!native(scores)) return reference::expert_weights(rule, scores, ids);
  const at::Tensor s = scores.contiguous();
  return wants_grad({&scores}) ? ExpertWeightsFn::apply(s, ids, &rule) : expert_weights_forward(rule, s, ids);
}

at::Tensor ops::experts(const at::Tensor& x, const Weight& gate, const Weight& up, const Weight& down,
                        const at::Tensor& ids, const at::Tensor& weights) {
  if (!native(x)) return reference::experts(x, gate.tensor(), up.tensor(), down.tensor(), ids, weights);
  const at::Tensor rows = x.contiguous(), w = weights.contiguous();
  if (wants_grad({&x, &gate.tensor(), &up.tensor(), &down.tensor(), &weights})) {
    return ExpertsFn::apply(rows, gate.tensor(), up.tensor(), down.tensor(), w, ids, &gate, &up, &down);
  }
  const Dispatch d = dispatch(ids, gate.tensor().size(0));
  return combine(d, experts_activations(d, rows, gate, up, down).y, data(w), x.size(0));
}

// --- vocabulary -------------------------------------------------------------------------------------------------

namespace {

constexpr int64_t kLogitFloats = 1 << 24;  // logits that exist at once: the head is read for each such group of rows

int64_t rows_at_once(int64_t vocabulary) { return std::max<int64_t>(16, kLogitFloats / vocabulary); }

struct LogprobPlan {
  float inv_temperature;
  std::vector<cpu::RowStats> stats;
};

// Computes logits of rows [begin, end) and hands each row to `body(row, logits)`.
template <class Body>
void for_logits(const at::Tensor& hidden, const Weight& head, const Body& body) {
  const int64_t n = hidden.size(0), v = head.tensor().size(0), step = rows_at_once(v);
  at::Tensor logits = at::empty({std::min(n, step), v}, hidden.options());
  for (int64_t begin = 0; begin < n; begin += step) {
    const int64_t end = std::min(n, begin + step);
    const cpu::Gemm product = forward_product(hidden.narrow(0, begin, end - begin), head.packed(), v, data(logits));
    cpu::gemm({&product, 1});
    const int64_t rows = std::max<int64_t>(1, (1 << 15) / v);
    kernel_pool().run((end - begin + rows - 1) / rows, [&](int64_t piece) {
      for (int64_t i = piece * rows; i < std::min(end - begin, (piece + 1) * rows); ++i) {
        body(begin + i, data(logits) + i * v);
      }
    });
    body.finish(begin, end, logits);
  }
}

int32_t forbidden_of(const at::Tensor& forbidden, int64_t row) {
  return forbidden.defined() ? static_cast<int32_t>(forbidden.const_data_ptr<int64_t>()[row]) : -1;
}

struct MeasureRows {
  const int64_t* targets;
  const at::Tensor& forbidden;
  int64_t v;
  LogprobPlan& plan;
  float *logprobs, *entropy, *is_best;
  void operator()(int64_t row, const float* z) const {
    const cpu::RowStats s = cpu::row_stats(z, v, plan.inv_temperature, forbidden_of(forbidden, row));
    plan.stats[static_cast<size_t>(row)] = s;
    logprobs[row] = cpu::token_logprob(z[targets[row]], s, plan.inv_temperature);
    entropy[row] = s.entropy;
    is_best[row] = z[targets[row]] >= s.max ? 1 : 0;
  }
  void finish(int64_t, int64_t, const at::Tensor&) const {}
};

struct GradientRows {
  const int64_t* targets;
  const at::Tensor& forbidden;
  int64_t v;
  const LogprobPlan& plan;
  const float* dy;
  const at::Tensor &hidden, &head, &dhidden;
  float* dhead;  // null: not wanted
  bool bfloat16;
  void operator()(int64_t row, float* z) const {
    cpu::logprob_backward_row(z, v, plan.stats[static_cast<size_t>(row)], plan.inv_temperature,
                              forbidden_of(forbidden, row), static_cast<int32_t>(targets[row]), dy[row]);
  }
  void finish(int64_t begin, int64_t end, const at::Tensor& dlogits) const {
    const Backward back{v, hidden.size(1), bfloat16};
    cpu::Gemm products[] = {back.input(data(dlogits), end - begin, data(head), data(dhidden) + begin * back.in),
                            back.weight(data(dlogits), end - begin, data(hidden) + begin * back.in, dhead)};
    cpu::gemm({products, dhead ? 2u : 1u});
  }
};

TokenLogprobs measure(const at::Tensor& hidden, const Weight& head, const at::Tensor& targets,
                      const at::Tensor& forbidden, LogprobPlan& plan) {
  const int64_t n = hidden.size(0), v = head.tensor().size(0);
  plan.stats.resize(static_cast<size_t>(n));
  const auto empty = [&] { return at::empty({n}, hidden.options()); };
  TokenLogprobs out{empty(), empty(), empty()};
  const int64_t* target = targets.const_data_ptr<int64_t>();
  for (int64_t i = 0; i < n; ++i) {
    TORCH_CHECK(target[i] >= 0 && target[i] < v, "token id ", target[i], " at row ", i,
                " is outside the vocabulary of ", v);
  }
  for_logits(hidden, head,
             MeasureRows{target, forbidden, v, plan, data(out.logprobs), data(out.entropy), data(out.is_best)});
  return out;
}

struct TokenLogprobsFn : Function<TokenLogprobsFn> {
  static variable_list forward(AutogradContext* ctx, const at::Tensor& hidden, const at::Tensor& head_w,
                               const at::Tensor& targets, const std::optional<at::Tensor>& forbidden,
                               const Weight* head, double inv_temperature) {
    LogprobPlan plan{static_cast<float>(inv_temperature), {}};
    TokenLogprobs out = measure(hidden, *head, targets, forbidden.value_or(at::Tensor()), plan);
    ctx->save_for_backward({hidden, head_w, targets, forbidden.value_or(at::Tensor())});
    hold(ctx, std::pair{std::move(plan), *head});
    ctx->mark_non_differentiable({out.entropy, out.is_best});
    return {out.logprobs, out.entropy, out.is_best};
  }
  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    const auto saved = ctx->get_saved_variables();
    const at::Tensor &hidden = saved[0], &head_w = saved[1], &targets = saved[2], &forbidden = saved[3];
    const auto& [plan, head] = held<std::pair<LogprobPlan, Weight>>(ctx);
    const at::Tensor dy = grads[0].contiguous();
    at::Tensor dhidden = at::empty_like(hidden);
    std::optional<WeightGradient> dhead;
    if (ctx->needs_input_grad(1)) dhead.emplace(head_w, head.adds_gradients());
    for_logits(hidden, head,
               GradientRows{targets.const_data_ptr<int64_t>(), forbidden, head_w.size(0), plan, data(dy), hidden,
                            head_w, dhidden, dhead ? dhead->data() : nullptr, head.bfloat16_products()});
    return {dhidden, handed_on(dhead), {}, {}, {}, {}};
  }
};

}  // namespace

TokenLogprobs ops::token_logprobs(const at::Tensor& hidden, const Weight& head, const at::Tensor& targets,
                                  const at::Tensor& forbidden, double inv_temperature) {
  if (!native(hidden)) return reference::token_logprobs(hidden, head.tensor(), targets, forbidden, inv_temperature);
  const at::Tensor h = hidden.contiguous();
  if (wants_grad({&hidden, &head.tensor()})) {
    auto out = TokenLogprobsFn::apply(h, head.tensor(), targets, optional(forbidden), &head, inv_temperature);
    return {out[0], out[1], out[2]};
  }
  LogprobPlan plan{static_cast<float>(inv_temperature), {}};
  return measure(h, head, targets, forbidden, plan);
}

}  // namespace hone
