#include "rollout/dataset.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>
#include <stdexcept>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

namespace hone {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

/// A file that is gone after the test.
class TempFile {
 public:
  explicit TempFile(const std::string& text) {
    path_ = std::filesystem::temp_directory_path() / ("dataset_test_" + std::to_string(getpid()) + "_" +
                                                      std::to_string(reinterpret_cast<uintptr_t>(this)) + ".jsonl");
    std::ofstream(path_) << text;
  }
  ~TempFile() { std::filesystem::remove(path_); }
  TempFile(const TempFile&) = delete;
  TempFile& operator=(const TempFile&) = delete;
  std::string path() const { return path_.string(); }

 private:
  std::filesystem::path path_;
};

EncodedPrompt encode(std::string_view text) {
  if (text.find('#') != std::string_view::npos) throw std::runtime_error("'#' is not in the vocabulary");
  return {std::string(text), {text.begin(), text.end()}};
}
const PromptEncoder bytes{encode, {}};

std::vector<Prompt> load(const std::string& text) { return load_prompts(TempFile(text).path(), bytes); }

std::string error_of(const std::string& text) {
  const TempFile file(text);
  try {
    load_prompts(file.path(), bytes);
  } catch (const std::runtime_error& e) {
    EXPECT_THAT(e.what(), HasSubstr(file.path()));
    EXPECT_EQ(std::string(e.what()).find('\n'), std::string::npos) << "one line";
    return std::string(e.what()).substr(file.path().size());
  }
  return "no error";
}

TEST(LoadPrompts, ReadsTextIdsAndColumns) {
  const auto prompts = load(
      "{\"prompt\":\"7 3\\n\",\"numbers\":[7,3],\"target\":10}\n\n{\"prompt_ids\":[5,9],\"id\":40}\r\n"
      "{\"prompt\":\"a\",\"prompt_ids\":[1],\"answer\":null}");
  ASSERT_EQ(prompts.size(), 3u);
  EXPECT_EQ(prompts[0].id, 0);
  EXPECT_EQ(prompts[0].text, "7 3\n");
  EXPECT_THAT(prompts[0].token_ids, ElementsAre('7', ' ', '3', '\n'));
  EXPECT_EQ(prompts[0].columns, R"({"numbers":[7,3],"target":10})");
  EXPECT_EQ(prompts[1].id, 40);
  EXPECT_EQ(prompts[1].text, "");
  EXPECT_THAT(prompts[1].token_ids, ElementsAre(5, 9));
  EXPECT_EQ(prompts[1].columns, "{}");
  EXPECT_EQ(prompts[2].id, 2) << "the row's number, blank lines not counted";
  EXPECT_EQ(prompts[2].text, "a");
  EXPECT_THAT(prompts[2].token_ids, ElementsAre(1)) << "ids stand in place of the text's tokens";
}

TEST(LoadPrompts, KeepsLargeIntegersAndUnicodeInColumns) {
  const auto prompts =
      load(R"({"prompt":"x","id":9223372036854775807,"n":18446744073709551615,"answer":"größe \u20ac"})");
  EXPECT_EQ(prompts[0].id, INT64_MAX);
  EXPECT_EQ(prompts[0].columns, "{\"answer\":\"größe €\",\"n\":18446744073709551615}");
}

TEST(LoadPrompts, MessagesKeepTheOrderOfTheirKeysAndArePassedOnWhole) {
  const PromptEncoder chat{encode, [](std::string_view messages) { return EncodedPrompt{std::string(messages), {7}}; }};
  const TempFile file(R"({"prompt":[{"role":"user","content":"hi"}],"answer":1})"
                      "\n"
                      R"({"messages":[{"content":"hi","role":"user"}],"prompt":null})");
  const auto prompts = load_prompts(file.path(), chat);
  EXPECT_EQ(prompts[0].text, R"([{"role":"user","content":"hi"}])");
  EXPECT_EQ(prompts[1].text, R"([{"content":"hi","role":"user"}])");
  EXPECT_EQ(prompts[0].token_ids, std::vector<int32_t>{7});
  EXPECT_EQ(prompts[0].columns, R"({"answer":1})");
  EXPECT_EQ(prompts[1].columns, "{}");
}

TEST(LoadPrompts, ErrorsNameLineFindingAndRemedy) {
  const std::string good = "{\"prompt\":\"a\"}\n";
  EXPECT_THAT(error_of(good + "{\"prompt\": \"b\"\n"),
              AllOf(HasSubstr(":2: not valid JSON"), HasSubstr("remove the line")));
  EXPECT_THAT(error_of(good + "\n[1]\n"), HasSubstr(":3: found a JSON array, not an object"));
  EXPECT_THAT(error_of("{\"text\":\"a\"}"), HasSubstr(":1: the row has neither \"prompt\" nor \"prompt_ids\""));
  EXPECT_THAT(error_of("{\"prompt\":null}"), HasSubstr("neither"));
  EXPECT_THAT(error_of("{\"prompt\":3}"),
              HasSubstr(":1: \"prompt\" is a number; it must be a string or a list of chat messages"));
  EXPECT_THAT(error_of(R"({"prompt":[{"role":"user","content":"hi"}]})"),
              AllOf(HasSubstr(":1: \"prompt\" is a list of chat messages"), HasSubstr("give \"prompt\" as a string")));
  EXPECT_THAT(error_of("{\"prompt\":\"\"}"), HasSubstr(":1: the prompt has no tokens"));
  EXPECT_THAT(error_of(good + "{\"prompt\":\"#\"}"), HasSubstr(":2: '#' is not in the vocabulary"));
  EXPECT_THAT(error_of("{\"prompt_ids\":[1,-2]}"), HasSubstr("\"prompt_ids\" holds -2"));
  EXPECT_THAT(error_of("{\"prompt_ids\":[1,2.5]}"), HasSubstr("\"prompt_ids\" holds 2.5"));
  EXPECT_THAT(error_of("{\"prompt_ids\":[2147483648]}"), HasSubstr("holds 2147483648"));
  EXPECT_THAT(error_of("{\"prompt_ids\":\"1\"}"), HasSubstr("\"prompt_ids\" is a string"));
  EXPECT_THAT(error_of("{\"prompt\":\"a\",\"id\":\"x\"}"), HasSubstr("\"id\" is \"x\""));
  EXPECT_THAT(error_of("{\"prompt\":\"a\",\"id\":-1}"), HasSubstr("\"id\" is -1"));
  EXPECT_THAT(error_of("{\"prompt\":\"a\",\"id\":1.0}"), HasSubstr("\"id\" is 1.0"));
  EXPECT_THAT(error_of("{\"prompt\":\"a\",\"x\":1e999}"), HasSubstr(":1: a number is too large"));
  EXPECT_THAT(error_of("{\"prompt\":\"a\xff\"}"), HasSubstr(":1: not valid JSON"));
  EXPECT_EQ(error_of(good), "no error");  // control
}

TEST(LoadPrompts, DuplicateIdsNameBothLines) {
  EXPECT_THAT(error_of("{\"prompt\":\"a\",\"id\":7}\n{\"prompt\":\"b\",\"id\":7}\n"),
              HasSubstr(":2: id 7 is already used on line 1"));
  EXPECT_THAT(error_of("{\"prompt\":\"a\",\"id\":1}\n{\"prompt\":\"b\"}\n"),
              HasSubstr(":2: id 1 is already used on line 1"));
}

TEST(LoadPrompts, DeepNestingIsAnErrorNotACrash) {
  const std::string deep = "{\"prompt\":\"a\",\"x\":" + std::string(200000, '[') + std::string(200000, ']') + "}";
  EXPECT_THAT(error_of(deep), HasSubstr(":1: nested deeper than 64 levels"));
}

TEST(LoadPrompts, MissingEmptyOrUnreadableFile) {
  EXPECT_THROW(load_prompts("no/such/file.jsonl", bytes), std::runtime_error);
  EXPECT_THAT(error_of(""), HasSubstr("holds no rows"));
  EXPECT_THAT(error_of("\n \n"), HasSubstr("holds no rows"));
  EXPECT_THROW(load_prompts(std::filesystem::temp_directory_path().string(), bytes), std::runtime_error) << "a folder";
}

TEST(StepIndices, EveryEpochIsAPermutationWhateverTheStepSize) {
  for (const int64_t per_step : {1, 3, 10, 16, 25}) {
    std::vector<int64_t> drawn;
    for (int64_t step = 0; drawn.size() < 50; ++step) {
      const auto indices = prompt_indices(1, "rl", step * per_step, per_step, 10);
      ASSERT_EQ(indices.size(), static_cast<size_t>(per_step));
      drawn.insert(drawn.end(), indices.begin(), indices.end());
    }
    for (size_t epoch = 0; epoch + 10 <= drawn.size(); epoch += 10) {
      const std::set<int64_t> seen(drawn.begin() + static_cast<int64_t>(epoch),
                                   drawn.begin() + static_cast<int64_t>(epoch) + 10);
      EXPECT_EQ(seen.size(), 10u) << "prompts drawn twice in an epoch with " << per_step << " a step";
      EXPECT_EQ(*seen.rbegin(), 9);
    }
  }
}

TEST(StepIndices, StepSizeDoesNotChangeTheOrder) {
  std::vector<int64_t> by_one;
  for (int64_t step = 0; step < 24; ++step) by_one.push_back(prompt_indices(4, "rl", step, 1, 7)[0]);
  std::vector<int64_t> by_eight;
  for (int64_t step = 0; step < 3; ++step)
    std::ranges::copy(prompt_indices(4, "rl", step * 8, 8, 7), std::back_inserter(by_eight));
  EXPECT_EQ(by_one, by_eight);
}

TEST(StepIndices, DependsOnSeedPurposeAndEpoch) {
  const auto base = prompt_indices(1, "rl", 0, 100, 100);
  EXPECT_EQ(base, prompt_indices(1, "rl", 0, 100, 100));
  EXPECT_NE(base, prompt_indices(2, "rl", 0, 100, 100));
  EXPECT_NE(base, prompt_indices(1, "rl2", 0, 100, 100));
  EXPECT_NE(base, prompt_indices(1, "rl", 100, 100, 100));
}

TEST(StepIndices, RefusesAnEmptyDataSet) {
  EXPECT_THROW(prompt_indices(1, "rl", 0, 4, 0), std::invalid_argument);
  EXPECT_THROW(prompt_indices(1, "rl", -1, 4, 5), std::invalid_argument);
  EXPECT_TRUE(prompt_indices(1, "rl", 0, 0, 5).empty());
}

}  // namespace
}  // namespace hone
