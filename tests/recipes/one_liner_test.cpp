#include "recipes/one_liner/one_liner.h"

#include <cstdio>
#include <numeric>
#include <set>
#include <sstream>
#include <stdexcept>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "models/tokenizer.h"
#include "recipes/one_liner/diagnose.h"
#include "rewards/code_tests.h"

namespace hone {
namespace {

using nlohmann::json;

std::string join(const std::vector<std::string>& tokens) {
  return std::accumulate(tokens.begin(), tokens.end(), std::string());
}

std::string program_of(const std::string& text) {
  const size_t begin = text.find("<answer>") + 8;
  return text.substr(begin, text.find("</answer>") - begin);
}

/// Whether "for x in map(int,open(0)):print(x*3+2)" gives the outputs that a prompt shows; false for a broken program.
bool fits(const std::string& prompt, const std::string& program) {
  int end = 0;
  char factor[3]{}, op = 0;
  OneLiner f;
  const char* form = "for x in map(int,open(0)):print(x*%1[0-9x]%c%d)%n";
  if (std::sscanf(program.c_str(), form, factor, &op, &f.term, &end) != 3 || end != static_cast<int>(program.size()) ||
      (op != '+' && op != '-') || f.term < 0) {
    return false;
  }
  f.op = op;
  f.factor = factor[0] == 'x' ? 0 : factor[0] - '0';
  std::istringstream examples(prompt);
  for (std::string example; examples >> example;) {
    const size_t colon = example.find(':');
    if (f(std::stoi(example.substr(0, colon))) != std::stoi(example.substr(colon + 1))) return false;
  }
  return true;
}

TEST(OneLiner, ProblemsAreWrittenInThePromptsForm) {
  const OneLinerProblem problem{{3, '+', 2}, {1, 2, 4}};
  EXPECT_EQ(prompt_of(problem), "1:5 2:8 4:14\n");
  EXPECT_EQ(problem.function.text(), "x*3+2");
  EXPECT_EQ((OneLiner{0, '-', 7}.text()), "x*x-7");
  EXPECT_EQ((OneLiner{0, '-', 7}(5)), 18);
  EXPECT_TRUE(is_allowed(problem));
  EXPECT_FALSE(is_allowed({{3, '-', 7}, {1, 5, 6}})) << "-4 is no token";
  EXPECT_FALSE(is_allowed({{0, '+', 12}, {1, 5, 10}})) << "112 neither";
}

TEST(OneLiner, TheSplitIsByPrompt) {
  const Task task = one_liner_task();
  const auto train = task.problem_rows(false), held_out = task.problem_rows(true);
  EXPECT_EQ(train.size(), 4000u);
  EXPECT_EQ(held_out.size(), 400u);
  EXPECT_EQ(train, one_liner_task().problem_rows(false));
  std::set<std::string> seen;
  for (const auto* rows : {&train, &held_out}) {
    for (const auto& text : *rows) {
      const json row = json::parse(text);
      EXPECT_TRUE(seen.insert(row["prompt"]).second);
      EXPECT_EQ(is_held_out(row["prompt"].get<std::string>()), rows == &held_out);
    }
  }
}

TEST(OneLiner, TheHiddenRunTellsFunctionsApart) {
  std::set<std::string> outputs;
  size_t functions = 0;
  for (int factor = 1; factor <= 9; ++factor) {
    for (int term = -12; term <= 12; ++term, ++functions) {
      const OneLiner f{factor == 1 ? 0 : factor, term < 0 ? '-' : '+', std::abs(term)};
      std::string all;
      for (const int x : {-7, 0, 5, 9, 23, 100}) all += std::to_string(f(x)) + " ";
      outputs.insert(all);
    }
  }
  EXPECT_EQ(outputs.size(), functions);
  Prompt prompt;
  prompt.columns = one_liner_task().problem_rows(true).front();
  const auto tests = read_code_tests(prompt, Grouping::kTogether);
  ASSERT_TRUE(tests);
  ASSERT_EQ(tests->jobs.size(), 1u) << "one run for all six inputs";
  EXPECT_EQ(tests->jobs[0].stdin_text, "-7\n0\n5\n9\n23\n100\n");
}

TEST(OneLinerCorpus, IsAPureFunctionOfSeedAndIndex) {
  const Task task = one_liner_task();
  const auto text = [&](uint64_t seed, uint64_t index) {
    const auto d = task.document(seed, index, {});
    return join(d.prompt) + join(d.response);
  };
  EXPECT_EQ(text(1, 999), text(1, 999));
  EXPECT_NE(text(1, 999), text(2, 999));
  EXPECT_NE(text(1, 999), text(1, 1000));
  EXPECT_THROW(task.document(1, 0, {.max_tries = 0}), std::invalid_argument);
}

struct Statistics {
  double right = 0, direct = 0, waits = 0;
  size_t longest = 0;
};

Statistics measure(const CorpusOptions& options, uint64_t count) {
  const Task task = one_liner_task();
  Statistics s;
  std::vector<Prompt> prompts(count);
  std::vector<Rollout> rollouts(count);
  for (uint64_t i = 0; i < count; ++i) {
    const auto d = task.document(1, i, options);
    prompts[i].text = join(d.prompt);
    prompts[i].id = rollouts[i].prompt_id = static_cast<int64_t>(i);
    rollouts[i].text = join(d.response);
    EXPECT_FALSE(is_held_out(prompts[i].text));
    s.right += fits(prompts[i].text, program_of(rollouts[i].text)) / static_cast<double>(count);
    s.direct += rollouts[i].text.starts_with("<think></think>") / static_cast<double>(count);
    s.longest = std::max(s.longest, d.response.size() + 1);
  }
  auto found = diagnose_one_liner(prompts, rollouts);
  EXPECT_EQ(found["step_arithmetic"], 1.0);
  EXPECT_EQ(found["verdict"], 1.0);
  s.waits = found["waits"];
  return s;
}

TEST(OneLinerCorpus, IsSometimesRightAndChecksHowItSays) {
  const auto s = measure({.max_tries = 8}, 5000);
  EXPECT_NEAR(s.right, .3, .1);
  EXPECT_NEAR(s.direct, .2, .02);
  EXPECT_LE(s.longest, 200u) << "within the recipe's max_completion_length";
  EXPECT_GT(s.waits, measure({.max_tries = 2}, 2000).waits);
  EXPECT_GT(s.right, measure({.max_tries = 1}, 2000).right) << "searching pays";
}

TEST(OneLinerTokenizer, DocumentsEncodeToTheTokensTheyWereMadeOf) {
  const Task task = one_liner_task();
  const auto tokenizer = Tokenizer::from_json(task.tokenizer_json(), "one_liner");
  EXPECT_EQ(tokenizer.encode("1:5 2:8 4:14\n").size(), 12u);
  for (uint64_t i = 0; i < 500; ++i) {
    const auto d = task.document(2, i, {});
    std::vector<int32_t> ids;
    for (const auto& token : d.prompt) ids.push_back(tokenizer.token_to_id(token).value());
    for (const auto& token : d.response) ids.push_back(tokenizer.token_to_id(token).value());
    const auto text = join(d.prompt) + join(d.response);
    ASSERT_EQ(tokenizer.encode(text), ids) << text;
    ASSERT_EQ(tokenizer.decode(ids), text);
  }
}

TEST(OneLinerDiagnose, CountsWhatIsWritten) {
  Prompt prompt;
  prompt.text = "1:5 2:8 4:14\n";
  std::vector<Rollout> rollouts(2);
  rollouts[0].text = "<think>x*2+3 1:2+3=5 ok 2:4+3=7 no waitx*3+2 1:3+2=6 no</think><answer>..";
  rollouts[1].text = "<think>garbage 1: 2:8+ x*x 9:1+1=2 ok yes</think>";
  auto found = diagnose_one_liner({&prompt, 1}, rollouts);
  EXPECT_DOUBLE_EQ(found["step_arithmetic"], 3.0 / 4);
  EXPECT_DOUBLE_EQ(found["verdict"], 3.0 / 4) << "9 is no example";
  EXPECT_DOUBLE_EQ(found["tries"], 1.5);
  EXPECT_DOUBLE_EQ(found["waits"], .5);
  EXPECT_DOUBLE_EQ(found["ends_yes"], .5);
  EXPECT_EQ(diagnose_one_liner({}, {})["step_arithmetic"], 0.0);
}

}  // namespace
}  // namespace hone
