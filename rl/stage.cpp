#include "rl/stage.h"

#include <utility>

namespace hone {
namespace {

Model as_trained(Model model, const OptimConfig& config, uint64_t seed) {
  if (config.dtype == "bfloat16") model.policy->to_bfloat16();
  add_adapters(*model.policy, config, seed);
  return model;
}

}  // namespace

Training::Training(const StageContext& stage, Model start, const OptimConfig& config, bool with_reference)
    : stage_(stage),
      config_(config),
      model_(as_trained(std::move(start), config, stage.seed)),
      reference_(with_reference ? model_.policy->clone() : nullptr),
      optimizer_(model_.policy->parameters(), config) {
  if (const auto checkpoint = latest_checkpoint(stage.dir)) {
    restore_policy(*model_.policy, checkpoint->folder);
    optimizer_.load(checkpoint->folder / "trainer" / "optimizer.safetensors");
    if (reference_) reference_->copy_from(*Policy::load(checkpoint->folder / "trainer" / "reference"));
    state_ = checkpoint->state;
    stage.store.truncate_after(stage.name, state_.step);
  } else {
    stage.store.remove_stage(stage.name);
  }
  model_.policy->set_requires_grad(true);
  stage.progress.begin(stage.name, state_.step, config.max_steps);
}

void Training::finish_step(StepRecord record) {
  record.stage = stage_.name;
  record.step = ++state_.step;
  record.metrics["num_tokens"] = static_cast<double>(state_.num_tokens);
  last_metrics_ = record.metrics;
  stage_.store.write(std::move(record));
  stage_.progress.step(state_.step, last_metrics_);
  if (stage_.host.on_step) stage_.host.on_step(stage_.name, state_.step, config_.max_steps, last_metrics_);
}

void Training::save_if_due() {
  if (config_.save_steps <= 0 || state_.step % config_.save_steps != 0 || state_.step >= config_.max_steps) return;
  save();
}

void Training::save_interrupted() {
  const auto newest = checkpoint_at_most(stage_.dir, state_.step);
  if (state_.step > 0 && !(newest && newest->state.step == state_.step)) save();
}

void Training::save() {
  stage_.store.flush();
  save_checkpoint(stage_.dir, model_, optimizer_, reference_.get(), state_);
}

Metrics Training::finish() {
  stage_.progress.end();
  stage_.store.flush();
  model_.side_files["made_by.json"] = stage_.made_by;
  save_model(model_, stage_.dir / "final");
  return last_metrics_;
}

}  // namespace hone
