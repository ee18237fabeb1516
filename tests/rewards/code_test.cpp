// The code reward with real jails. Escapes and forgeries are the sandbox's own tests; here: what of a completion is
// run, which tests a row means, and what comes back.
#include "rewards/code.h"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "rewards/code_block.h"
#include "rewards/code_tests.h"
#include "rewards/group.h"

namespace hone {
namespace {

using sandbox::Language;
using testing::HasSubstr;

// ---- the program in a completion
// -------------------------------------------------------------------------------------

std::string code(const std::string& text, std::optional<Language> wanted = {},
                 FinishReason reason = FinishReason::kEos) {
  const auto block = find_code(text, reason, wanted);
  return block ? block->text : "(none)";
}

TEST(CodeBlock, IsTheLastOneAfterTheThoughts) {
  EXPECT_EQ(code("```python\na\n```"), "a\n");
  EXPECT_EQ(code("first\n```python\na\n```\nthen\n```py\nb\nc\n```\nend"), "b\nc\n");
  EXPECT_EQ(code("<think>```python\na\n```</think>\n```\nb\n```"), "b\n");
  EXPECT_EQ(code("```\r\na\r\n```\r\n"), "a\r\n");
  EXPECT_EQ(code("~~~Python3 title=x\na\n```\nb\n~~~"), "a\n```\nb\n");
  EXPECT_EQ(code("````python\n```\na\n```\n````"), "```\na\n```\n");
  EXPECT_EQ(code("1. so:\n   ```python\n   a\n   ```\n"), "   a\n");
  EXPECT_EQ(code("```python\n```"), "");
}

TEST(CodeBlock, IsOneOfTheWantedLanguage) {
  const std::string text = "```python\na\n```\n```cpp\nb\n```\n```text\noutput\n```";
  EXPECT_EQ(code(text), "b\n") << "a tag that names no language is output or data";
  EXPECT_EQ(code(text, Language::kPython), "a\n");
  EXPECT_EQ(code(text, Language::kCpp), "b\n");
  EXPECT_EQ(code("```text\na\n```"), "a\n");
  EXPECT_EQ(language_named("C++"), Language::kCpp);
  EXPECT_EQ(language_named("rust"), std::nullopt);
}

TEST(CodeBlock, WithoutAFenceIsTheAnswerOrTheWholeText) {
  EXPECT_EQ(code("    return 1\n"), "    return 1\n") << "a continuation keeps its indentation";
  EXPECT_EQ(code("    a\n\n    b\n\ndef main():\n    c\n"), "    a\n\n    b\n\n") << "and ends with the function";
  EXPECT_EQ(code("import a\n  b\nc"), "import a\n  b\nc");
  EXPECT_EQ(code("<think>x</think>def f(): pass"), "def f(): pass");
  EXPECT_EQ(code("<think>x</think><answer>def f(): pass</answer>"), "def f(): pass");
  EXPECT_EQ(code("x = '```'\nuse ``` inline"), "x = '```'\nuse ``` inline");
  EXPECT_EQ(code(" \n"), "(none)");
  EXPECT_EQ(code("<think>```python\na\n```</think>"), "(none)");
}

TEST(CodeBlock, ThatIsNotClosedCountsUnlessTheTextWasCut) {
  EXPECT_EQ(code("```python\na\nb"), "a\nb");
  EXPECT_EQ(code("```python\na\nb", {}, FinishReason::kLength), "(none)");
  EXPECT_EQ(code("```python\na\n```\nand", {}, FinishReason::kLength), "a\n");
}

// ---- the reward
// ------------------------------------------------------------------------------------------------------

std::shared_ptr<sandbox::Pool> shared_pool() {
  static const auto pool = std::make_shared<sandbox::Pool>(sandbox::PoolOptions{.jobs = 2, .compile_jobs = 1});
  return pool;
}

std::vector<Score> score_all(const std::string& columns, const std::vector<std::string>& texts,
                             const CodeOptions& options = {}, const std::string& prompt_text = "") {
  Prompt prompt;
  prompt.columns = columns;
  prompt.text = prompt_text;
  std::vector<Rollout> rollouts(texts.size());
  for (size_t i = 0; i < texts.size(); ++i) {
    rollouts[i].text = texts[i];
    rollouts[i].finish_reason = FinishReason::kEos;
  }
  return code_reward(options, shared_pool)(prompt, rollouts);
}

Score score_one(const std::string& columns, const std::string& text, const CodeOptions& options = {},
                const std::string& prompt_text = "") {
  return score_all(columns, {text}, options, prompt_text).at(0);
}

void expect_right_and_wrong(const std::string& columns, const std::string& right, const std::string& wrong,
                            const std::string& prompt_text = "") {
  const auto scores = score_all(columns, {right, wrong}, {}, prompt_text);
  EXPECT_EQ(scores[0].value, 1.0) << columns << "\n" << scores[0].reason;
  EXPECT_EQ(scores[1].value, 0.0) << columns << "\n" << scores[1].reason;
}

const std::string kSum = "```python\nprint(sum(map(int, input().split())))\n```";
const std::string kFive = "```python\nprint(5)\n```";

TEST(CodeReward, ComparesTheWholeOutputOfPrograms) {
  const std::string row = R"({"test_cases":[{"input":"2 3\n","output":"5"},{"input":"1 1","output":"2\n"}]})";
  expect_right_and_wrong(row, kSum, kFive);
  EXPECT_THAT(score_one(row, kFive).reason, HasSubstr("test 2 of 2: WA"));
  const std::string lines = R"({"test_cases":[{"input":"","output":"1\n2\n"}]})";
  EXPECT_EQ(score_one(lines, "```\nprint('1  \\n2\\n\\n')\n```").value, 1.0) << "white space at the ends is free";
  for (const char* text : {"print(1)", "print('1\\n2\\n3')", "print('1 2')", "print(' 1\\n2')", "print('1\\n\\n2')"}) {
    EXPECT_EQ(score_one(lines, text).value, 0.0) << text;
  }
}

TEST(CodeReward, IsNotForgedByHowAProgramEnds) {
  const std::string row = R"({"test_cases":[{"input":"2 3","output":"5"}]})";
  for (const char* text : {"import sys; sys.exit(0)", "import os; os._exit(0)", "raise SystemExit", "pass",
                           "print('passed')", "print(5); raise ValueError", "print(5)\nimport sys; sys.exit(1)"}) {
    EXPECT_EQ(score_one(row, text).value, 0.0) << text;
  }
  const std::string asserts = R"({"test_list":["assert add(1, 2) == 3"]})";
  for (const char* text : {"import os; os._exit(0)", "exit()", "def add(a, b):\n  exit(0)",
                           "class Y:\n  def __eq__(s, o): return True\ndef add(a, b): return Y()"}) {
    EXPECT_EQ(score_one(asserts, text).value, 0.0) << text;
  }
}

TEST(CodeReward, GivesTheShareOfTestsWhenAsked) {
  const std::string row = R"({"inputs":["2 3","1 1","4 1"],"outputs":["5","2","5"]})";
  const auto scores = score_all(row, {kSum, kFive, "print(", "nothing ```"}, {.partial = true});
  EXPECT_EQ(scores[0].value, 1.0);
  EXPECT_DOUBLE_EQ(scores[1].value.value(), 2.0 / 3);
  EXPECT_EQ(scores[1].verdict, Verdict::kWrong);
  EXPECT_EQ(scores[2].value, 0.0);
  EXPECT_EQ(scores[3].value, 0.0);
  const std::string calls = R"({"fn_name":"f","inputs":[[1],[2],[3],[4]],"outputs":[1,4,9,16]})";
  EXPECT_EQ(score_one(calls, "def f(x): return x * x if x < 4 else 0", {.partial = true}).value, 0.75);
  const std::string asserts = R"({"test_list":["assert f(1) == 1","assert f(2) == 4"]})";
  EXPECT_EQ(score_one(asserts, "def f(x): return 1", {.partial = true}).value, 0.5);
}

TEST(CodeReward, RunsHumanEvalRows) {
  const std::string row = R"({"entry_point":"add","test":"def check(candidate):\n    assert candidate(2, 3) == 5\n"})";
  const std::string prompt = "def add(a, b):\n    \"\"\"The sum.\"\"\"\n";
  expect_right_and_wrong(row, "    return a + b\n", "    return a - b\n", prompt);
  expect_right_and_wrong(row, "```python\ndef add(a, b):\n    return a + b\n```", "```python\ndef add(a, b): pass\n```",
                         prompt);
  expect_right_and_wrong(row, "```python\ndef add(a, b): return a + b\n```", "I cannot.",
                         "<|user|>Write add, please: def");
}

TEST(CodeReward, RunsRowsOfAsserts) {
  const char* right = "```python\ndef sq(x):\n    return x ** 2\n```";
  const char* wrong = "```python\ndef sq(x):\n    return x\n```";
  expect_right_and_wrong(R"({"test_list":["assert sq(3) == 9","assert sq(1) == 1"],"test_setup_code":""})", right,
                         wrong);
  expect_right_and_wrong(
      R"({"test_list":["assert math.isclose(sq(3), k) is True"],"test_setup_code":"import math\nk = 9"
})",
      right, wrong);
  expect_right_and_wrong(R"({"test_imports":["import math"],"test_list":["assert math.isclose(sq(3), 9) is True"]
})",
                         right, wrong);
  expect_right_and_wrong(R"({"test_list":["assert sq(1) == 1"],"challenge_test_list":["assert sq(4) == 16"]})", right,
                         wrong);
  expect_right_and_wrong(R"({"assert_case":["assert sq(3) == 9"]})", right, wrong);
  expect_right_and_wrong(R"({"test_cases":["assert sq(3) == 9"]})", right, wrong);
}

TEST(CodeReward, RunsOpenR1Rows) {
  expect_right_and_wrong(
      R"({"verification_info":{"language":"python","test_cases":[{"fn_name":null,"input":"2 3\n","output":"5\n","type":"stdin_stdout"},{"input":"1 1\n","output":"2\n","type":"stdin_stdout"}]}})",
      kSum, kFive);
  expect_right_and_wrong(
      R"({"verification_info":"{\"language\": \"python\", \"test_cases\": [{\"input\": \"2 3\", \"output\": \"5\"}, {\"input\": \"1 1\", \"output\": \"2\"}]}"})",
      kSum, kFive);
  EXPECT_EQ(score_one(R"({"verification_info":{"language":"python","test_cases":[{"input":"","output":"1\n2\n3"}]}})",
                      "print(1)")
                .value,
            0.0)
      << "a right first line is no right output";
}

TEST(CodeReward, RunsVerlRows) {
  expect_right_and_wrong(R"({"ground_truth":"{\"inputs\": [\"2 3\", \"1 1\"], \"outputs\": [\"5\", \"2\"]}"})", kSum,
                         kFive);
  expect_right_and_wrong(
      R"({"reward_model":{"style":"rule","ground_truth":"{\"inputs\": [\"2 3\", \"1 1\"], \"outputs\": [\"5\", \"2\"]}"}})",
      kSum, kFive);
  expect_right_and_wrong(R"({"reward_model":{"ground_truth":"{\"assert_case\": [\"assert f([2, 1]) == 3\"]}"}})",
                         "def f(x): return sum(x)", "def f(x): return 0");
  expect_right_and_wrong(R"({"input_output":{"inputs":["2 3\n","1 1\n"],"outputs":["5\n","2\n"]}})", kSum, kFive);
  expect_right_and_wrong(
      R"({"public_tests":{"input":["2 3"],"output":["5"]},"private_tests":{"input":["1 1"],"output":["2"]}})", kSum,
      kFive);
  expect_right_and_wrong(R"({"inputs":[["2 3"]],"outputs":[["5"]]})", kSum, "print(6)");
}

TEST(CodeReward, CallsFunctionsWithValues) {
  const char* right = "def f(a, b):\n    return (a + b, {a: 'x'})";
  const char* wrong = "def f(a, b):\n    return (a, {a: 'x'})";
  expect_right_and_wrong(R"({"fn_name":"f","inputs":[[1,2],[3,4]],"outputs":[[3,{"1":"x"}],[7,{"3":"x"}]]})", right,
                         wrong);
  expect_right_and_wrong(R"({"fn_name":"f","inputs":["1\n2"],"outputs":["[3, {\"1\": \"x\"}]"]})", right, wrong);
  expect_right_and_wrong(R"({"fn_name":"f","inputs":[{"b":2,"a":1}],"outputs":[[3,{"1":"x"}]]})", right, wrong);
  const char* echo = "def g(s):\n    return s";
  expect_right_and_wrong(
      R"({"fn_name":"g","inputs":[["a\"b\\ \u00e9\ud83d\ude00\n'''"]],"outputs":["a\"b\\ \u00e9\ud83d\ude00\n'''"]})",
      echo, "def g(s): return s + ' '");
  expect_right_and_wrong(R"({"fn_name":"g","inputs":[[5]],"outputs":[[5]]})", echo, "def g(s): return [s, s]");
  expect_right_and_wrong(R"({"fn_name":"g","inputs":[[[5]]],"outputs":[[5]]})", echo, "def g(s): return 4");
  expect_right_and_wrong(R"({"test_cases":[{"fn_name":"g","input":"5","output":"5","type":"function_call"}]})", echo,
                         "def g(s): pass");
  expect_right_and_wrong(R"({"fn_name":"g","inputs":[[5]],"outputs":[5]})",
                         "class Solution:\n    def g(self, s):\n        return s",
                         "class Solution:\n    def g(self, s): pass");
}

TEST(CodeReward, RunsCpp) {
  const std::string row =
      R"({"language":"cpp","test_cases":[{"input":"2 3","output":"5"},{"input":"1 1","output":"2"}]})";
  const std::string head = "```cpp\n#include <iostream>\nint main() { int a, b; std::cin >> a >> b; ";
  const auto scores =
      score_all(row, {head + "std::cout << a + b; }\n```", head + "std::cout << a * b; }\n```", head + "\n```"});
  EXPECT_EQ(scores[0].value, 1.0) << scores[0].reason;
  EXPECT_EQ(scores[1].value, 0.0);
  EXPECT_THAT(scores[2].reason, HasSubstr("test 1 of 2: CE"));
  const std::string any = R"({"test_cases":[{"input":"2 3","output":"5"}]})";
  EXPECT_EQ(score_one(any, head + "std::cout << a + b; }\n```").value, 1.0) << "the fence names the language";
  EXPECT_EQ(score_one(any, head + "std::cout << a + b; }\n```", {.language = "python"}).value, 0.0);
}

TEST(CodeReward, LimitsAreAnOutcome) {
  const std::string row = R"({"time_limit":0.3,"memory_limit":64,"test_cases":[{"input":"","output":"1"}]})";
  const auto scores = score_all(row, {"while True: pass", "x = bytearray(1 << 27)\nprint(1)", "print('1' * 10**6)"});
  EXPECT_THAT(scores[0].reason, HasSubstr("TLE"));
  EXPECT_THAT(scores[1].reason, HasSubstr("MLE"));
  EXPECT_THAT(scores[2].reason, HasSubstr("OLE"));
  for (const auto& score : scores) EXPECT_EQ(score.value, 0.0);
}

TEST(CodeReward, RowsWithoutTestsAreNotApplicable) {
  for (const char* row :
       {"{}", R"({"answer":"4"})", R"({"test_cases":[]})", R"({"test_cases":null})", R"({"ground_truth":"42"})",
        R"({"reward_model":{"ground_truth":"42"}})", R"({"inputs":[],"outputs":[]})"}) {
    EXPECT_EQ(score_one(row, "print(1)").verdict, Verdict::kNotApplicable) << row;
  }
}

TEST(CodeReward, RefusesRowsOfOtherTypesAndNamesTheColumn) {
  const auto message = [](const char* row) {
    try {
      score_one(row, "print(1)");
    } catch (const SandboxFault&) {
      return std::string("fault");
    } catch (const std::runtime_error& error) {
      return std::string(error.what());
    }
    return std::string("nothing");
  };
  EXPECT_THAT(message(R"({"test":5})"), HasSubstr("'test' is a JSON number"));
  EXPECT_THAT(message(R"({"test_cases":"print"})"), HasSubstr("'test_cases' is a JSON string"));
  EXPECT_THAT(message(R"({"test_cases":[{"input":"1"}]})"), HasSubstr("'test_cases'"));
  EXPECT_THAT(message(R"({"test_list":["assert 1",2]})"), HasSubstr("'test_list'"));
  EXPECT_THAT(message(R"({"inputs":["1"],"outputs":["1","2"]})"), HasSubstr("1 inputs with 2 outputs"));
  EXPECT_THAT(message(R"({"test_cases":[{"input":true,"output":"1"}]})"), HasSubstr("'input' is a JSON boolean"));
}

TEST(CodeReward, AFaultOfTheSandboxThrowsInsteadOfScoring) {
  Prompt prompt;
  prompt.columns = R"({"test":"def check(candidate:","entry_point":"f"})";  // tests that do not compile judge nobody
  Rollout rollout;
  rollout.text = "def f(): pass";
  const RewardFn reward = code_reward({}, shared_pool);
  EXPECT_THROW(reward(prompt, {&rollout, 1}), SandboxFault);
  prompt.id = rollout.prompt_id = 9;
  EXPECT_THROW(score({prompt}, {rollout}, {{"code", 1, reward}}), std::runtime_error);
}

TEST(CodeReward, EqualProgramsRunOnceAndPoolsStartWithTheFirst) {
  int started = 0;
  const RewardFn reward = code_reward({}, [&started] {
    ++started;
    return shared_pool();
  });
  Prompt prompt;
  prompt.columns = R"({"test_cases":[{"input":"","output":"x"}]})";
  std::vector<Rollout> rollouts(16);
  EXPECT_EQ(reward(prompt, rollouts).at(3).reason, "holds no program");
  EXPECT_EQ(started, 0) << "nothing to run";
  for (auto& r : rollouts) r.text = "import random\nprint(random.random())";
  rollouts[5].text = "print('x')";
  rollouts[7].text = "```\nprint('x')\n```";
  const auto scores = reward(prompt, rollouts);
  EXPECT_EQ(started, 1);
  EXPECT_EQ(scores.size(), 16u);
  EXPECT_EQ(scores[5].value, 1.0);
  EXPECT_EQ(scores[7].value, 1.0);
  EXPECT_EQ(scores[15].value, 0.0);
}

TEST(CodeReward, ThreadsShareOnePool) {
  std::vector<Prompt> prompts(12);
  std::vector<Rollout> rollouts(48);
  for (size_t p = 0; p < prompts.size(); ++p) {
    prompts[p].id = static_cast<int64_t>(p);
    prompts[p].columns =
        "{\"fn_name\":\"f\",\"inputs\":[[" + std::to_string(p) + "]],\"outputs\":[" + std::to_string(2 * p) + "]}";
    for (size_t g = 0; g < 4; ++g) {
      rollouts[4 * p + g].prompt_id = prompts[p].id;
      rollouts[4 * p + g].text = "def f(x): return " + std::to_string(g) + " * x";
    }
  }
  const auto groups = score(prompts, rollouts, {{"code", 1, code_reward({}, shared_pool)}}, 4);
  for (size_t p = 1; p < groups.size(); ++p) {
    for (size_t g = 0; g < 4; ++g) EXPECT_EQ(groups[p].rewards[g].total, g == 2 ? 1.0 : 0.0) << p << " " << g;
  }
}

}  // namespace
}  // namespace hone
