#include "rl/plan.h"

#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "rl/recipe.h"
#include "tests/rl/groups.h"

namespace hone {
namespace {

using ::testing::HasSubstr;
using testing::TemporaryDir;

const char* const kPipeline = R"(name: x
stages:
  - {name: base, kind: base, model_config: {model_type: llama, hidden_size: 16, num_hidden_layers: 2, num_attention_heads: 2,
     num_key_value_heads: 1, intermediate_size: 32}, max_steps: 10, tokens_per_step: 100}
  - {name: rl, kind: rl, model: "${base}", data: "${base}/train.jsonl", reward_funcs: [a], max_steps: 4, prompts_per_step: 3,
     num_generations: 2, max_completion_length: 50}
  - {name: sample, kind: generate, model: "${rl}", data: "${base}/train.jsonl", reward_funcs: [a], limit: 6, num_generations: 5,
     max_completion_length: 50}
  - {name: keep, kind: filter, data: "${sample}/rows.jsonl", limit: 20}
  - {name: student, kind: sft, model: "${rl}", data: "${keep}/rows.jsonl", max_steps: 7, tokens_per_step: 30}
  - {name: other, kind: eval, model: elsewhere, data: "${base}/heldout.jsonl", reward_funcs: [a], num_generations: 2}
)";

int64_t task_rows(const std::string&, const std::string& file) { return file == "train.jsonl" ? 90 : 9; }

PlanOptions options_of(const TemporaryDir& dir, int threads) {
  return {.recipe_dir = dir.path(), .run_dir = dir.path(), .threads = threads};
}

TEST(Plan, CountsTokensOfEveryStage) {
  TemporaryDir dir;
  std::filesystem::create_directories(dir.path() / "stages" / "base");
  std::ofstream(dir.path() / "stages" / "base" / "metrics.json") << "{}";
  const auto plan = plan_of(parse_recipe(kPipeline, "r.yaml"), options_of(dir, 2), task_rows);
  ASSERT_EQ(plan.size(), 6u);
  EXPECT_EQ(plan[0].trained_tokens, 1000);
  EXPECT_TRUE(plan[0].is_done);
  EXPECT_EQ(plan[1].sampled_tokens, 4 * 3 * 2 * 25);
  EXPECT_EQ(plan[2].work, "6 prompts x 5 completions");
  EXPECT_EQ(plan[3].work, "30 rows at most");
  EXPECT_EQ(plan[4].trained_tokens, 210);
  EXPECT_GT(plan[4].seconds, 0) << "its model is that of the base, by way of the rl stage";
  EXPECT_EQ(plan[5].work, "9 prompts x 2 completions");
  EXPECT_LT(plan[5].seconds, 0) << "there is no such model yet";
  const std::string text = describe(plan);
  EXPECT_THAT(text, HasSubstr("done\n"));
  EXPECT_THAT(text, HasSubstr("and what is not known"));
}

TEST(Plan, OfWhatIsRepeatedAndOfWhatIsLeftOut) {
  TemporaryDir dir;
  const Recipe recipe = parse_recipe(kPipeline, "r.yaml", {"student.rows_per_step=3", "student.max_length=100"});
  for (const auto& stage : recipe.stages) {
    std::filesystem::create_directories(dir.path() / "stages" / stage.name);
    std::ofstream(dir.path() / "stages" / stage.name / "metrics.json") << "{}";
  }
  PlanOptions options = options_of(dir, 1);
  options.from = "keep";
  options.until = "student";
  const auto plan = plan_of(recipe, options, task_rows);
  EXPECT_TRUE(plan[2].is_done);
  EXPECT_FALSE(plan[3].is_done);
  EXPECT_EQ(plan[4].work, "7 steps of 3 rows");
  EXPECT_EQ(plan[4].trained_tokens, 7 * 3 * 50);
  EXPECT_FALSE(plan[4].is_left_out);
  EXPECT_TRUE(plan[5].is_left_out);
  EXPECT_THAT(describe(plan), HasSubstr("not run\n"));
}

TEST(Plan, TwiceTheThreadsHalfTheTime) {
  TemporaryDir dir;
  const Recipe recipe = parse_recipe(kPipeline, "r.yaml");
  const auto one = plan_of(recipe, options_of(dir, 1), task_rows);
  const auto two = plan_of(recipe, options_of(dir, 2), task_rows);
  EXPECT_DOUBLE_EQ(one[1].seconds, 2 * two[1].seconds);
}

// 671B with 37B active, in DeepSeek's own count (arXiv 2412.19437); an embedding of 0.93B is only looked up.
TEST(Plan, CountsTheActiveParametersOfDeepSeekV3) {
  const nlohmann::json config{{"model_type", "deepseek_v3"},
                              {"vocab_size", 129280},
                              {"hidden_size", 7168},
                              {"intermediate_size", 18432},
                              {"moe_intermediate_size", 2048},
                              {"num_hidden_layers", 61},
                              {"first_k_dense_replace", 3},
                              {"num_attention_heads", 128},
                              {"q_lora_rank", 1536},
                              {"kv_lora_rank", 512},
                              {"qk_nope_head_dim", 128},
                              {"qk_rope_head_dim", 64},
                              {"v_head_dim", 128},
                              {"n_routed_experts", 256},
                              {"n_shared_experts", 1},
                              {"num_experts_per_tok", 8},
                              {"n_group", 8},
                              {"topk_group", 4}};
  EXPECT_NEAR(active_parameters(parse_recipe_model(config, "test")), 36.6e9, 0.1e9);
}

}  // namespace
}  // namespace hone
