// The recipes that state published values state these (arXiv 2501.12948v1 and v2, Nature 645:633).
#include <filesystem>

#include <gtest/gtest.h>

#include "rl/recipe.h"
#include "rl/schedule.h"

namespace hone {
namespace {

Recipe shipped(const std::string& name) {
  return load_recipe(std::filesystem::path(HONE_SOURCE_DIR) / "recipes" / (name + ".yaml"));
}

const StageConfig& stage(const Recipe& recipe, const std::string& name) {
  for (const auto& s : recipe.stages) {
    if (s.name == name) return s;
  }
  throw std::out_of_range(name);
}

TEST(PaperRecipes, EveryRlStageHasTheRolloutsOfThePaper) {
  const Recipe recipe = shipped("r1_paper");
  int stages = 0;
  for (const auto& s : recipe.stages) {
    if (s.kind != "rl") continue;
    const auto& c = std::get<RlConfig>(s.options);
    ++stages;
    EXPECT_EQ(c.num_generations, 16) << s.name;
    EXPECT_EQ(c.prompts_per_step, 32) << s.name;
    EXPECT_EQ(c.prompts_per_step * c.num_generations * c.steps_per_generation, 8192) << s.name;
    EXPECT_EQ(c.steps_per_generation, 16) << s.name;
    EXPECT_EQ(c.num_iterations, 1) << s.name;
    EXPECT_EQ(c.optim.learning_rate, 3e-6) << s.name;
    EXPECT_EQ(c.optim.lr_scheduler_type, "constant") << s.name;
    EXPECT_EQ(c.loss_type, "grpo") << s.name;
    EXPECT_EQ(c.scale_rewards, "group") << s.name;
    EXPECT_EQ(c.beta, 0.001) << s.name;
    EXPECT_EQ(c.kl_estimator, "k3") << s.name;
    EXPECT_EQ(c.ref_model_sync_steps, 400) << s.name;
    EXPECT_EQ(c.optim.max_steps % 16, 0) << s.name << " must end with a rollout";
  }
  EXPECT_EQ(stages, 5);
}

TEST(PaperRecipes, StagesDifferAsPublished) {
  const Recipe recipe = shipped("r1_paper");
  const auto rl = [&](const char* name) { return std::get<RlConfig>(stage(recipe, name).options); };
  EXPECT_EQ(rl("r1_zero").optim.max_steps + rl("r1_zero_long").optim.max_steps, 10400);
  EXPECT_EQ(rl("r1_zero").sampling.max_new_tokens, 32768);
  EXPECT_EQ(rl("r1_zero_long").sampling.max_new_tokens, 65536);
  for (const char* name : {"rl_reasoning", "rl_all_reasoning", "rl_all"}) {
    EXPECT_EQ(rl(name).epsilon, 10) << name;
    EXPECT_EQ(rl(name).epsilon_high, 10) << name;
    EXPECT_EQ(rl(name).sampling.max_new_tokens, 32768) << name;
    EXPECT_EQ(rl(name).reward_funcs.back(), "language_consistency") << name;
  }
  EXPECT_EQ(rl("r1_zero").sampling.temperature, 1.0);
  EXPECT_EQ(rl("rl_reasoning").sampling.temperature, 1.0);
  EXPECT_EQ(rl("rl_all_reasoning").sampling.temperature, 0.7);
  EXPECT_EQ(rl("rl_all").sampling.temperature, 0.7);
  EXPECT_EQ(rl("rl_all").optim.max_steps, 400);
  EXPECT_NEAR(static_cast<double>(rl("rl_all_reasoning").optim.max_steps), 1300, 15);
}

void expect_sft(const SftConfig& c, int64_t rows, double rate) {
  EXPECT_EQ(c.rows_per_step, rows);
  EXPECT_EQ(c.max_length, 32768);
  EXPECT_EQ(c.optim.learning_rate, rate);
  EXPECT_EQ(c.optim.lr_scheduler_type, "cosine");
  EXPECT_NEAR(learning_rate_factor(c.optim, c.optim.max_steps - 1), 0.1, 1e-12) << "cosine to a tenth";
  EXPECT_EQ(learning_rate_factor(c.optim, 0), 1);
}

TEST(PaperRecipes, SupervisedStages) {
  const Recipe recipe = shipped("r1_paper");
  expect_sft(std::get<SftConfig>(stage(recipe, "cold_start").options), 128, 5e-5);
  const auto& sft = std::get<SftConfig>(stage(recipe, "sft_800k").options);
  expect_sft(sft, 128, 5e-5);
  EXPECT_EQ(sft.optim.max_steps, (2 * 804745 + 127) / 128);
  EXPECT_EQ(sft.model, "deepseek-ai/DeepSeek-V3-Base");
}

TEST(PaperRecipes, TheSixStudents) {
  const struct {
    const char *name, *base;
    double rate;
  } students[] = {{"distill_qwen2.5_math_1.5b", "Qwen/Qwen2.5-Math-1.5B", 1e-4},
                  {"distill_qwen2.5_math_7b", "Qwen/Qwen2.5-Math-7B", 8e-5},
                  {"distill_qwen2.5_14b", "Qwen/Qwen2.5-14B", 7e-5},
                  {"distill_qwen2.5_32b", "Qwen/Qwen2.5-32B", 6e-5},
                  {"distill_llama3.1_8b", "meta-llama/Llama-3.1-8B", 5e-5},
                  {"distill_llama3.3_70b_instruct", "meta-llama/Llama-3.3-70B-Instruct", 2e-5}};
  for (const auto& s : students) {
    const Recipe recipe = shipped(s.name);
    EXPECT_EQ(recipe.name, s.name);
    const auto& c = std::get<SftConfig>(stage(recipe, "student").options);
    EXPECT_EQ(c.model, s.base);
    expect_sft(c, 64, s.rate);
    EXPECT_EQ(c.optim.max_steps, (2 * 804745 + 63) / 64);
    EXPECT_TRUE(c.completion_only_loss);
  }
}

}  // namespace
}  // namespace hone
