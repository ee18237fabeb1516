// Values that are no tensors on their way from an autograd function's forward to its backward.
#pragma once

#include <utility>

#include <torch/csrc/autograd/custom_function.h>

namespace hone {

template <class T>
struct Held : torch::CustomClassHolder {
  explicit Held(T v) : value(std::move(v)) {}
  T value;
};

/// One a function.
template <class T>
void hold(torch::autograd::AutogradContext* ctx, T value) {
  ctx->saved_data["held"] = c10::IValue::make_capsule(c10::make_intrusive<Held<T>>(std::move(value)));
}
/// REQUIRES: hold() of a T before.
template <class T>
const T& held(torch::autograd::AutogradContext* ctx) {
  return static_cast<const Held<T>*>(ctx->saved_data["held"].toCapsule().get())->value;
}

}  // namespace hone
