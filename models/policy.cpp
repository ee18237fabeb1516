#include "models/policy.h"

#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <new>
#include <set>
#include <stdexcept>

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/zeros.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "models/atomic_file.h"
#include "models/float_formats.h"
#include "models/layers.h"
#include "models/multi_token_prediction.h"
#include "models/recompute.h"
#include "models/safetensors.h"
#include "models/weights.h"

namespace hone {
namespace {

std::unique_ptr<Block> make_block(const ModelConfig& config, int64_t layer, ParameterList& parameters) {
  switch (config.architecture) {
    case Architecture::kDeepseekV3:
      return make_deepseek_v3_block(config, layer, parameters);
    case Architecture::kLlama:
    case Architecture::kQwen2:
    case Architecture::kQwen3:
    case Architecture::kQwen3Moe:
      break;
  }
  return make_llama_block(config, layer, parameters);
}

constexpr const char* kScoreHead = "score.weight";

std::string slice_name(std::string pattern, int64_t e) {
  return pattern.replace(pattern.find("{e}"), 3, std::to_string(e));
}

at::TensorOptions floats_on(bool meta) { return at::device(meta ? at::kMeta : at::kCPU).dtype(at::kFloat); }

using SliceBody = std::function<void(const std::string&, const at::Tensor&)>;

// body(checkpoint name, slice) of a tensor of the parameter's shape.
void for_each_slice(const Parameter& p, const at::Tensor& tensor, const SliceBody& body) {
  if (p.names.size() == 1 && tensor.dim() < 3) return body(p.names[0], tensor);
  for (size_t e = 0; e < p.names.size(); ++e) body(p.names[e], tensor[static_cast<int64_t>(e)]);
}

void round_values(const at::Tensor& t) {
  auto* w = t.mutable_data_ptr<float>();
  for (int64_t i = 0; i < t.numel(); ++i) {
    const bool subnormal = std::abs(w[i]) < std::numeric_limits<float>::min();
    w[i] = subnormal ? std::copysign(0.f, w[i]) : float_of_bfloat16(bfloat16_of_float(w[i]));
  }
}

}  // namespace

// --- parameters -------------------------------------------------------------------------------------------------

at::Tensor ParameterList::add(std::string name, std::vector<int64_t> shape, ParameterKind kind) {
  parameters_.push_back({{std::move(name)}, at::empty(shape, floats_on(keep_ == Keep::kShapes)), kind});
  return parameters_.back().tensor;
}

Weight ParameterList::add_weight(std::string name, std::vector<int64_t> shape, ParameterKind kind) {
  return add_weight(std::vector{std::move(name)}, shape, kind);
}

Weight ParameterList::add_stack(const std::string& name, int64_t slices, std::vector<int64_t> shape) {
  std::vector<std::string> names;
  for (int64_t e = 0; e < slices; ++e) names.push_back(slice_name(name, e));
  shape.insert(shape.begin(), slices);
  return add_weight(std::move(names), shape, ParameterKind::kMatrix);
}

Weight ParameterList::add_weight(std::vector<std::string> names, const std::vector<int64_t>& shape,
                                 ParameterKind kind) {
  const Weight weight(at::empty(shape, floats_on(keep_ != Keep::kAll)), arithmetic_);
  parameters_.push_back({std::move(names), weight.tensor(), kind, weight});
  return weight;
}

std::vector<const Parameter*> ParameterList::trained() const {
  std::vector<const Parameter*> trained;
  for (const Adapter& adapter : adapters_) trained.insert(trained.end(), {&adapter.a, &adapter.b});
  if (!trained.empty()) return trained;
  for (const Parameter& p : parameters_) {
    if (p.trainable()) trained.push_back(&p);
  }
  return trained;
}

void ParameterList::for_each(const std::function<void(const std::string&, const at::Tensor&)>& body) const {
  for (const Parameter& p : parameters_) for_each_slice(p, p.values().detach(), body);
}

// --- cache ------------------------------------------------------------------------------------------------------

namespace {

// Zeros that take memory page by page, as they are first touched.
at::Tensor untouched_zeros(std::array<int64_t, 4> shape) {
  size_t bytes = sizeof(float);
  for (const int64_t n : shape) bytes *= static_cast<size_t>(n);
  if (bytes == 0) return at::empty(shape, at::kFloat);
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) throw std::bad_alloc();
  madvise(memory, bytes, MADV_HUGEPAGE);  // fewer, larger faults; refused where the kernel has none
  return at::from_blob(
      memory, shape, [bytes](void* p) { munmap(p, bytes); }, at::kFloat);
}

void copy(const at::Tensor& blocks, int64_t from, int64_t to, int64_t count) {
  const int64_t size = blocks.numel() / blocks.size(0);
  float* base = blocks.mutable_data_ptr<float>();
  std::copy_n(base + from * size, count * size, base + to * size);
}

}  // namespace

KvCache::KvCache(const std::vector<cpu::AttentionShape>& layers, int64_t blocks) {
  for (const auto& s : layers) {
    LayerCache layer{untouched_zeros({blocks, s.kv_heads, s.key_dim, cpu::kBlock}), {}};
    if (!s.value_in_key) layer.values = untouched_zeros({blocks, s.kv_heads, s.value_dim, cpu::kBlock});
    layers_.push_back(std::move(layer));
  }
}

void KvCache::copy_blocks(int64_t from, int64_t to, int64_t count) {
  for (const LayerCache& layer : layers_) {
    copy(layer.keys, from, to, count);
    if (layer.values.defined()) copy(layer.values, from, to, count);
  }
}

int64_t KvCache::bytes() const {
  int64_t total = 0;
  for (const LayerCache& layer : layers_)
    total += layer.keys.nbytes() + (layer.values.defined() ? layer.values.nbytes() : 0);
  return total;
}

int64_t cache_bytes_per_token(const std::vector<cpu::AttentionShape>& layers) {
  return KvCache(layers, 1).bytes() / cpu::kBlock;
}

// --- policy -----------------------------------------------------------------------------------------------------

Policy::Policy(const ModelConfig& config, Keep keep) : config_(config), parameters_(keep) {
  const auto table = [&](const char* name) {
    return parameters_.add_weight(name, {config.vocab_size, config.hidden_size}, ParameterKind::kEmbedding);
  };
  embed_ = table("model.embed_tokens.weight");
  for (int64_t i = 0; i < config.num_hidden_layers; ++i) blocks_.push_back(make_block(config, i, parameters_));
  norm_ = parameters_.add("model.norm.weight", {config.hidden_size}, ParameterKind::kNorm);
  head_ = config.tie_word_embeddings ? embed_ : table("lm_head.weight");
  config_.num_nextn_predict_layers = std::min<int64_t>(config.num_nextn_predict_layers, 1);
  if (config_.num_nextn_predict_layers > 0) predictor_ = std::make_unique<MultiTokenPredictor>(config_, parameters_);
}

void Policy::add_score_head() {
  score_ = parameters_.add_weight(kScoreHead, {1, config_.hidden_size}, ParameterKind::kEmbedding);
  if (!score_.is_packed_only()) score_.tensor().zero_();
}

Policy::~Policy() = default;

std::unique_ptr<Policy> Policy::random(const ModelConfig& config, double std, uint64_t seed) {
  std::unique_ptr<Policy> policy(new Policy(config));
  at::NoGradGuard no_grad;
  auto generator = at::detail::createCPUGenerator(seed);
  for (const Parameter& p : policy->parameters_.all()) {
    const bool is_matrix = p.kind == ParameterKind::kMatrix || p.kind == ParameterKind::kEmbedding;
    if (is_matrix) p.tensor.normal_(0, std, generator);
    else p.tensor.fill_(p.kind == ParameterKind::kNorm ? 1 : 0);
  }
  return policy;
}

namespace {

// From the mapped file, without a copy between; false where the file does not hold floats that can be read there.
bool pack_in_place(const ModelWeights& weights, const Parameter& p) {
  if (p.names.size() > 1) return false;  // experts come one by one
  const StoredWeight& stored = *weights.find(p.names[0]);
  const std::span<const float> values = ModelWeights::in_place(stored);
  if (values.empty()) return false;
  p.weight.pack(values.data());
  ModelWeights::give_back(stored);
  return true;
}

}  // namespace

std::unique_ptr<Policy> Policy::load(const std::filesystem::path& model_dir, const LoadOptions& options) {
  const ModelConfig announced = load_model_config(model_dir);
  const ModelWeights weights = ModelWeights::open(model_dir);
  ModelConfig config = announced;
  // transformers keeps the number in config.json when it drops the tensors
  if (!weights.find(predictor_prefix(config) + "eh_proj.weight")) config.num_nextn_predict_layers = 0;
  std::unique_ptr<Policy> policy(new Policy(config, options.keep));
  if (weights.find(kScoreHead)) policy->add_score_head();
  std::set<std::string> used;
  policy->parameters_.for_each([&](const std::string& name, const at::Tensor& t) {
    weights.require(name, t.sizes());
    used.insert(name);
  });
  weights.refuse_others(used, announced);
  if (options.keep == Keep::kShapes) return policy;
  policy->parameters_.arithmetic()->bfloat16 = options.bfloat16;
  for (const Parameter& p : policy->parameters_.all()) {
    const bool is_packed_only = p.weight.defined() && p.weight.is_packed_only();
    if (is_packed_only && !options.bfloat16 && pack_in_place(weights, p)) continue;
    const at::Tensor values = is_packed_only ? at::empty(p.tensor.sizes(), at::kFloat) : p.tensor;
    for_each_slice(p, values, [&](const std::string& name, const at::Tensor& t) {
      ModelWeights::read(*weights.find(name), {t.mutable_data_ptr<float>(), static_cast<size_t>(t.numel())});
    });
    if (options.bfloat16 && p.trainable()) round_values(values);
    if (is_packed_only) p.weight.pack(values.const_data_ptr<float>());
  }
  return policy;
}

namespace {

bool is_bfloat16(const at::Tensor& t) { return cpu::is_bfloat16(t.const_data_ptr<float>(), t.numel()); }

// What a file of weights is made of: tensors as they are stored, kept until the file is written.
struct StoredTensors {
  std::vector<at::Tensor> kept;
  std::vector<TensorInfo> infos;

  void add(const std::string& name, const at::Tensor& weights, bool narrow) {
    const at::Tensor floats = weights.detach().to(at::kFloat).contiguous();
    kept.push_back(narrow && is_bfloat16(floats) ? floats.to(at::kBFloat16) : floats);
    const at::Tensor& stored = kept.back();
    infos.push_back({name, stored.scalar_type() == at::kBFloat16 ? "BF16" : "F32", weights.sizes().vec(),
                     static_cast<const std::byte*>(stored.const_data_ptr()), stored.nbytes()});
  }
};

}  // namespace

// bfloat16 where that is exact for all that is trained; the routers' biases stay float32 where they must.
void Policy::save(const std::filesystem::path& model_dir) const {
  const bool narrow = std::ranges::all_of(parameters_.all(), [](const Parameter& p) {
    return !p.trainable() || (p.tensor.scalar_type() == at::kFloat && is_bfloat16(p.values()));
  });
  StoredTensors tensors;
  parameters_.for_each([&](const std::string& name, const at::Tensor& t) { tensors.add(name, t, narrow); });
  if (predictor_) {  // as released: with copies of what it shares
    for (const auto& [name, shared] : {std::pair{"embed_tokens.weight", embed_}, {"shared_head.head.weight", head_}}) {
      tensors.add(predictor_prefix(config_) + name, shared.tensor(), narrow);
    }
  }
  write_safetensors(model_dir / "model.safetensors", tensors.infos);
  ModelConfig written = config_;
  written.dtype = narrow ? "bfloat16" : "float32";
  write_file_atomic(model_dir / "config.json", to_json(written).dump(2) + "\n");
}

void Policy::to_bfloat16() {
  at::NoGradGuard no_grad;
  parameters_.arithmetic()->bfloat16 = true;
  for (const Parameter& p : parameters_.all()) {
    if (!p.trainable()) continue;
    round_values(p.tensor);
    p.tensor.unsafeGetTensorImpl()->bump_version();
  }
}

std::unique_ptr<Policy> Policy::clone() const {
  std::unique_ptr<Policy> copy(new Policy(config_));
  if (has_score_head()) copy->add_score_head();
  copy->copy_from(*this);
  *copy->parameters_.arithmetic() = *parameters_.arithmetic();
  return copy;
}

void Policy::copy_from(const Policy& other) {
  at::NoGradGuard no_grad;
  for (size_t i = 0; i < parameters_.all().size(); ++i) {
    const Parameter& own = parameters_.all()[i];
    if (!own.weight.defined() || !own.weight.addition()) own.tensor.copy_(other.parameters_.all()[i].values());
  }
}

std::vector<at::Tensor> Policy::router_biases() const {
  std::vector<at::Tensor> biases;
  for (const auto& block : blocks_) {
    if (const at::Tensor bias = block->router_bias(); bias.defined()) biases.push_back(bias);
  }
  if (predictor_ && predictor_->block().router_bias().defined()) biases.push_back(predictor_->block().router_bias());
  return biases;
}

std::vector<cpu::AttentionShape> Policy::attention_shapes() const {
  std::vector<cpu::AttentionShape> shapes;
  for (const auto& block : blocks_) shapes.push_back(block->attention_shape());
  return shapes;
}

void Policy::set_requires_grad(bool value) {
  for (const Parameter* p : parameters_.trained()) p->tensor.requires_grad_(value);
}

bool Policy::fits_a_core() const {
  constexpr int64_t kSmallBytes = 32 << 20;
  int64_t bytes = 0;
  for (const Parameter& p : parameters_.all()) bytes += static_cast<int64_t>(p.tensor.nbytes());
  return bytes <= kSmallBytes;
}

// Of each layer: its input, two norms, two outputs and their sums; queries and keys before and after rotation, values,
// what attention gives; gate, up and their product.
int64_t Policy::activation_bytes_per_token() const {
  const ModelConfig& c = config_;
  int64_t floats = 0;
  for (size_t i = 0; i < blocks_.size(); ++i) {
    const cpu::AttentionShape s = blocks_[i]->attention_shape();
    const int64_t width = c.is_moe_layer(static_cast<int64_t>(i))
                              ? (c.num_experts_per_tok + c.n_shared_experts) * c.moe_intermediate_size
                              : c.intermediate_size;
    floats +=
        7 * c.hidden_size + 2 * (s.heads + s.kv_heads) * s.key_dim + (s.heads + s.kv_heads) * s.value_dim + 3 * width;
  }
  return floats * static_cast<int64_t>(sizeof(float));
}

void Policy::prepare(int64_t positions) const {
  at::NoGradGuard no_grad;
  const Rows last{{{0, 1, 0, 0}}, {static_cast<int32_t>(positions)}, 1};
  const at::Tensor id = at::zeros({1}, at::kLong), hidden = forward(id, {.rows = last});
  logits(hidden);
  if (has_score_head()) score(hidden);
  if (predictor_) predict(hidden, id, {.rows = last});
}

void Policy::to(at::ScalarType dtype) {
  for (const Parameter& p : parameters_.all()) {
    TORCH_CHECK(!p.tensor.is_meta(), p.names[0], ": only its packed copy was kept; load the policy with Keep::kAll");
    p.tensor.set_data(p.tensor.to(dtype));
  }
}

at::Tensor Policy::forward(const at::Tensor& ids, const ForwardContext& context) const {
  at::Tensor x = ops::embedding(embed_, ids);
  for (size_t i = 0; i < blocks_.size(); ++i) {
    const auto layer = static_cast<int64_t>(i);
    x = context.recompute ? recomputed(*blocks_[i], x, context, layer) : blocks_[i]->forward(x, context, layer);
  }
  return ops::rms_norm(x, norm_, config_.rms_norm_eps);
}

at::Tensor Policy::predict(const at::Tensor& hidden, const at::Tensor& next_ids, const ForwardContext& context) const {
  return predictor_->forward(hidden, ops::embedding(embed_, next_ids), context);
}

}  // namespace hone
