#include "rewards/math/extract.h"

#include <ctime>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace hone {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using Strings = std::vector<std::string>;

/// Candidates as "300 number 5", joined spans with " & ", a percent sign after each that has one.
Strings candidates(const std::string& text, const ExtractConfig& config = {}, bool quirks = true) {
  Strings found;
  Candidates source(text, config, quirks);
  while (const auto candidate = source.next()) {
    std::string shown = std::to_string(candidate->priority);
    const char* joint = " ";
    for (const auto& span : candidate->spans) {
      shown += joint + std::string(to_string(span.kind)) + " " + std::string(span.text) + (span.percent ? "%" : "");
      joint = " & ";
    }
    found.push_back(shown);
  }
  return found;
}

std::string first(const std::string& text, const ExtractConfig& config = {}) {
  const auto all = candidates(text, config);
  return all.empty() ? "" : all.front();
}

ExtractConfig only(MatchType type) { return {.match_types = {type}}; }

TEST(Extract, TriesAnchorsBeforeTheRightmost) {
  EXPECT_THAT(candidates("so $x=3$. The answer is $\\frac12$. QED 7"),
              ElementsAre("200 number 7", "200 math environment \\frac12", "300 number 7",
                          "300 math environment \\frac12", "300 math environment x=3", "300 number 3"))
      << "number and formula after one anchor: what ends last comes first";
  EXPECT_EQ(first("The final answer is $1$. I hope it is correct. So $2$"), "0 math environment 1");
  EXPECT_EQ(first("The final answer to this is $1$, answer: $2$"), "50 math environment 1");
  EXPECT_EQ(first("The answer is $1$ and answer: $2$"), "100 math environment 2");
}

TEST(Extract, BoxesStandWhereTheirPrioritySaysTheyDo) {
  const std::string text = "final answer is $9999$, \\boxed{1}";
  EXPECT_EQ(first(text, {.boxed_match_priority = 0}), "0 box \\boxed{1}");
  EXPECT_EQ(first(text, {.boxed_match_priority = 100}), "50 math environment 9999");
  EXPECT_THAT(candidates("\\boxed{x}", {.boxed_match_priority = -1}), IsEmpty());
  EXPECT_EQ(first("$\\boxed{5}$ in all"), "50 math environment \\boxed{5}");
}

TEST(Extract, Environments) {
  const auto latex = only(MatchType::kLatex);
  EXPECT_EQ(first("a $$x\ny$$ b", latex), "300 math environment x\ny");
  EXPECT_EQ(first("a \\[x\ny\\] b", latex), "300 math environment x\ny");
  EXPECT_EQ(first("a \\(x\\) b", latex), "300 math environment x");
  EXPECT_EQ(first("a [x+1] b", latex), "300 math environment x+1");
  EXPECT_EQ(first("-\\frac{1}{2,5}", latex), "300 fraction -\\frac{1}{2,5}");
  EXPECT_EQ(first("$\\$5$", latex), "300 math environment \\$5");
  for (const char* none : {"$x\ny$", "\\(x\ny\\)", "$$", "$$$$", "\\$5\\$", "5$ and 6$", "a[x]b", "\\frac{x}{2}"}) {
    EXPECT_THAT(candidates(none, latex), IsEmpty()) << none;
  }
}

TEST(Extract, JoinedEnvironmentsAreOneCandidate) {
  const auto latex = only(MatchType::kLatex);
  EXPECT_EQ(first("$1$, $2$ and \\(3\\) or $4$", latex),
            "300 math environment 1 & math environment 2 & math environment 3 & math environment 4");
  EXPECT_THAT(candidates("$1$, and $2$", latex), ElementsAre("300 math environment 2", "300 math environment 1"));
  EXPECT_EQ(candidates("$1$,$2$,$3$,$4$,$5$,$6$,$7$", latex).size(), 2u) << "six at most";
}

TEST(Extract, Percent) {
  EXPECT_EQ(first("$5$ percent"), "300 math environment 5%");
  EXPECT_EQ(first("\\(5\\)\\%"), "300 math environment 5%");
  EXPECT_EQ(first("50 %"), "300 number 50%");
  EXPECT_EQ(first("50 people"), "300 number 50");
}

TEST(Extract, Numbers) {
  const auto expr = only(MatchType::kExpr);
  const struct {
    const char *text, *number;
  } cases[]{{"1,234.5", "1,234.5"},    {"1 234 567", "1 234 567"}, {"0,5", "0,5"},     {".5", ".5"},     {"-7", "-7"},
            {"$1,000.99", "1,000.99"}, {"12m\u00b2", "12"},        {"= **18 x", "18"}, {"\u20ac5", "5"}, {"x=-3", "-3"},
            {"1,2345", "1,234"},       {"1234,5", "1234,5"},       {"a\u00a05", "5"}};
  for (const auto& c : cases) EXPECT_EQ(first(c.text, expr), std::string("300 number ") + c.number) << c.text;
  for (const char* none : {"A5", "x5", "-$5", "\u0661", "", "-", "."}) {
    EXPECT_THAT(candidates(none, expr), IsEmpty()) << none;
  }
}

TEST(Extract, Expressions) {
  const auto expr = only(MatchType::kExpr);
  EXPECT_EQ(first("is 3*(4+5), ok", expr), "300 expression 3*(4+5)");
  EXPECT_EQ(first("is 3*(4+5).", expr), "300 expression 3*(4+5).") << "as long as it can be";
  EXPECT_EQ(first("is (1/2)", expr), "300 expression (1/2)");
  EXPECT_EQ(first("is 3\u00d74,", expr), "300 expression 3\u00d74");
  EXPECT_EQ(first("is 2+3x", expr), "300 number 2") << "an expression ends at white space, a stop or a sign";
  EXPECT_EQ(first("3 + 4 = 7", expr), "300 number 7");
  EXPECT_EQ(first("answer: 3 + 4 = 7", expr), "100 number 7") << "after the last equals sign";
}

TEST(Extract, ArithmeticEndsWithItsLineOrSentenceUnlessUpstreamIsFollowed) {
  const std::string lines = "= 48.\n**294 km**", sentences = "so 48. - 5 follows";
  EXPECT_THAT(candidates(lines), ElementsAre("300 expression 48.\n**294", "300 number 294", "300 number 48"));
  EXPECT_THAT(candidates(lines, {}, /*quirks=*/false), ElementsAre("300 number 294", "300 number 48"));
  EXPECT_EQ(first(sentences), "300 expression 48. - 5");
  EXPECT_EQ(candidates(sentences, {}, /*quirks=*/false).back(), "300 number 48");
  EXPECT_THAT(candidates("is 3*\t(4.5+5).", {}, /*quirks=*/false),
              ElementsAre("300 expression 3*\t(4.5+5)", "300 number 3"));
}

TEST(Extract, Strings) {
  const auto strings = only(MatchType::kString);
  EXPECT_EQ(first("The answer is B.", strings), "200 choice B");
  EXPECT_EQ(first("Final answer is C", strings), "50 choice C");
  EXPECT_EQ(first("Final answer is **C**", strings), "200 choice C") << "bold only further down";
  EXPECT_THAT(candidates("**A** or B", strings), ElementsAre("250 choice A", "300 choice B", "300 choice A"));
  EXPECT_THAT(candidates("Because b or (B)", strings), IsEmpty());
  EXPECT_THAT(candidates("A", {.match_types = {MatchType::kString}, .without_anchor = false}), IsEmpty());
}

TEST(Extract, OnlyTheLastPartOfALongTextCounts) {
  std::string text = "The answer is $7$. " + std::string(kMaxScannedBytes, ' ') + "and $8$";
  EXPECT_EQ(first(text), "300 math environment 8");
  std::string wide;
  while (wide.size() < kMaxScannedBytes + 100) wide += "\u20ac";
  EXPECT_EQ(scanned_part(wide).substr(0, 3), "\u20ac") << "cut between characters";
}

TEST(Unbox, LastBoxesOrAll) {
  EXPECT_EQ(unbox("\\boxed{1} no no no no no \\boxed{2}", false), "2");
  EXPECT_EQ(unbox("\\boxed{1} no no no no no \\boxed{2}", true), "1,2");
  EXPECT_EQ(unbox("\\boxed{1} or \\boxed{2}", false), "1,2");
  EXPECT_EQ(unbox("\\boxed{1} and then we also have \\boxed{2}", false), "1,2");
  EXPECT_EQ(unbox("\\boxed{2} and then we also have \\boxed{2}", false), "2");
  EXPECT_EQ(unbox("\\fbox{ \\frac{1}{2} } x", true), "\\frac{1}{2}");
  EXPECT_EQ(unbox("\\boxed 5", true), "5");
  EXPECT_EQ(unbox("\\boxed{5", true), "{5");
  EXPECT_EQ(unbox("no", true), "no");
}

TEST(Extract, IsLinearInWhateverText) {
  const char* pieces[]{"answer ",
                       "answer: ",
                       "final answer is ",
                       "answer \\[ ",
                       "answer\\(",
                       "$",
                       "$$",
                       "\\boxed{",
                       "\\boxed{1}",
                       "1+",
                       "1 ",
                       "1,234,",
                       "answer 1 = ",
                       "{",
                       "}",
                       " [",
                       "final answer is 1.",
                       "answer $x$ and ",
                       "1 =",
                       "\xE2\x80",
                       "=",
                       "A ",
                       "  ",
                       "answer **",
                       "\\fbox{1}",
                       "-\\frac{1}{",
                       "$\\$",
                       "1 1+1x",
                       "\\(5",
                       "\\(\\begin{a}",
                       "$\\begin{a}\n"};
  const ExtractConfig all{.match_types = {MatchType::kLatex, MatchType::kExpr, MatchType::kString}};
  const auto seconds = [&](const char* piece, size_t bytes) {
    std::string text;
    while (text.size() < bytes) text += piece;
    text += "\n\\)";
    const auto start = std::clock();
    for (const bool quirks : {true, false}) {
      Candidates source(text, all, quirks);
      for (int i = 0; i < 100; ++i) {
        if (!source.next()) break;
      }
    }
    unbox(text, true);
    unbox(text, false);
    return static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
  };
  for (const char* piece : pieces) {
    // four times the text in at most about four times the time, with room for a busy machine
    EXPECT_LT(seconds(piece, 60000), 12 * seconds(piece, 15000) + 0.02) << piece;
  }
}

}  // namespace
}  // namespace hone
