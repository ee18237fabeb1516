#include "rl/recipe.h"

#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/rl/groups.h"

namespace hone {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::TemporaryDir;

const char* const kSmall = R"(name: example
seed: 7
stages:
  - name: base
    kind: base
    model_config: {model_type: deepseek_v3, hidden_size: 32, rms_norm_eps: 1.0e-6, tie: false, note: "7"}
    max_steps: 1e3
    gates: {pass@16: 0.7}
  - {name: rl, kind: rl, model: "${base}", data: "${base}/train.jsonl", reward_funcs: [countdown, format],
     reward_weights: [1.0, 0.1], learning_rate: 4e-4, max_completion_length: 240}
  - name: after
    kind: eval
    model: ${rl}
    data: ${base}/heldout.jsonl
    reward_funcs: countdown
    reflection_words: [' wait']
)";

Recipe small(const std::vector<std::string>& overrides = {}) { return parse_recipe(kSmall, "r.yaml", overrides); }

const RlConfig& rl_of(const Recipe& recipe) { return std::get<RlConfig>(recipe.stages.at(1).options); }

std::string error_of(const std::string& yaml, const std::vector<std::string>& overrides = {}) {
  try {
    parse_recipe(yaml, "r.yaml", overrides);
  } catch (const std::invalid_argument& e) {
    return e.what();
  }
  return "(no error)";
}

/// An rl stage with one more line, on line 8.
std::string with_line(const std::string& line) {
  return "name: x\nstages:\n  - name: rl\n    kind: rl\n    model: m\n    data: d\n    reward_funcs: [a, b]\n    " +
         line + "\n";
}

TEST(Recipe, ReadsEveryTypeOfValue) {
  const Recipe recipe = small();
  EXPECT_EQ(recipe.name, "example");
  EXPECT_EQ(recipe.seed, 7u);
  const auto& base = std::get<BaseConfig>(recipe.stages[0].options);
  EXPECT_EQ(base.optim.max_steps, 1000);
  EXPECT_EQ(base.model_config, nlohmann::json::parse(R"({"model_type": "deepseek_v3", "hidden_size": 32,
            "rms_norm_eps": 1e-6, "tie": false, "note": "7"})"));
  EXPECT_TRUE(base.model_config["hidden_size"].is_number_integer());
  EXPECT_EQ(recipe.stages[0].gates, (std::map<std::string, double>{{"pass@16", 0.7}}));
  EXPECT_EQ(rl_of(recipe).optim.learning_rate, 4e-4);
  EXPECT_THAT(rl_of(recipe).reward_weights, ElementsAre(1.0, 0.1));
  EXPECT_EQ(rl_of(recipe).model, "${base}");
  const auto& eval = std::get<EvalConfig>(recipe.stages[2].options);
  EXPECT_THAT(eval.reward_funcs, ElementsAre("countdown"));
  EXPECT_THAT(eval.reflection_words, ElementsAre(" wait"));
}

TEST(Recipe, WhatIsNotNamedKeepsItsDefault) {
  EXPECT_EQ(rl_of(small()).num_generations, RlConfig{}.num_generations);
  EXPECT_EQ(rl_of(small()).sampling.temperature, 1.0);
}

TEST(Recipe, TheDesignsSmallestRecipeIsRead) {
  const Recipe recipe = parse_recipe(R"(name: example
seed: 1
stages:
  - {name: rl, kind: rl, model: path/to/model, data: prompts.jsonl, reward_funcs: [countdown, format], reward_weights: [1.0, 0.1],
     prompts_per_step: 16, num_generations: 16, max_completion_length: 240, min_completion_length: 0, temperature: 1.0,
     loss_type: dapo, beta: 0.0, learning_rate: 4.0e-4, steps_per_generation: 1, num_iterations: 1, max_steps: 40, save_steps: 10}
)",
                                     "r.yaml");
  EXPECT_EQ(std::get<RlConfig>(recipe.stages[0].options).optim.save_steps, 10);
}

TEST(Recipe, ResolvedRecipeReadsBackTheSame) {
  Recipe recipe = small({"rl.data=a: \"b\" # c\\d", "base.model_config.rope={\"a\": [1, null, 2.5, \"x: y\"]}",
                         "seed=18446744073709551615", "after.reflection_words=['true', \"\\n\", ' wait', '']",
                         "rl.learning_rate=1.2345678901234567e-5"});
  for (const auto& text : {to_yaml(recipe), describe(recipe)}) {
    const Recipe again = parse_recipe(text, "again.yaml");
    EXPECT_EQ(to_yaml(again), to_yaml(recipe));
    EXPECT_EQ(again.seed, recipe.seed);
    EXPECT_EQ(rl_of(again).optim.learning_rate, 1.2345678901234567e-5);
    EXPECT_EQ(rl_of(again).data, rl_of(recipe).data);
    EXPECT_EQ(std::get<BaseConfig>(again.stages[0].options).model_config,
              std::get<BaseConfig>(recipe.stages[0].options).model_config);
    EXPECT_EQ(std::get<EvalConfig>(again.stages[2].options).reflection_words,
              std::get<EvalConfig>(recipe.stages[2].options).reflection_words);
    EXPECT_EQ(again.stages[0].gates, recipe.stages[0].gates);
  }
}

TEST(Recipe, DescribeHasEveryKeyWithItsHelp) {
  const std::string text = describe(small());
  EXPECT_THAT(text, HasSubstr("epsilon_high: 0.2"));
  EXPECT_THAT(text, HasSubstr("# and from above at 1 + epsilon_high"));
  EXPECT_THAT(text, HasSubstr("grpo | bnpo | dapo | dr_grpo | gspo | cispo | sapo"));
}

// ---- overrides ------------------------------------------------------------------------------------------------------

TEST(RecipeOverride, ReachesEveryPlace) {
  const Recipe recipe = small({"rl.max_steps=8", "seed=3", "name=x", "base.gates.pass@16=0", "rl.gates.reward=.5",
                               "base.model_config.hidden_size=64", "base.model_config.rope.factor=2.5",
                               "rl.reward_weights=[2, 3e-1]", "rl.max_steps=9"});
  EXPECT_EQ(recipe.name, "x");
  EXPECT_EQ(recipe.seed, 3u);
  EXPECT_EQ(rl_of(recipe).optim.max_steps, 9) << "the last one wins";
  EXPECT_EQ(recipe.stages[0].gates.at("pass@16"), 0);
  EXPECT_EQ(recipe.stages[1].gates.at("reward"), 0.5);
  const auto& config = std::get<BaseConfig>(recipe.stages[0].options).model_config;
  EXPECT_EQ(config["hidden_size"], 64);
  EXPECT_EQ(config["rope"]["factor"], 2.5);
  EXPECT_EQ(config["model_type"], "deepseek_v3");
  EXPECT_THAT(rl_of(recipe).reward_weights, ElementsAre(2, 0.3));
}

TEST(RecipeOverride, StageNamesMayHoldDots) {
  const std::string yaml =
      "stages:\n  - {name: e, kind: eval, model: m, data: d, reward_funcs: a}\n"
      "  - {name: e.2, kind: eval, model: m, data: d, reward_funcs: a}\nname: x\n";
  const Recipe recipe = parse_recipe(yaml, "r.yaml", {"e.2.limit=5"});
  EXPECT_EQ(std::get<EvalConfig>(recipe.stages[1].options).limit, 5);
  EXPECT_EQ(std::get<EvalConfig>(recipe.stages[0].options).limit, 0);
}

TEST(RecipeOverride, IsCheckedLikeTheFile) {
  EXPECT_THAT(error_of(kSmall, {"rl.max_step=8"}),
              AllOf(HasSubstr("--set rl.max_step=8"), HasSubstr("did you mean 'max_steps'?")));
  EXPECT_THAT(error_of(kSmall, {"r1.max_steps=8"}), AllOf(HasSubstr("no stage 'r1'"), HasSubstr("did you mean 'rl'?")));
  EXPECT_THAT(error_of(kSmall, {"sed=8"}), HasSubstr("did you mean 'seed'?"));
  EXPECT_THAT(error_of(kSmall, {"rl.max_steps=few"}),
              AllOf(HasSubstr("max_steps is 'few'"), HasSubstr("a whole number of at least 0")));
  EXPECT_THAT(error_of(kSmall, {"rl.max_steps"}), HasSubstr("stage.key=value"));
  EXPECT_THAT(error_of(kSmall, {"rl.kind=sft"}), HasSubstr("cannot be overridden"));
  EXPECT_THAT(error_of(kSmall, {"rl.optim.max_steps=1"}), HasSubstr("unknown key 'optim.max_steps'"));
  EXPECT_THAT(error_of(kSmall, {"base.model_config.hidden_size.x=1"}), HasSubstr("does not lie in a map"));
  EXPECT_THAT(error_of(kSmall, {"base.gates.pass@16=high"}), HasSubstr("'high'"));
  EXPECT_THAT(error_of(kSmall, {"rl.reward_weights=[1]"}),
              HasSubstr("reward_weights has 1 numbers and reward_funcs 2 names"));
}

// ---- refusals -------------------------------------------------------------------------------------------------------

TEST(RecipeError, UnknownKeysNameTheLineAndTheNearestKey) {
  EXPECT_THAT(error_of(with_line("num_generation: 4")),
              AllOf(HasSubstr("r.yaml:8: stage 'rl'"), HasSubstr("unknown key 'num_generation'"),
                    HasSubstr("did you mean 'num_generations'?")));
  EXPECT_THAT(error_of(with_line("zzzzzz: 4")), HasSubstr("known are: model, data"));
  EXPECT_THAT(error_of(with_line("tokens_per_step: 4")), HasSubstr("unknown key")) << "that belongs to sft";
  EXPECT_THAT(error_of("nme: x\nstages: []\n"), AllOf(HasSubstr("r.yaml:1"), HasSubstr("did you mean 'name'?")));
}

TEST(RecipeError, WrongTypesAndRangesNameWhatIsAllowed) {
  const std::pair<const char*, const char*> cases[] = {
      {"learning_rate: fast", "learning_rate is 'fast', allowed is a number of at least 0"},
      {"learning_rate: '1'", "learning_rate is '1'"},
      {"learning_rate: -1", "learning_rate is '-1'"},
      {"learning_rate: nan", "learning_rate is 'nan'"},
      {"learning_rate: inf", "learning_rate is 'inf'"},
      {"learning_rate: 1x", "learning_rate is '1x'"},
      {"learning_rate:", "learning_rate is nothing"},
      {"learning_rate: [1]", "learning_rate is a list"},
      {"max_steps: 1.5", "allowed is a whole number of at least 0"},
      {"max_steps: 99999999999999999999", "allowed is a whole number"},
      {"num_generations: 0", "allowed is a whole number of at least 1"},
      {"adam_beta1: 1.5", "allowed is a number from 0 to 1"},
      {"adam_epsilon: 0", "allowed is a number above 0"},
      {"sample_std: maybe", "allowed is true or false"},
      {"sample_std: 'true'", "allowed is true or false"},
      {"loss_type: ppo", "loss_type is 'ppo', allowed is one of grpo, bnpo, dapo, dr_grpo, gspo, cispo, sapo"},
      {"reward_weights: {a: 1}", "allowed is a list of numbers"},
      {"reward_weights: [1, high]", "allowed is a number"},
      {"reflection_words: {a: 1}", "allowed is a list of texts"},
      {"gates: {a: high}", "gates.a is 'high', allowed is a number"},
      {"gates: 3", "gates must be a map"},
  };
  for (const auto& [line, message] : cases) {
    EXPECT_THAT(error_of(with_line(line)), AllOf(HasSubstr("r.yaml:8"), HasSubstr(message))) << line;
  }
}

TEST(RecipeError, KeysThatStandTwice) {
  EXPECT_THAT(error_of(with_line("beta: 0\n    beta: 1")),
              AllOf(HasSubstr("r.yaml:9"), HasSubstr("the key 'beta' twice")));
  EXPECT_THAT(error_of("name: a\nname: b\nstages: []\n"),
              AllOf(HasSubstr("r.yaml:2"), HasSubstr("the key 'name' twice")));
  EXPECT_THAT(error_of("name: a\nstages:\n  - name: b\n    kind: base\n    model_config: {x: 1, x: 2}\n"),
              HasSubstr("'x' stands twice"));
}

TEST(RecipeError, BrokenFiles) {
  EXPECT_THAT(error_of("name: [\n"), AllOf(HasSubstr("r.yaml:"), HasSubstr("not valid YAML")));
  EXPECT_THAT(error_of(""), HasSubstr("one YAML document"));
  EXPECT_THAT(error_of("name: x\n---\nname: y\n"), HasSubstr("here are 2"));
  EXPECT_THAT(error_of("- 1\n"), HasSubstr("must be a map"));
  EXPECT_THAT(error_of("name: x\nstages: 3\n"), HasSubstr("a list of stages"));
  EXPECT_THAT(error_of("name: x\nstages:\n  - 3\n"), HasSubstr("a stage must be a map"));
  EXPECT_THAT(error_of("name: x\nstages:\n  - kind: rl\n"), HasSubstr("a stage without 'name'"));
  EXPECT_THAT(error_of("name: x\nseed: -1\nstages: []\n"), HasSubstr("seed is '-1'"));
  EXPECT_THAT(error_of("name: x\nstages: [{name: b, kind: base, model_config: &a {x: *a}}]\n"), HasSubstr("r.yaml"))
      << "an anchor that holds itself";
}

const char* const kData = R"(name: x
defaults:
  generate: {num_generations: 3, reward_funcs: [countdown]}
stages:
  - {name: sample, kind: generate, model: m, data: p.jsonl, top_k: 5}
  - {name: keep, kind: filter, data: "${sample}/rows.jsonl", language: en}
  - {name: mix, kind: merge, data: ["${keep}/rows.jsonl", other.jsonl], weights: [3, 1], columns: [{}, {reward_funcs: [countdown]}]}
  - {name: pairs, kind: pairs, data: "${sample}/rows.jsonl", prefer: short}
  - {name: student, kind: distil, teacher: m, data: "${mix}/rows.jsonl", model_config: {model_type: llama}, max_steps: 7}
)";

TEST(Recipe, DataStagesAndDefaultsOfAKind) {
  const Recipe recipe = parse_recipe(kData, "r.yaml");
  const auto& generate = std::get<GenerateConfig>(recipe.stages[0].options);
  EXPECT_EQ(generate.num_generations, 3) << "from defaults";
  EXPECT_EQ(generate.sampling.top_k, 5);
  EXPECT_EQ(std::get<DistilConfig>(recipe.stages[4].options).sft.optim.max_steps, 7);
  EXPECT_EQ(to_yaml(parse_recipe(to_yaml(recipe), "again")), to_yaml(recipe));
  const Recipe own = parse_recipe(kData, "r.yaml", {"sample.num_generations=9"});
  EXPECT_EQ(std::get<GenerateConfig>(own.stages[0].options).num_generations, 9);
}

TEST(Recipe, QuickScale) {
  const std::string text = std::string(kData) + "quick: {student.max_steps: 2, sample.limit: 5}\n";
  const auto steps = [&](const std::vector<std::string>& overrides, bool quick) {
    const Recipe recipe = parse_recipe(text, "r.yaml", overrides, quick);
    return std::get<DistilConfig>(recipe.stages[4].options).sft.optim.max_steps;
  };
  EXPECT_EQ(steps({}, false), 7);
  EXPECT_EQ(steps({}, true), 2);
  EXPECT_EQ(steps({"student.max_steps=3"}, true), 3) << "--set has the last word";
  const Recipe quick = parse_recipe(text, "r.yaml", {}, true);
  EXPECT_EQ(to_yaml(parse_recipe(to_yaml(quick), "again")), to_yaml(quick));
  EXPECT_THAT(error_of(std::string(kData) + "quick:\n  studnt.max_steps: 2\n"),
              AllOf(HasSubstr("r.yaml:11"), HasSubstr("did you mean 'student'?")));
  EXPECT_THROW(parse_recipe(kData, "r.yaml", {}, true), std::invalid_argument);
}

TEST(RecipeConflict, OfDataStages) {
  const std::pair<const char*, const char*> cases[]{
      {"keep.data=${sample}", "must be of the form ${stage}/file.jsonl"},
      {"sample.model=${keep}", "stage 'keep' does not come before this one"},
      {"student.teacher=${mix}", "a stage of kind merge makes no model"},
      {"student.teacher=", "teacher is missing"},
      {"student.model=m", "either a model (folder or ${stage}) or a model_config"},
      {"mix.weights=[1]", "weights has 1 numbers and data 2 data sets"},
      {"mix.weights=[1, 0]", "weights must be above 0"},
      {"mix.data=[]", "data is missing"},
      {"mix.columns=[{a: 1}]", "columns has 1 objects and data 2 data sets"},
      {"mix.columns=[1, 2]", "a map"},
      {"pairs.data=${student}/x", "stage 'student' does not come before this one"},
      {"pairs.prefer=best", "one of reward, rewritten, short, long"},
      {"keep.min_length=9", "(no error)"},
      {"keep.language=de", "one of any, en, ru, zh"},
      {"sample.reward_funcs=[]", "reward_funcs is missing"},
  };
  for (const auto& [override_text, message] : cases) {
    EXPECT_THAT(error_of(kData, {override_text}), HasSubstr(message)) << override_text;
  }
  EXPECT_THAT(error_of(kData, {"keep.min_length=9", "keep.max_length=8"}), HasSubstr("above max_length 8"));
  EXPECT_THAT(error_of("name: x\ndefaults:\n  rl:\n    max_step: 3\nstages: []\n"),
              AllOf(HasSubstr("r.yaml:4"), HasSubstr("did you mean 'max_steps'?")));
  EXPECT_THAT(error_of("name: x\ndefaults: {r1: {}}\nstages: []\n"), HasSubstr("unknown kind 'r1'"));
}

TEST(RecipeError, Kinds) {
  EXPECT_THAT(error_of("name: x\nstages: [{name: a, kind: evel}]\n"), HasSubstr("did you mean 'eval'?"));
}

TEST(RecipeError, UnreadableFileAndNameFromTheFile) {
  TemporaryDir dir;
  EXPECT_THROW(load_recipe(dir.path() / "none.yaml"), std::invalid_argument);
  EXPECT_THROW(load_recipe(dir.path()), std::invalid_argument);
  std::ofstream(dir.path() / "tiny.yaml") << "stages: [{name: e, kind: eval, model: m, data: d, reward_funcs: a}]\n";
  EXPECT_EQ(load_recipe(dir.path() / "tiny.yaml").name, "tiny");
}

// ---- conflicts ------------------------------------------------------------------------------------------------------

std::string conflicts_after(const std::vector<std::string>& overrides) { return error_of(kSmall, overrides); }

TEST(RecipeConflict, ASoundRecipeHasNone) { EXPECT_THAT(validate(small()), ElementsAre()); }

TEST(RecipeConflict, EachIsFound) {
  const std::pair<const char*, const char*> cases[] = {
      {"rl.reward_weights=[0, 0]", "reward_weights are all 0"},
      {"rl.reward_funcs=[a, a]", "names a reward twice"},
      {"rl.reward_funcs=[]", "reward_funcs is missing"},
      {"rl.min_completion_length=241", "min_completion_length 241 is above max_completion_length 240"},
      {"rl.num_generations=1", "num_generations is 1"},
      {"rl.temperature=0", "temperature is 0"},
      {"rl.ref_model_sync_steps=4", "ref_model_sync_steps is set"},
      {"rl.adam_beta2=1", "must be below 1"},
      {"rl.model=", "model is missing"},
      {"rl.model=${bse}", "no stage 'bse'; did you mean 'base'?"},
      {"rl.model=${after}", "stage 'after' does not come before this one"},
      {"rl.model=${rl}", "stage 'rl' does not come before this one"},
      {"rl.model=${base}/train.jsonl", "must be of the form ${stage}"},
      {"rl.data=${base}", "must be of the form ${stage}/file.jsonl"},
      {"after.data=${rl}/x.jsonl", "a stage of kind rl makes no data"},
      {"rl.data=${base}/trian.jsonl",
       "data is ${base}/trian.jsonl, but a stage of kind base makes train.jsonl and heldout.jsonl"},
      {"rl.reward_funcs=['reward_model:${base}']", "a stage of kind base makes no reward model"},
      {"rl.steps_per_generation=7", "must be multiples of steps_per_generation x num_iterations = 7"},
      {"rl.top_k=5", "must be off in training"},
      {"rl.lora_target_modules=[q_proj]", "with lora_r 0 there are no adapters"},
      {"rl.model=${base", "neither a path nor of the form"},
      {"rl.model=a/${base}", "neither a path nor of the form"},
      {"rl.model=${base}x", "neither a path nor of the form"},
      {"rl.model=${}", "neither a path nor of the form"},
      {"base.model_config={}", "model_config is missing"},
      {"name=a/b", "the name of the recipe, 'a/b'"},
      {"name=..", "the name of the recipe, '..'"},
  };
  for (const auto& [override_text, message] : cases) {
    EXPECT_THAT(conflicts_after({override_text}), HasSubstr(message)) << override_text;
  }
}

TEST(RecipeConflict, AllAreListedAtOnce) {
  EXPECT_THAT(conflicts_after({"rl.num_generations=1", "rl.temperature=0", "name=a b"}),
              AllOf(HasSubstr("num_generations"), HasSubstr("temperature"), HasSubstr("a b")));
}

TEST(RecipeConflict, StageNames) {
  Recipe recipe = small();
  recipe.stages[2].name = "rl";
  EXPECT_THAT(validate(recipe), ::testing::Contains(HasSubstr("two stages have the name 'rl'")));
  recipe.stages[2].name = "../rl";
  EXPECT_THAT(validate(recipe), ::testing::Contains(HasSubstr("'../rl'")));
  recipe.stages.clear();
  EXPECT_THAT(validate(recipe), ElementsAre(HasSubstr("no stages")));
}

// ---- paths ----------------------------------------------------------------------------------------------------------

TEST(ResolvePath, StagesFilesAndFolders) {
  TemporaryDir dir;
  std::ofstream(dir.path() / "here.jsonl") << "{}";
  const auto resolve = [&](const std::string& value) { return resolve_path(value, dir.path(), "runs/x"); };
  EXPECT_EQ(resolve("${base}"), "runs/x/stages/base/final");
  EXPECT_EQ(resolve("${base}/train.jsonl"), "runs/x/stages/base/data/train.jsonl");
  EXPECT_EQ(resolve("here.jsonl"), dir.path() / "here.jsonl");
  EXPECT_EQ(resolve("elsewhere.jsonl"), "elsewhere.jsonl");
  EXPECT_EQ(resolve("/abs/file"), "/abs/file");
  EXPECT_THROW(resolve("${base"), std::invalid_argument);
}

}  // namespace
}  // namespace hone
