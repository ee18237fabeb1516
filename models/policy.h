// A policy: token ids in, hidden states and log-probs out. One class for every family; a family file (deepseek_v3.cpp,
// llama.cpp) builds its blocks. Parameter names are those of the Hugging Face checkpoint.
//
// The sampler and the trainer call the same forward(), with and without a cache: that is why their log-probs agree.
// To add a family: one file that makes its Block, one line in make_block (policy.cpp), one Architecture.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "models/kernels/ops.h"
#include "models/model_config.h"

namespace hone {

/// How a parameter is treated by initialisation and optimizers.
enum class ParameterKind { kMatrix, kEmbedding, kNorm, kBias, kRouterBias };

/// One tensor of the policy. Expert weights are stacked (E, out, in); `names` then has one checkpoint name a slice.
struct Parameter {
  std::vector<std::string> names;
  at::Tensor tensor;
  ParameterKind kind;
  Weight weight = {};  ///< the same, where only products and embeddings read it; else undefined
  /// What the policy computes with: the tensor and what adapters add to it.
  at::Tensor values() const { return weight.defined() ? weight.values() : tensor; }
  bool trainable() const { return kind != ParameterKind::kRouterBias; }
};

/// A low-rank addition that is trained in place of the weight it belongs to (models/lora.h).
struct Adapter {
  const Parameter* weight;  ///< (out, in), of the same list
  Parameter a, b;           ///< (r, in), (out, r) float32
  double scale;             ///< alpha / r
};

/// What a policy keeps of its weights.
enum class Keep {
  kAll,          ///< tensors, and the packed copies that products read
  kForSampling,  ///< where products alone read a weight, only its packed copy: half the memory. Training, saving and
                 ///< copying throw c10::Error
  kShapes,       ///< no values at all: for counting
};

/// The tensors of a policy in checkpoint order, made empty by its blocks and filled by a loader or an initialiser.
class ParameterList {
 public:
  explicit ParameterList(Keep keep = Keep::kAll) : keep_(keep) {}
  /// A new float32 tensor.
  at::Tensor add(std::string name, std::vector<int64_t> shape, ParameterKind kind);
  /// One that nothing but products and embedding() reads.
  Weight add_weight(std::string name, std::vector<int64_t> shape, ParameterKind kind = ParameterKind::kMatrix);
  /// E slices of `shape`, named name.replace("{e}", e).
  Weight add_stack(const std::string& name, int64_t slices, std::vector<int64_t> shape);
  const std::vector<Parameter>& all() const { return parameters_; }
  std::vector<Adapter>& adapters() { return adapters_; }
  const std::vector<Adapter>& adapters() const { return adapters_; }
  /// What is learnt: the adapters where there are any, else all that is trainable.
  std::vector<const Parameter*> trained() const;
  /// Of the products that read these weights.
  const std::shared_ptr<Arithmetic>& arithmetic() const { return arithmetic_; }

  /// body(checkpoint name, values or a slice of them) for every tensor of a checkpoint.
  void for_each(const std::function<void(const std::string&, const at::Tensor&)>& body) const;

 private:
  Weight add_weight(std::vector<std::string> names, const std::vector<int64_t>& shape, ParameterKind kind);

  Keep keep_;
  std::shared_ptr<Arithmetic> arithmetic_ = std::make_shared<Arithmetic>();
  std::vector<Parameter> parameters_;
  std::vector<Adapter> adapters_;
};

/// What a forward pass tells about its routers: one entry a mixture-of-experts layer.
struct RouterLoad {
  std::vector<at::Tensor> chosen;            ///< (layers)(N, k) int64: each row's experts, ascending
  std::vector<std::vector<int64_t>> counts;  ///< (layers)(E) rows sent to each expert
  std::vector<at::Tensor> balance_losses;    ///< (layers) sequence-wise loss / alpha, when asked for
};

/// Per-call inputs shared by all blocks.
struct ForwardContext {
  const Rows& rows;
  std::vector<LayerCache>* cache = nullptr;  ///< one a layer; null: whole sequences
  RouterLoad* router = nullptr;              ///< filled when not null
  bool balance_loss = false;
  bool recompute = false;  ///< layers keep their inputs alone (models/recompute.h)
};

/// One decoder layer: x (N, C) -> (N, C).
class Block {
 public:
  virtual ~Block() = default;
  virtual at::Tensor forward(const at::Tensor& x, const ForwardContext& context, int64_t layer) const = 0;
  /// Its key/value entry: what one position costs.
  virtual cpu::AttentionShape attention_shape() const = 0;
  /// The selection bias (E) of its router, undefined for dense layers.
  virtual at::Tensor router_bias() const { return {}; }
};

/// Keys and values of `blocks` blocks of 16 positions in every layer (cpu::AttentionShape). A block costs memory from
/// the first write to it on, so room for the longest completions is free until they are that long.
class KvCache {
 public:
  KvCache(const std::vector<cpu::AttentionShape>& layers, int64_t blocks);
  std::vector<LayerCache>& layers() { return layers_; }
  /// With every block written.
  int64_t bytes() const;
  /// Copies `count` blocks in every layer.
  void copy_blocks(int64_t from, int64_t to, int64_t count);

 private:
  std::vector<LayerCache> layers_;
};

/// Of the cache, counted from an allocation.
int64_t cache_bytes_per_token(const std::vector<cpu::AttentionShape>& layers);

class MultiTokenPredictor;

struct LoadOptions {
  Keep keep = Keep::kAll;
  bool bfloat16 = false;  ///< as Policy::to_bfloat16()
};

class Policy {
 public:
  ~Policy();
  /// Random weights: normal(0, std) on matrices and embeddings, 1 on norms, 0 on biases; a function of the seed.
  static std::unique_ptr<Policy> random(const ModelConfig& config, double std, uint64_t seed);
  /// Reads config.json and safetensors. A missing, extra or mis-shaped tensor is refused by name (std::runtime_error).
  static std::unique_ptr<Policy> load(const std::filesystem::path& model_dir, const LoadOptions& options = {});
  /// Writes config.json and model.safetensors into an existing folder: as bfloat16 when every trained weight is one.
  void save(const std::filesystem::path& model_dir) const;
  /// The same weights in new tensors, with the same arithmetic.
  std::unique_ptr<Policy> clone() const;
  /// Overwrites the weights by another policy's of the same config, but those that have adapters here.
  void copy_from(const Policy& other);

  const ModelConfig& config() const { return config_; }
  ParameterList& parameters() { return parameters_; }
  const ParameterList& parameters() const { return parameters_; }
  const Weight& head() const { return head_; }
  /// Of the decoder's layers, then of the predictor's.
  std::vector<at::Tensor> router_biases() const;
  std::vector<cpu::AttentionShape> attention_shapes() const;
  void set_requires_grad(bool value);  ///< of all that is trained
  /// So small that its weights stay in a core's caches: then threads work best on sequences of their own, each with the
  /// whole policy; a larger one is shared, all threads working on each product.
  bool fits_a_core() const;
  /// What a forward pass keeps of a token for the backward, bytes: about, and without what the losses keep.
  int64_t activation_bytes_per_token() const;
  /// Packs every weight and fills the rotary tables up to `positions`, so that several threads may call forward() and
  /// logits() at once until a weight changes.
  void prepare(int64_t positions) const;
  void to(at::ScalarType dtype);
  /// Rounds every trained weight to the nearest bfloat16 and from then on computes products of bfloat16 (but a
  /// router's); sums, activations between products, attention and the cache stay float32.
  void to_bfloat16();

  /// ids (N) int64 -> hidden states after the last norm (N, C).
  at::Tensor forward(const at::Tensor& ids, const ForwardContext& context) const;
  /// A reward model's head, new and 0: one number for a row. Under its name in transformers (score.weight) it is saved,
  /// and found again by load(). Not with adapters.
  void add_score_head();
  bool has_score_head() const { return score_.defined(); }
  /// (N, C) -> (N, 1). REQUIRES: has_score_head().
  at::Tensor score(const at::Tensor& hidden) const { return ops::linear(hidden, score_); }
  /// (N, V).
  at::Tensor logits(const at::Tensor& hidden) const { return ops::linear(hidden, head_); }

  /// The multi-token-prediction module (models/multi_token_prediction.h), null without one: then predict() must not be
  /// called.
  const MultiTokenPredictor* predictor() const { return predictor_.get(); }
  /// hidden (N, C) of forward() at positions i, next_ids (N) the tokens at i + 1 -> (N, C), from which logits() makes
  /// the prediction of the tokens at i + 2.
  at::Tensor predict(const at::Tensor& hidden, const at::Tensor& next_ids, const ForwardContext& context) const;

 private:
  explicit Policy(const ModelConfig& config, Keep keep = Keep::kAll);

  ModelConfig config_;
  ParameterList parameters_;
  Weight embed_;
  at::Tensor norm_;
  Weight head_;
  Weight score_;
  std::vector<std::unique_ptr<Block>> blocks_;
  std::unique_ptr<MultiTokenPredictor> predictor_;
};

}  // namespace hone
