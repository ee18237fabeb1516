#include "models/lora.h"

#include <cmath>
#include <cstring>
#include <set>
#include <stdexcept>

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/zeros.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "models/atomic_file.h"
#include "models/multi_token_prediction.h"
#include "models/safetensors.h"

namespace hone {
namespace {

constexpr std::string_view kWeight = ".weight";

// model.layers.0.self_attn.q_proj.weight -> model.layers.0.self_attn.q_proj
std::string module_path(const Parameter& p) { return p.names[0].substr(0, p.names[0].size() - kWeight.size()); }
// -> q_proj
std::string module_name(const Parameter& p) {
  const std::string path = module_path(p);
  return path.substr(path.rfind('.') + 1);
}

// Beside routed experts, peft takes these names, however they are given, for the experts that transformers has fused.
bool is_feed_forward(const std::string& module) {
  return module == "gate_proj" || module == "up_proj" || module == "down_proj";
}

bool is_linear(const Parameter& p, const ModelConfig& config) {
  if (config.n_routed_experts > 0 && is_feed_forward(module_name(p))) return false;
  return p.kind == ParameterKind::kMatrix && p.weight.defined() && p.tensor.dim() == 2 &&
         module_name(p) != "kv_b_proj" && !p.names[0].starts_with(predictor_prefix(config));
}

Adapter make_adapter(const Parameter& p, const LoraOptions& options, at::Generator& generator) {
  const int64_t out = p.tensor.size(0), in = p.tensor.size(1);
  const std::string name = "base_model.model." + module_path(p);
  const double bound = 1 / std::sqrt(static_cast<double>(in));
  Adapter adapter{.weight = &p,
                  .a = {{name + ".lora_A.weight"}, at::empty({options.rank, in}, at::kFloat), ParameterKind::kMatrix},
                  .b = {{name + ".lora_B.weight"}, at::zeros({out, options.rank}, at::kFloat), ParameterKind::kMatrix},
                  .scale = options.alpha / static_cast<double>(options.rank)};
  adapter.a.tensor.uniform_(-bound, bound, generator);
  p.weight.adapt({adapter.a.tensor, adapter.b.tensor, adapter.scale});
  return adapter;
}

}  // namespace

void add_lora(Policy& policy, const LoraOptions& options, uint64_t seed) {
  at::NoGradGuard no_grad;
  const std::set<std::string> wanted(options.target_modules.begin(), options.target_modules.end());
  std::set<std::string> there;
  auto generator = at::detail::createCPUGenerator(seed);
  for (const Parameter& p : policy.parameters().all()) {
    if (!is_linear(p, policy.config())) continue;
    there.insert(module_name(p));
    if (wanted.empty() || wanted.contains(module_name(p)))
      policy.parameters().adapters().push_back(make_adapter(p, options, generator));
  }
  for (const std::string& module : wanted) {
    if (there.contains(module)) continue;
    throw std::invalid_argument(
        fmt::format("lora_target_modules: this model has no linear layer '{}' that takes an adapter; it has {}", module,
                    fmt::join(there, ", ")));
  }
}

void save_adapter(const Policy& policy, const std::filesystem::path& folder) {
  const auto& adapters = policy.parameters().adapters();
  std::set<std::string> modules;
  std::vector<TensorInfo> tensors;
  for (const Adapter& adapter : adapters) {
    modules.insert(module_name(*adapter.weight));
    for (const Parameter* p : {&adapter.a, &adapter.b}) {
      tensors.push_back({p->names[0], "F32", p->tensor.sizes().vec(),
                         static_cast<const std::byte*>(p->tensor.const_data_ptr()), p->tensor.nbytes()});
    }
  }
  const int64_t rank = adapters.at(0).a.tensor.size(0);
  const nlohmann::json config{{"peft_type", "LORA"},
                              {"task_type", "CAUSAL_LM"},
                              {"base_model_name_or_path", nullptr},
                              {"r", rank},
                              {"lora_alpha", adapters[0].scale * static_cast<double>(rank)},
                              {"lora_dropout", 0.0},
                              {"bias", "none"},
                              {"target_modules", modules},
                              {"inference_mode", true}};
  write_safetensors(folder / "adapter_model.safetensors", tensors, {{"format", "pt"}});
  write_file_atomic(folder / "adapter_config.json", config.dump(2) + "\n");
}

void load_adapter(Policy& policy, const std::filesystem::path& folder) {
  const std::filesystem::path path = folder / "adapter_model.safetensors";
  const SafetensorsFile file = SafetensorsFile::open(path);
  for (const Adapter& adapter : policy.parameters().adapters()) {
    for (const Parameter* p : {&adapter.a, &adapter.b}) {
      const TensorInfo* info = file.find(p->names[0]);
      if (!info || info->shape != p->tensor.sizes().vec() || info->dtype != "F32") {
        throw std::runtime_error(
            fmt::format("{}: {} is missing or of another shape; the adapter belongs to another recipe", path.string(),
                        p->names[0]));
      }
      std::memcpy(p->tensor.mutable_data_ptr(), info->data, info->num_bytes);
      p->tensor.unsafeGetTensorImpl()->bump_version();  // so that the weight is packed again
    }
  }
}

}  // namespace hone
