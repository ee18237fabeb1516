// Every option of a recipe, once: name, default, range, help. The YAML reader, `--set`, `--dry-run`, the stored
// recipe and Python all walk these `visit` members; nobody repeats a default.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <variant>
#include <vector>

#include <nlohmann/json.hpp>

#include "models/lora_options.h"
#include "rollout/sampler.h"

namespace hone {

/// What a number may be; checked when the recipe is read.
struct Range {
  double low = -1e300, high = 1e300;
};
/// The words a string option may take; empty means any text.
using Words = std::vector<std::string>;

inline constexpr Range kPositive{1e-300, 1e300}, kNonNegative{0, 1e300}, kUnit{0, 1}, kCount{0, 9e15},
    kAtLeastOne{1, 9e15};

/// Shared by every stage that updates weights.
struct OptimConfig {
  std::string dtype = "float32";
  std::string optimizer = "adamw";
  double learning_rate = 1e-6;
  double muon_learning_rate = 0.02;
  double adam_beta1 = 0.9, adam_beta2 = 0.95, adam_epsilon = 1e-8;
  double weight_decay = 0.0;
  double max_grad_norm = 1.0;
  std::string lr_scheduler_type = "constant";
  int64_t warmup_steps = 0;
  double lr_decay_start = 0.5;
  double lr_min_ratio = 0.05;
  int64_t max_steps = 100;
  int64_t save_steps = 0;
  int64_t micro_batch_tokens = 16384;
  double max_memory_gb = 0;
  double router_bias_update_rate = 0.0;
  double router_aux_loss_alpha = 0.0;
  double mtp_loss_weight = 0.3;
  LoraOptions lora;

  int64_t max_memory_bytes() const { return static_cast<int64_t>(max_memory_gb * 1e9); }

  template <class Visitor>
  void visit(Visitor& v) {
    v("dtype", dtype, Words{"float32", "bfloat16"},
      "of the weights, in sampler and trainer alike; the optimizer then keeps float32 masters, sums are float32");
    v("optimizer", optimizer, Words{"adamw", "muon"},
      "adamw; muon = orthogonalised momentum on the matrices, AdamW on the rest");
    v("learning_rate", learning_rate, kNonNegative, "peak learning rate of AdamW");
    v("muon_learning_rate", muon_learning_rate, kNonNegative, "peak learning rate of Muon's matrices");
    v("adam_beta1", adam_beta1, kUnit, "first moment decay");
    v("adam_beta2", adam_beta2, kUnit, "second moment decay");
    v("adam_epsilon", adam_epsilon, kPositive, "added to the root of the second moment");
    v("weight_decay", weight_decay, kNonNegative, "decoupled weight decay on matrices");
    v("max_grad_norm", max_grad_norm, kNonNegative, "global gradient norm is clipped to this; 0 switches it off");
    v("lr_scheduler_type", lr_scheduler_type, Words{"constant", "linear", "cosine", "warmup_stable_decay"},
      "shape after the warm-up");
    v("warmup_steps", warmup_steps, kCount, "linear warm-up");
    v("lr_decay_start", lr_decay_start, kUnit,
      "warmup_stable_decay: share of max_steps after which the rate falls linearly");
    v("lr_min_ratio", lr_min_ratio, kUnit, "final rate as a share of the peak (linear, cosine, warmup_stable_decay)");
    v("max_steps", max_steps, kCount, "optimizer steps of this stage");
    v("save_steps", save_steps, kCount, "steps between resumable checkpoints; 0: only at the end");
    v("micro_batch_tokens", micro_batch_tokens, kAtLeastOne,
      "tokens in flight in the update, all threads together; changes memory, not results");
    v("max_memory_gb", max_memory_gb, kNonNegative,
      "where the update would pass it, activations are computed twice instead of kept (the same bytes); 0: no limit");
    v("router_bias_update_rate", router_bias_update_rate, kNonNegative,
      "gamma of the auxiliary-loss-free balancing; 0 freezes the bias");
    v("router_aux_loss_alpha", router_aux_loss_alpha, kNonNegative,
      "alpha of DeepSeek-V3's sequence-wise balance loss");
    v("mtp_loss_weight", mtp_loss_weight, kNonNegative,
      "lambda of a multi-token-prediction module's loss in base and sft stages (DeepSeek-V3 eq. 25)");
    v("lora_r", lora.rank, kCount,
      "rank of LoRA adapters that are trained in place of the weights; 0: all weights are");
    v("lora_alpha", lora.alpha, kPositive, "LoRA: what is added to a weight is scaled by lora_alpha / lora_r");
    v("lora_target_modules", lora.target_modules,
      "LoRA: the layers that get adapters, e.g. [q_proj, v_proj]; empty: every linear one");
  }
};

/// kind: base. Random weights, a corpus made by a task.
struct BaseConfig {
  std::string task = "countdown";
  nlohmann::json model_config = nlohmann::json::object();
  double initializer_range = 0.02;
  int64_t tokens_per_step = 1024;
  int64_t max_tries = 16;
  double guided_fraction = 0.35;
  double foreign_fraction = 0.25, mixed_fraction = 0.3;
  OptimConfig optim;

  template <class Visitor>
  void visit(Visitor& v) {
    v("task", task, Words{}, "the task that makes the vocabulary, the corpus and the problems");
    v("model_config", model_config, "the fields of config.json");
    v("initializer_range", initializer_range, kPositive, "standard deviation of the random weights");
    v("tokens_per_step", tokens_per_step, kAtLeastOne,
      "tokens of one optimizer step, in whole documents of similar length");
    v("max_tries", max_tries, Range{1, 64}, "longest search document, in tries");
    v("guided_fraction", guided_fraction, kUnit, "share of tries whose second step is the one closest to the target");
    v("foreign_fraction", foreign_fraction, kUnit,
      "tasks of two languages: share of documents that think in the second one");
    v("mixed_fraction", mixed_fraction, kUnit,
      "tasks of two languages: share of documents that draw the language of every word");
    optim.visit(v);
  }
};

/// kind: sft. Cross-entropy on rows of prompt + completion (or text), or with a teacher the divergence from its
/// distribution of every token.
struct SftConfig {
  std::string model, data;
  bool completion_only_loss = true;
  bool use_token_ids = true;
  int64_t tokens_per_step = 4096;
  int64_t rows_per_step = 0;
  int64_t max_length = 4096;
  std::string logit_teacher = "";
  std::string distil_loss = "forward_kl";
  double distil_beta = 0.5, distil_temperature = 1.0;
  double on_policy_share = 0.0;
  int64_t max_completion_length = 256;
  OptimConfig optim;

  template <class Visitor>
  void visit(Visitor& v) {
    v("model", model, Words{}, "model folder, or ${stage}");
    v("data", data, Words{}, "JSONL rows, or ${stage}/file");
    v("completion_only_loss", completion_only_loss, "the prompt's tokens carry no loss");
    v("use_token_ids", use_token_ids,
      "learn from the token ids of rows that have them; false: from their text, for a model with another tokenizer");
    v("tokens_per_step", tokens_per_step, kAtLeastOne, "tokens of one optimizer step, in whole rows of similar length");
    v("rows_per_step", rows_per_step, kCount, "rows of one optimizer step; 0: tokens_per_step decides");
    v("max_length", max_length, kAtLeastOne, "longer rows are refused");
    v("logit_teacher", logit_teacher, Words{},
      "model folder or ${stage} of the same vocabulary whose logits are learnt; empty: the tokens are");
    v("distil_loss", distil_loss, Words{"forward_kl", "reverse_kl", "jsd"},
      "with a logit_teacher: KL(teacher, student), KL(student, teacher), or GKD's generalised Jensen-Shannon "
      "divergence");
    v("distil_beta", distil_beta, Range{1e-6, 1 - 1e-6}, "jsd: weight of the teacher in the mixture");
    v("distil_temperature", distil_temperature, kPositive, "both distributions' logits are divided by this");
    v("on_policy_share", on_policy_share, kUnit,
      "with a logit_teacher: share of rows whose completion the student samples itself (GKD's lambda)");
    v("max_completion_length", max_completion_length, kAtLeastOne, "tokens of a completion that the student samples");
    optim.visit(v);
  }
};

/// How completions are drawn, under the names that recipes use.
struct SamplingConfig : SamplingOptions {
  template <class Visitor>
  void visit(Visitor& v) {
    v("temperature", temperature, kNonNegative, "logits are divided by this first; 0 takes the largest logit");
    v("top_k", top_k, kCount, "keep the k most likely tokens; 0: off");
    v("top_p", top_p, Range{1e-6, 1}, "keep the smallest set of tokens whose probability reaches p; 1: off");
    v("min_p", min_p, kUnit, "keep the tokens with at least this share of the largest probability; 0: off");
    v("repetition_penalty", repetition_penalty, Range{1e-3, 1e3}, "logits of tokens that are there already; 1: off");
    v("stop", stop, "texts that end a completion where they appear");
    v("max_completion_length", max_new_tokens, kAtLeastOne, "tokens of a completion, the end token included");
    v("min_completion_length", min_new_tokens, kCount, "the end token is not drawn before this length");
  }
};

/// kind: rl. GRPO.
struct RlConfig {
  std::string model, data;
  std::vector<std::string> reward_funcs = {};
  std::vector<double> reward_weights = {};
  int64_t prompts_per_step = 16;
  int64_t num_generations = 16;
  int64_t steps_per_generation = 1;
  int64_t num_iterations = 1;
  std::string loss_type = "dapo";
  double epsilon = 0.2, epsilon_high = 0.2;
  double delta = 0.0;
  double sapo_temperature_pos = 1.0, sapo_temperature_neg = 1.05;
  int64_t bnpo_sequences = 0;
  double beta = 0.0;
  std::string kl_estimator = "k3";
  bool use_bias_correction_kl = false;
  int64_t ref_model_sync_steps = 0;
  std::string scale_rewards = "group";
  bool sample_std = false;
  double advantage_epsilon = 1e-6;
  bool mask_truncated_completions = false;
  std::string dynamic_sampling = "none";
  int64_t max_sampling_rounds = 10;
  bool shuffle_rewards = false;
  std::vector<std::string> reflection_words = {};
  bool assert_gap = true;
  bool speculative_decoding = false;
  SamplingConfig sampling;
  OptimConfig optim;

  template <class Visitor>
  void visit(Visitor& v) {
    v("model", model, Words{}, "model folder, or ${stage}");
    v("data", data, Words{}, "JSONL rows, or ${stage}/file");
    v("reward_funcs", reward_funcs,
      "rewards by name; reward_model:FOLDER or reward_model:${stage} asks a reward model; a row's own column "
      "reward_funcs names those that are asked of it");
    v("reward_weights", reward_weights, "one weight each; empty: 1");
    v("prompts_per_step", prompts_per_step, kAtLeastOne, "prompts of one optimizer step");
    v("num_generations", num_generations, kAtLeastOne, "completions of a prompt: its group, G");
    v("steps_per_generation", steps_per_generation, kAtLeastOne,
      "optimizer steps one rollout is used in; it samples as many times more prompts");
    v("num_iterations", num_iterations, kAtLeastOne, "passes over one rollout");
    v("loss_type", loss_type, Words{"grpo", "bnpo", "dapo", "dr_grpo", "gspo", "cispo", "sapo"},
      "ratio, clip and normaliser of the policy loss");
    v("epsilon", epsilon, kNonNegative, "the ratio is clipped from below at 1 - epsilon");
    v("epsilon_high", epsilon_high, kNonNegative, "and from above at 1 + epsilon_high");
    v("delta", delta, kNonNegative,
      "two-sided clip: the ratio itself is at most this, whatever the advantage's sign; 0: off");
    v("sapo_temperature_pos", sapo_temperature_pos, kPositive, "sapo: steepness of the gate of positive advantages");
    v("sapo_temperature_neg", sapo_temperature_neg, kPositive, "sapo: and of the others");
    v("bnpo_sequences", bnpo_sequences, kCount,
      "bnpo: completions that one token mean is taken over; 0: all of the step, which is dapo");
    v("beta", beta, kNonNegative, "weight of the KL term against the reference model; 0: no reference model");
    v("kl_estimator", kl_estimator, Words{"k1", "k2", "k3"}, "Schulman's estimators of KL(policy, reference)");
    v("use_bias_correction_kl", use_bias_correction_kl,
      "the KL term is weighed by the ratio, so that its gradient is that of the reverse KL (TRL's default)");
    v("ref_model_sync_steps", ref_model_sync_steps, kCount,
      "the policy replaces the reference every so many steps, from the next rollout on; 0: never");
    v("scale_rewards", scale_rewards, Words{"none", "group", "batch"},
      "standard deviation that advantages are divided by");
    v("sample_std", sample_std, "divide by n-1 in that deviation, as TRL does (default: n, as the paper)");
    v("advantage_epsilon", advantage_epsilon, kNonNegative, "added to that deviation");
    v("mask_truncated_completions", mask_truncated_completions, "completions cut at the limit carry no loss");
    v("dynamic_sampling", dynamic_sampling, Words{"none", "reward", "accuracy"},
      "DAPO's: groups that teach nothing give way to further prompts; reward: those whose rewards are all equal; "
      "accuracy: those whose first reward finds all correct or all wrong");
    v("max_sampling_rounds", max_sampling_rounds, kAtLeastOne,
      "dynamic_sampling: rounds of sampling for one rollout; then groups that teach nothing fill it");
    v("shuffle_rewards", shuffle_rewards,
      "control: rewards are dealt at random inside a step, so that nothing can be learnt");
    v("reflection_words", reflection_words, "counted in completions, e.g. [' wait']");
    v("assert_gap", assert_gap,
      "the run stops when a token's log-prob differs by a bit between sampler and trainer; false: the gap is only "
      "logged");
    v("speculative_decoding", speculative_decoding,
      "the model's multi-token-prediction module drafts for the sampler; the distribution stays the same");
    sampling.visit(v);
    optim.visit(v);
  }
};

/// kind: eval. Samples k completions of every row and scores them.
struct EvalConfig {
  std::string model, data;
  std::vector<std::string> reward_funcs = {};
  int64_t num_generations = 8;
  int64_t limit = 0;
  std::vector<std::string> reflection_words = {};
  std::string task = "";
  SamplingConfig sampling;

  template <class Visitor>
  void visit(Visitor& v) {
    v("model", model, Words{}, "model folder, or ${stage}");
    v("data", data, Words{}, "JSONL rows, or ${stage}/file");
    v("reward_funcs", reward_funcs, "the first decides what is correct");
    v("num_generations", num_generations, kAtLeastOne, "completions of a row");
    v("limit", limit, kCount, "rows to use; 0: all");
    v("reflection_words", reflection_words, "counted in completions, e.g. [' wait']");
    v("task", task, Words{}, "the task whose diagnosis is wanted as well");
    sampling.visit(v);
  }
};

/// kind: generate. Samples k completions of every row and scores them into rows.jsonl (rl/samples.h).
struct GenerateConfig {
  std::string model, data;
  std::vector<std::string> reward_funcs = {};
  int64_t num_generations = 8;
  int64_t limit = 0;
  int64_t prompts_per_step = 128;
  SamplingConfig sampling;

  template <class Visitor>
  void visit(Visitor& v) {
    v("model", model, Words{}, "model folder, or ${stage}");
    v("data", data, Words{}, "JSONL rows, or ${stage}/file");
    v("reward_funcs", reward_funcs, "rewards by name; the first decides what is correct");
    v("num_generations", num_generations, kAtLeastOne, "completions of a row");
    v("limit", limit, kCount, "rows to use; 0: all");
    v("prompts_per_step", prompts_per_step, kAtLeastOne,
      "rows sampled and stored together; a stopped run goes on after the last such step; changes no result");
    sampling.visit(v);
  }
};

/// kind: filter. Rejection sampling: which rows stay in rows.jsonl (rl/filter.h).
struct FilterConfig {
  std::string data;
  bool correct_only = true, finished_only = true;
  int64_t min_length = 0, max_length = 0;
  std::string language = "any";
  double min_language_share = 1.0;
  int64_t repetition_ngram = 0;
  double min_pass_rate = 0, max_pass_rate = 1;
  std::string rewrite = "";
  std::string python = "";
  bool drop_duplicates = true;
  int64_t max_per_prompt = 0;
  std::string prefer = "first";
  int64_t difficulty_bins = 0;
  double balance_ratio = 1;
  int64_t limit = 0;

  template <class Visitor>
  void visit(Visitor& v) {
    v("data", data, Words{}, "JSONL rows with completions, or ${stage}/file");
    v("correct_only", correct_only, "keep only what the first reward calls correct");
    v("finished_only", finished_only, "keep only completions with an end token");
    v("min_length", min_length, kCount, "shortest completion, in tokens");
    v("max_length", max_length, kCount, "longest completion, in tokens; 0: any");
    v("language", language, Words{"any", "en", "ru", "zh"}, "what the thoughts must be written in");
    v("min_language_share", min_language_share, kUnit, "share of the thoughts' words that must be in that language");
    v("repetition_ngram", repetition_ngram, kCount, "drop completions that say so many tokens in a row twice; 0: off");
    v("min_pass_rate", min_pass_rate, kUnit, "drop prompts solved by a smaller share of their completions: too hard");
    v("max_pass_rate", max_pass_rate, kUnit, "drop prompts solved by a larger share: too easy");
    v("rewrite", rewrite, Words{}, "the task that puts kept completions into a readable form; empty: as they are");
    v("python", python, Words{},
      "module:function of a Python filter: given a row it returns whether to keep it, or the row to keep in its place");
    v("drop_duplicates", drop_duplicates, "of equal completions of a prompt keep one");
    v("max_per_prompt", max_per_prompt, kCount, "rows of a prompt that are kept; 0: all");
    v("prefer", prefer, Words{"first", "short", "long"}, "which of them");
    v("difficulty_bins", difficulty_bins, Range{0, 100},
      "balance the prompts' pass rates over so many equal intervals; 0: off");
    v("balance_ratio", balance_ratio, Range{1, 1e9}, "rows of an interval, at most, for one of the scarcest interval");
    v("limit", limit, kCount, "rows to keep, drawn at random; 0: all");
  }
};

/// kind: pairs. Of the completions of a prompt, which are preferred to which: rows.jsonl for a reward_model stage
/// (rl/pairs.h).
struct PairsConfig {
  std::string data;
  std::string prefer = "reward";
  double min_margin = 1e-9;
  int64_t max_per_prompt = 1;

  template <class Visitor>
  void visit(Visitor& v) {
    v("data", data, Words{}, "JSONL rows of a generate stage, or ${stage}/file");
    v("prefer", prefer, Words{"reward", "rewritten", "short", "long"},
      "the larger sum of rewards; or of two correct completions the one that a filter's rewrite made, the shorter, the "
      "longer");
    v("min_margin", min_margin, kPositive, "least difference of a pair, in reward or tokens");
    v("max_per_prompt", max_per_prompt, kAtLeastOne, "pairs of a prompt, at most");
  }
};

/// kind: merge. Mixes data sets by weight into rows.jsonl, in random order (rl/merge.h).
struct MergeConfig {
  std::vector<std::string> data = {};
  std::vector<double> weights = {};
  std::vector<nlohmann::json> columns = {};
  int64_t num_rows = 0;

  template <class Visitor>
  void visit(Visitor& v) {
    v("data", data, "data sets: JSONL rows, or ${stage}/file");
    v("weights", weights, "shares of the mixture, one a data set; empty: by their sizes");
    v("columns", columns,
      "what the rows of each data set get besides, an object each, e.g. [{reward_funcs: [countdown]}, {}]; empty: "
      "nothing");
    v("num_rows", num_rows, kCount, "rows of the mixture, a data set that runs out is repeated; 0: until one runs out");
  }
};

/// kind: distil. A student learns from its teacher's completions, token by token (DeepSeek-R1 2.4: SFT alone).
struct DistilConfig {
  std::string teacher;
  nlohmann::json model_config = nlohmann::json::object();
  double initializer_range = 0.02;
  SftConfig sft;

  template <class Visitor>
  void visit(Visitor& v) {
    v("teacher", teacher, Words{}, "the model that wrote the data; a student of model_config takes its tokenizer");
    v("model_config", model_config, "the fields of a new student's config.json; else `model` names the student");
    v("initializer_range", initializer_range, kPositive, "standard deviation of a new student's random weights");
    sft.visit(v);
  }
};

/// kind: reward_model. A score head and the model below it learn which of two completions is preferred.
struct RewardModelConfig {
  std::string model, data;
  int64_t pairs_per_step = 16;
  int64_t max_length = 4096;
  OptimConfig optim;

  template <class Visitor>
  void visit(Visitor& v) {
    v("model", model, Words{}, "model folder, or ${stage}");
    v("data", data, Words{}, "JSONL rows of prompt, chosen and rejected, or ${stage}/file");
    v("pairs_per_step", pairs_per_step, kAtLeastOne, "pairs of one optimizer step");
    v("max_length", max_length, kAtLeastOne, "longer rows are refused");
    optim.visit(v);
  }
};

/// kind: python. A function that makes rows.jsonl out of other data.
struct PythonConfig {
  std::string function;
  std::vector<std::string> data = {};

  template <class Visitor>
  void visit(Visitor& v) {
    v("function", function, Words{},
      "module:function; given the list of rows of each data set it returns rows, or (rows, {metric: number})");
    v("data", data, "data sets: JSONL rows, or ${stage}/file");
  }
};

struct StageConfig {
  std::string name;
  std::string kind;
  std::map<std::string, double> gates;  ///< metric -> what it must reach before the next stage starts; 0: off
  std::variant<BaseConfig, SftConfig, RlConfig, EvalConfig, GenerateConfig, FilterConfig, PairsConfig, MergeConfig,
               DistilConfig, RewardModelConfig, PythonConfig>
      options;
};

struct Recipe {
  std::string name;
  uint64_t seed = 1;
  std::vector<StageConfig> stages;
};

}  // namespace hone
