#include "rl/replay.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <set>
#include <stdexcept>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include <ATen/ATen.h>

#include "rewards/rewards.h"
#include "rl/checkpoint.h"
#include "rl/minibatch.h"
#include "rl/recipe.h"
#include "rl/reward_model.h"
#include "rl/run_store.h"
#include "rollout/engine.h"
#include "rollout/random.h"

namespace hone {
namespace fs = std::filesystem;
namespace {

using Metrics = Replay::Metrics;

// Options that say how a rollout is learnt from. All others say what was sampled, or what state the optimizer has.
const std::set<std::string> kChangeable{"reward_funcs",
                                        "reward_weights",
                                        "loss_type",
                                        "epsilon",
                                        "epsilon_high",
                                        "beta",
                                        "kl_estimator",
                                        "use_bias_correction_kl",
                                        "scale_rewards",
                                        "sample_std",
                                        "advantage_epsilon",
                                        "mask_truncated_completions",
                                        "shuffle_rewards",
                                        "reflection_words",
                                        "router_aux_loss_alpha",
                                        "micro_batch_tokens",
                                        "delta",
                                        "sapo_temperature_pos",
                                        "sapo_temperature_neg",
                                        "bnpo_sequences"};

const StageConfig& stage_named(const Recipe& recipe, const std::string& name) {
  std::vector<std::string> names;
  const StageConfig* found = nullptr;
  for (const StageConfig& s : recipe.stages) {
    if (s.kind != "rl") continue;
    names.push_back(s.name);
    if (name.empty() || s.name == name) found = &s;
  }
  if (!found || (name.empty() && names.size() > 1)) {
    throw std::invalid_argument(fmt::format(
        "{}; its rl stages are: {}",
        name.empty() ? "name the --stage, the run has not one rl stage" : "the run has no rl stage '" + name + "'",
        fmt::join(names, ", ")));
  }
  return *found;
}

// Every option as text, by name.
struct OptionTexts {
  std::map<std::string, std::string> texts;
  template <class Field, class... Rest>
  void operator()(const char* name, Field& field, Rest&&...) {
    texts[name] = nlohmann::json(field).dump();
  }
};

std::map<std::string, std::string> option_texts(RlConfig config) {
  OptionTexts visitor;
  config.visit(visitor);
  return visitor.texts;
}

// Whether anything differs; throws for what must not.
bool check_changes(const RlConfig& before, const RlConfig& after) {
  const auto old = option_texts(before), now = option_texts(after);
  bool changed = false;
  for (const auto& [name, text] : now) {
    if (text == old.at(name)) continue;
    if (!kChangeable.count(name)) {
      throw std::invalid_argument(
          fmt::format("{} cannot change in a replay: its rollouts are stored as they were sampled; what can is {}",
                      name, fmt::join(kChangeable, ", ")));
    }
    changed = true;
  }
  return changed;
}

bool same_number(double a, double b) { return a == b || (!std::isfinite(a) && !std::isfinite(b)); }

bool same_bytes(const Policy& a, const Policy& b) {
  const auto &own = a.parameters().all(), &other = b.parameters().all();
  if (own.size() != other.size()) return false;
  for (size_t i = 0; i < own.size(); ++i) {
    const at::Tensor x = own[i].values(), y = other[i].values();
    if (x.nbytes() != y.nbytes() || std::memcmp(x.const_data_ptr(), y.const_data_ptr(), x.nbytes()) != 0) return false;
  }
  return true;
}

// The run as it was: weights, optimizer and reference at the start of a rollout, brought forward step by step.
class Replayer {
 public:
  Replayer(const ReplayOptions& options)
      : options_(options),
        recipe_(load_recipe(options.run_dir / "recipe.yaml")),
        stage_(stage_named(recipe_, options.stage)),
        config_(std::get<RlConfig>(stage_.options)),
        dir_(options.run_dir / "stages" / stage_.name),
        seed_(derive_seed(recipe_.seed, stage_.name)),
        run_(options.run_dir),
        recipe_dir_(find_recipe_dir()),
        state_(find_start()),
        model_(starting_model()),
        optimizer_(model_.policy->parameters(), config_.optim) {
    if (checkpoint_) optimizer_.load(checkpoint_->folder / "trainer" / "optimizer.safetensors");
    if (config_.beta > 0) {
      reference_ = checkpoint_ ? Policy::load(checkpoint_->folder / "trainer" / "reference", in_dtype())
                               : model_.policy->clone();
    }
    model_.policy->set_requires_grad(true);
  }

  Replay run() {
    const RlConfig changed = changed_config();
    Replay out{.stage = stage_.name, .step = options_.step, .first_step = state_.step + 1, .start = start_folder_};
    const bool differs = check_changes(config_, changed);
    while (state_.step < options_.step) rollout(differs ? &changed : nullptr, out);
    out.differences = differences_;
    return out;
  }

 private:
  [[noreturn]] void refuse(const std::string& what) const {
    throw std::invalid_argument(fmt::format("stage {}, step {}: {}", stage_.name, options_.step, what));
  }

  fs::path path_of(const std::string& value) const { return resolve_path(value, recipe_dir_, options_.run_dir); }

  // What the run was told from outside of its recipe.
  fs::path find_recipe_dir() const {
    const auto found = run_.query("SELECT config FROM configs WHERE run_id = ?", {stage_.name});
    const auto config =
        found.rows.empty() ? nlohmann::json::object() : nlohmann::json::parse(found.rows[0][0].get<std::string>());
    if (config.value("python_loss", false)) refuse("its loss was a Python function, which is not stored with the run");
    return config.value("recipe_dir", fs::current_path().string());
  }

  // The newest checkpoint before the step; they stand between rollouts. Without one, the stage's starting model.
  TrainerState find_start() {
    if (options_.step < 1 || options_.step > config_.optim.max_steps)
      refuse(fmt::format("the stage has the steps 1 to {}", config_.optim.max_steps));
    checkpoint_ = checkpoint_at_most(dir_, options_.step - 1);
    start_folder_ = checkpoint_ ? checkpoint_->folder : path_of(config_.model);
    return checkpoint_ ? checkpoint_->state : TrainerState{};
  }

  // With adapters a checkpoint holds what is added to the stage's starting model.
  Model starting_model() const {
    if (config_.optim.lora.rank == 0) return load_model(start_folder_, in_dtype());
    Model model = load_model(path_of(config_.model), in_dtype());
    add_adapters(*model.policy, config_.optim, seed_);
    if (checkpoint_) restore_policy(*model.policy, checkpoint_->folder);
    return model;
  }

  LoadOptions in_dtype() const { return {.bfloat16 = config_.optim.dtype == "bfloat16"}; }

  RlConfig changed_config() const {
    std::vector<std::string> overrides = options_.overrides;
    for (const std::string& o : overrides) {
      if (!o.starts_with(stage_.name + ".")) refuse(fmt::format("'{}' is no override of stage {}", o, stage_.name));
    }
    if (!options_.rewards.empty()) {
      overrides.push_back(fmt::format("{}.reward_funcs={}", stage_.name, nlohmann::json(options_.rewards).dump()));
      if (options_.rewards.size() != config_.reward_weights.size())
        overrides.push_back(stage_.name + ".reward_weights=[]");
    }
    const Recipe recipe = load_recipe(options_.run_dir / "recipe.yaml", overrides);
    return std::get<RlConfig>(stage_named(recipe, stage_.name).options);
  }

  Learner learner() { return {*model_.policy, reference_.get(), optimizer_}; }
  int32_t end_token() const { return end_tokens(model_.policy->config())[0]; }

  // The stored steps of the rollout that comes next; those of its first pass hold the groups.
  std::vector<StepRecord> stored_rollout() const {
    std::vector<StepRecord> steps;
    const int64_t count = config_.steps_per_generation * config_.num_iterations;
    for (int64_t k = 1; k <= count; ++k) steps.push_back(run_.step(stage_.name, state_.step + k));
    for (int64_t k = 0; k < config_.steps_per_generation; ++k) {
      if (static_cast<int64_t>(steps[static_cast<size_t>(k)].groups.size()) != config_.prompts_per_step)
        refuse(fmt::format("the rollouts of step {} are not stored", state_.step + k + 1));
    }
    return steps;
  }

  void rollout(const RlConfig* changed, Replay& out) {
    const std::vector<StepRecord> stored = stored_rollout();
    std::vector<Group> groups;
    for (const StepRecord& s : stored) groups.insert(groups.end(), s.groups.begin(), s.groups.end());
    const int64_t first = state_.step;
    std::vector<Minibatch> minibatches = make_minibatches(config_, seed_, first, groups, end_token());
    const auto seen = [&](Minibatch& m, std::span<const float> own, int64_t from) { note_gap(m, own, from); };
    measure(config_, learner(), minibatches, first, seen);
    // before its first update, a rollout's reference log-probs under other settings as well
    std::vector<Minibatch> other;
    if (changed && options_.step <= first + static_cast<int64_t>(stored.size()))
      other = changed_minibatches(*changed, groups);
    for (size_t k = 0; k < stored.size() && state_.step < options_.step; ++k) {
      const size_t i = k % minibatches.size();
      Minibatch& m = minibatches[i];
      if (!other.empty() && state_.step + 1 == options_.step) compare_changed(*changed, other[i], m, out);
      LogprobsSeen own;
      if (k == 0) own = [&](std::span<const float> logprobs, int64_t from) { seen(m, logprobs, from); };
      const UpdateStats stats = update(config_, learner(), m, state_.step, own);
      state_.num_tokens += static_cast<int64_t>(m.batch.inputs.size()) + m.batch.num_sequences();
      Metrics metrics = m.metrics;
      metrics.merge(update_metrics(config_, stats, state_.step));
      metrics["num_tokens"] = static_cast<double>(state_.num_tokens);
      ++state_.step;
      compare(metrics, k < minibatches.size() ? m.advantages : std::vector<std::vector<double>>{}, stored[k]);
      if (state_.step == options_.step) finish(std::move(metrics), stored[k], out);
    }
  }

  void compare(const Metrics& metrics, const std::vector<std::vector<double>>& advantages, const StepRecord& stored) {
    for (const auto& [name, value] : metrics) {
      const auto found = stored.metrics.find(name);
      if (found == stored.metrics.end())
        differences_.push_back(
            fmt::format("step {}, {}: nothing is stored, {} was computed", stored.step, name, value));
      else if (!same_number(value, found->second))
        differences_.push_back(
            fmt::format("step {}, {}: {} is stored, {} was computed", stored.step, name, found->second, value));
    }
    if (advantages != stored.advantages)
      differences_.push_back(fmt::format("step {}: the advantages are not those stored", stored.step));
  }

  void finish(Metrics metrics, const StepRecord& stored, Replay& out) {
    out.recomputed = std::move(metrics);
    out.stored = stored.metrics;
    const auto kept = checkpoint_at_most(dir_, options_.step);
    if (kept && kept->state.step == options_.step) out.weights = kept->folder;
    else if (options_.step == config_.optim.max_steps && fs::exists(dir_ / "final")) out.weights = dir_ / "final";
    if (!out.weights.empty() && !same_bytes(*model_.policy, *Policy::load(out.weights)))
      differences_.push_back(fmt::format("the weights after step {} are not those of {}", options_.step, out.weights));
  }

  // ---- with other settings ------------------------------------------------------------------------------------------

  std::vector<Minibatch> changed_minibatches(const RlConfig& changed, std::vector<Group> groups) {
    if (changed.reward_funcs != config_.reward_funcs || changed.reward_weights != config_.reward_weights) {
      const auto reward_model = [&](const std::string& folder) {
        return model_reward(path_of(folder), model_.tokenizer);
      };
      const auto rewards =
          make_rewards(changed.reward_funcs, changed.reward_weights, {options_.host.reward, reward_model});
      for (Group& g : groups) g = score({g.prompt}, std::move(g.rollouts), rewards, options_.threads)[0];
    }
    auto minibatches = make_minibatches(changed, seed_, state_.step, groups, end_token());
    if (changed.beta > 0) {
      if (!reference_) {  // it would have been the stage's starting model
        const fs::path start = path_of(config_.model);
        other_reference_ = load_model(start, in_dtype()).policy;
      }
      const Policy& reference = reference_ ? *reference_ : *other_reference_;
      for (Minibatch& m : minibatches)
        m.ref_logprobs = token_logprobs(reference, m.batch, update_options(changed, state_.step));
    }
    return minibatches;
  }

  struct Gradient {
    UpdateStats stats;
    std::vector<at::Tensor> tensors;
  };
  // Leaves the weights as they are, router biases included.
  Gradient gradient(const RlConfig& config, const Minibatch& m) {
    UpdateOptions options = update_options(config, state_.step);
    options.router_bias_update_rate = 0;
    Gradient g{accumulate_policy_gradient(*model_.policy, m.batch, loss_spec(config), m.ref_logprobs, options), {}};
    g.stats.grad_norm = optimizer_.gradient_norm();
    for (const Parameter* p : model_.policy->parameters().trained()) {
      if (!p->tensor.grad().defined()) continue;
      g.tensors.push_back(p->tensor.grad().clone());
      p->tensor.mutable_grad().reset();
    }
    return g;
  }

  void compare_changed(const RlConfig& changed, const Minibatch& other, const Minibatch& own, Replay& out) {
    const Gradient a = gradient(changed, other), b = gradient(config_, own);
    Metrics metrics = other.metrics;
    metrics.merge(update_metrics(changed, a.stats, state_.step));
    out.changed = std::move(metrics);
    double product = 0;
    for (size_t i = 0; i < a.tensors.size() && i < b.tensors.size(); ++i)
      product += (a.tensors[i].to(at::kDouble) * b.tensors[i].to(at::kDouble)).sum().item<double>();
    const double norms = a.stats.grad_norm * b.stats.grad_norm;
    if (norms > 0) out.gradient_cosine = product / norms;
  }

  const ReplayOptions& options_;
  const Recipe recipe_;
  const StageConfig& stage_;
  const RlConfig& config_;
  const fs::path dir_;
  const uint64_t seed_;
  RunReader run_;
  fs::path recipe_dir_;
  std::optional<Checkpoint> checkpoint_;
  fs::path start_folder_;
  TrainerState state_;
  Model model_;
  Optimizer optimizer_;
  std::unique_ptr<Policy> reference_, other_reference_;
  std::vector<std::string> differences_;
};

}  // namespace

Replay replay_step(const ReplayOptions& options) { return Replayer(options).run(); }

}  // namespace hone
