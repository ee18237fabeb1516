#include "rl/optimizer.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <stdexcept>

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros_like.h>
#include <fmt/format.h>

#include "models/kernels/cpu.h"
#include "models/kernels/thread_pool.h"
#include "models/safetensors.h"

namespace hone {
namespace {

constexpr float kMuonMomentum = 0.95f;

float* data(const at::Tensor& t) { return t.mutable_data_ptr<float>(); }

int64_t num_slices(const at::Tensor& w) { return w.dim() == 3 ? w.size(0) : 1; }

// c (r, r) = a b, known to be symmetric: the panels of its upper triangle, mirrored.
void symmetric_product(cpu::Gemm g) {
  const int64_t r = g.m;
  std::vector<cpu::Gemm> panels;
  for (int64_t j = 0; j < r; j += cpu::kPanel) {
    cpu::Gemm panel = g;
    panel.b += j * g.b_col;
    panel.c += j;
    panel.n = std::min(cpu::kPanel, r - j);
    panel.m = j + panel.n;
    panels.push_back(panel);
  }
  cpu::gemm(panels);
  for (int64_t i = 1; i < r; ++i) {
    for (int64_t j = 0; j < i; ++j) g.c[i * r + j] = g.c[j * r + i];
  }
}

// x -> a x + (b A + c A A) x with A = x x^T; rows r <= columns c.
void newton_schulz(float* x, int64_t r, int64_t c) {
  AlignedFloats gram(static_cast<size_t>(r * r)), poly(gram.size()), next(static_cast<size_t>(r * c));
  for (int step = 0; step < 5; ++step) {
    symmetric_product(
        {.a = x, .a_row = c, .b = x, .b_row = 1, .b_col = c, .c = gram.data(), .c_row = r, .m = r, .k = c});
    symmetric_product(
        {.a = gram.data(), .a_row = r, .b = gram.data(), .b_row = r, .c = poly.data(), .c_row = r, .m = r, .k = r});
    for (size_t i = 0; i < gram.size(); ++i) poly[i] = -4.7750f * gram[i] + 2.0315f * poly[i];
    const cpu::Gemm product{
        .a = poly.data(), .a_row = r, .b = x, .b_row = c, .c = next.data(), .c_row = c, .m = r, .n = c, .k = r};
    cpu::gemm({&product, 1});
    for (size_t i = 0; i < next.size(); ++i) x[i] = 3.4445f * x[i] + next[i];
  }
}

void transpose(const float* from, int64_t rows, int64_t columns, float* to) {
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < columns; ++j) to[j * rows + i] = from[i * columns + j];
  }
}

// In eight interleaved chains, added in order: one order, and one that the compiler can keep in vectors.
double sum_of_squares(const float* x, int64_t n) {
  double chains[8] = {};
  int64_t i = 0;
  for (; i + 8 <= n; i += 8) {
    for (int j = 0; j < 8; ++j) chains[j] += static_cast<double>(x[i + j]) * x[i + j];
  }
  for (; i < n; ++i) chains[0] += static_cast<double>(x[i]) * x[i];
  double sum = 0;
  for (const double c : chains) sum += c;
  return sum;
}

}  // namespace

void orthogonalise(float* matrix, int64_t rows, int64_t columns) {
  const bool tall = rows > columns;
  AlignedFloats x(matrix, matrix + rows * columns);
  if (tall) transpose(matrix, rows, columns, x.data());
  const auto inverse = static_cast<float>(1 / (std::sqrt(sum_of_squares(x.data(), rows * columns)) + 1e-7));
  for (float& v : x) v *= inverse;
  newton_schulz(x.data(), std::min(rows, columns), std::max(rows, columns));
  if (tall) transpose(x.data(), columns, rows, matrix);
  else std::copy(x.begin(), x.end(), matrix);
}

Optimizer::Optimizer(const ParameterList& parameters, const OptimConfig& config) : config_(config) {
  const bool masters = config.dtype == "bfloat16" && parameters.adapters().empty();
  for (const Parameter* p : parameters.trained()) {
    const bool muon = config.optimizer == "muon" && p->kind == ParameterKind::kMatrix;
    const at::Tensor w = p->tensor.detach();
    states_.push_back(
        {p, muon, at::zeros_like(w), muon ? at::Tensor() : at::zeros_like(w), masters ? w.clone() : at::Tensor()});
  }
}

double Optimizer::gradient_norm() const {
  double squares = 0;
  for (const State& s : states_) {
    at::Tensor& g = s.parameter->tensor.mutable_grad();
    if (!g.defined()) continue;
    g = g.contiguous();
    const double own = sum_of_squares(g.const_data_ptr<float>(), g.numel());
    if (!std::isfinite(own)) {
      throw std::runtime_error(
          fmt::format("the gradient of {} is not finite; lower the learning rate, or look for the "
                      "first bad value with `hone inspect`",
                      s.parameter->names[0]));
    }
    squares += own;
  }
  return std::sqrt(squares);
}

double Optimizer::step(double rate_factor) {
  at::NoGradGuard no_grad;
  const double norm = gradient_norm();
  const bool clip = config_.max_grad_norm > 0 && norm > config_.max_grad_norm;
  const auto grad_scale = static_cast<float>(clip ? config_.max_grad_norm / norm : 1.0);
  ++steps_;
  std::vector<std::pair<State*, int64_t>> matrices;  // each is orthogonalised by one thread
  for (State& s : states_) {
    if (!s.parameter->tensor.grad().defined()) continue;
    if (!s.muon) adamw_step(s, config_.learning_rate * rate_factor, grad_scale);
    else
      for (int64_t i = 0; i < num_slices(s.parameter->tensor); ++i) matrices.emplace_back(&s, i);
  }
  kernel_pool().run(static_cast<int64_t>(matrices.size()), [&](int64_t i) {
    const auto& [state, slice] = matrices[static_cast<size_t>(i)];
    muon_step(*state, slice, config_.muon_learning_rate * rate_factor, grad_scale);
  });
  for (State& s : states_) {
    if (s.master.defined()) s.parameter->tensor.copy_(s.master.to(at::kBFloat16));
    s.parameter->tensor.unsafeGetTensorImpl()
        ->bump_version();  // the kernels wrote past autograd: packed copies are stale
    s.parameter->tensor.mutable_grad().reset();
  }
  return norm;
}

void Optimizer::adamw_step(State& s, double rate, float grad_scale) const {
  const bool decays = s.parameter->kind == ParameterKind::kMatrix || s.parameter->kind == ParameterKind::kEmbedding;
  const auto t = static_cast<double>(steps_);
  const cpu::AdamW options{.learning_rate = static_cast<float>(rate),
                           .beta1 = static_cast<float>(config_.adam_beta1),
                           .beta2 = static_cast<float>(config_.adam_beta2),
                           .epsilon = static_cast<float>(config_.adam_epsilon),
                           .weight_decay = decays ? static_cast<float>(config_.weight_decay) : 0.f,
                           .correction1 = static_cast<float>(1 - std::pow(config_.adam_beta1, t)),
                           .correction2 = static_cast<float>(1 - std::pow(config_.adam_beta2, t)),
                           .grad_scale = grad_scale};
  const at::Tensor& w = s.weights();
  cpu::adamw(options, data(w), data(s.parameter->tensor.grad()), data(s.first), data(s.second), w.numel());
}

// momentum m = 0.95 m + g; w -= rate * sqrt(max(1, rows/columns)) * orthogonal(g + 0.95 m)
void Optimizer::muon_step(State& s, int64_t slice, double rate, float grad_scale) const {
  const at::Tensor& w = s.weights();
  const int64_t rows = w.size(-2), columns = w.size(-1), n = rows * columns;
  float *weights = data(w) + slice * n, *m = data(s.first) + slice * n;
  const float* g = s.parameter->tensor.grad().const_data_ptr<float>() + slice * n;
  std::vector<float> update(static_cast<size_t>(n));
  for (int64_t i = 0; i < n; ++i) {
    m[i] = kMuonMomentum * m[i] + grad_scale * g[i];
    update[static_cast<size_t>(i)] = grad_scale * g[i] + kMuonMomentum * m[i];
  }
  orthogonalise(update.data(), rows, columns);
  const double shape = std::sqrt(std::max(1.0, static_cast<double>(rows) / static_cast<double>(columns)));
  const auto scale = static_cast<float>(rate * shape), decay = static_cast<float>(rate * config_.weight_decay);
  for (int64_t i = 0; i < n; ++i) weights[i] -= decay * weights[i] + scale * update[static_cast<size_t>(i)];
}

void Optimizer::for_each_state(const std::function<void(const std::string&, const at::Tensor&)>& body) const {
  for (const State& s : states_) {
    for (const auto& [what, tensor] : {std::pair{"first", s.first}, {"second", s.second}, {"master", s.master}}) {
      if (tensor.defined()) body(s.parameter->names[0] + "#" + what, tensor);
    }
  }
}

void Optimizer::save(const std::filesystem::path& file) const {
  std::vector<TensorInfo> tensors;
  auto put = [&](const std::string& name, const at::Tensor& t) {
    tensors.push_back({name, "F32", t.sizes().vec(), static_cast<const std::byte*>(t.const_data_ptr()), t.nbytes()});
  };
  for_each_state(put);
  write_safetensors(file, tensors, {{"format", "pt"}, {"steps", std::to_string(steps_)}});
}

void Optimizer::load(const std::filesystem::path& file) {
  const SafetensorsFile saved = SafetensorsFile::open(file);
  auto get = [&](const std::string& name, const at::Tensor& t) {
    const TensorInfo* info = saved.find(name);
    if (!info || info->shape != t.sizes().vec() || info->dtype != "F32") {
      throw std::runtime_error(
          fmt::format("{}: optimizer state {} is missing or of another shape; the checkpoint belongs to "
                      "another recipe",
                      file.string(), name));
    }
    std::memcpy(data(t), info->data, info->num_bytes);
  };
  for_each_state(get);
  steps_ = std::stoll(saved.metadata().at("steps"));
}

}  // namespace hone
