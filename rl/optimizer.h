// AdamW on everything, or Muon on the matrices and AdamW on the rest. State lives in float32 tensors beside the weights
// and is saved with them. The same gradients give the same bytes, whatever the number of threads.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "models/policy.h"
#include "rl/config.h"

namespace hone {

class Optimizer {
 public:
  /// Borrows the parameters and steps what is trained of them; they must be float32 on the CPU and outlive it. With
  /// dtype bfloat16 they are rounded after each step, and the exact weights kept as state. Adapters stay float32.
  Optimizer(const ParameterList& parameters, const OptimConfig& config);

  /// One update with the rates of the config times `rate_factor`. Gradients are clipped to max_grad_norm together and
  /// then dropped. Returns their norm before clipping. A gradient that is not finite throws std::runtime_error naming
  /// the parameter, before any weight has changed.
  double step(double rate_factor);

  /// Norm of all gradients together, as they are. Throws as step() for one that is not finite.
  double gradient_norm() const;

  /// Writes / reads `file` (safetensors). load throws std::runtime_error when tensors are missing or of other shapes.
  void save(const std::filesystem::path& file) const;
  void load(const std::filesystem::path& file);

 private:
  struct State {
    const Parameter* parameter;
    bool muon;
    at::Tensor first, second;  // AdamW's moments; Muon: momentum in `first`
    at::Tensor master;         // what steps are added to when the weights are bfloat16, else undefined

    const at::Tensor& weights() const { return master.defined() ? master : parameter->tensor; }
  };
  void adamw_step(State& s, double rate, float grad_scale) const;
  void muon_step(State& s, int64_t slice, double rate, float grad_scale) const;
  void for_each_state(const std::function<void(const std::string& name, const at::Tensor&)>& body) const;

  OptimConfig config_;
  std::vector<State> states_;
  int64_t steps_ = 0;
};

/// The nearest orthogonal matrix, nearly, of a matrix (rows, columns), in place: five quintic Newton-Schulz steps
/// (Jordan et al. 2024, "Muon"), with the coefficients 3.4445, -4.7750, 2.0315.
void orthogonalise(float* matrix, int64_t rows, int64_t columns);

}  // namespace hone
