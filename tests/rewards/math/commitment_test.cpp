#include "rewards/math/commitment.h"

#include <string>

#include <gtest/gtest.h>

namespace hone {
namespace {

std::string part_of(const std::string& text, const TaskFlags& flags = {}) {
  const auto part = answer_part(text, flags);
  return part.problem.empty() ? std::string(part.text) : "! " + part.problem;
}

/// The objection to the first candidate of a text.
Objection first_objection(const std::string& text) {
  const ExtractConfig config;
  Candidates candidates(text, config, /*quirks=*/false);
  const auto candidate = candidates.next();
  return candidate ? objection(text, *candidate) : Objection{"no candidate"};
}

TEST(Commitment, AnswersStandAfterTheThoughts) {
  EXPECT_EQ(part_of("<think>a</think>b"), "b");
  EXPECT_EQ(part_of("a</think>b</think>c"), "c");
  EXPECT_EQ(part_of("no tags"), "no tags");
  EXPECT_EQ(part_of("<think>a"), "! never leaves <think>, so there is no answer");
  EXPECT_EQ(part_of("a<|im_end|>b"), "a");
  EXPECT_EQ(part_of("</think>x <answer>5</answer> y <answer>6</answer>"), "5");
  EXPECT_EQ(part_of("x <answer>5"), "5");
  EXPECT_EQ(part_of("<answer>5</answer> y", {.stop_at_answer_end = false}), "5</answer> y");
  EXPECT_EQ(part_of("a", {.box_after_think = true}), "! has no </think>, after which the box must stand");
}

TEST(Commitment, Boxes) {
  EXPECT_EQ(box_problem("a \\boxed{5}", {}), "");
  EXPECT_EQ(box_problem("a", {}), "");
  EXPECT_NE(box_problem("\\boxed{5} \\boxed{}", {}), "");
  EXPECT_NE(box_problem("a", {.require_box = true}), "");
  EXPECT_NE(box_problem("\\boxed{4} then \\boxed{5}", {.require_box = true}), "");
  EXPECT_EQ(box_problem("\\boxed{5} then \\boxed{5}", {.require_box = true}), "");
  EXPECT_EQ(joined_alternatives("\\boxed{5} or, who knows, $\\boxed{6}$"), "5,6");
  EXPECT_EQ(joined_alternatives("\\boxed{4}, \\boxed{5}, \\boxed{6}"), "4,5,6");
  EXPECT_EQ(joined_alternatives("\\boxed{5} for the first, so in the end $\\boxed{6}$"), "") << "'for' is not 'or'";
  EXPECT_EQ(joined_alternatives("\\boxed{5} or something else? Let me see.\n\n**Final answer:** $\\boxed{6}$"), "");
  EXPECT_EQ(joined_alternatives("\\boxed{5}. Or it may well be \\boxed{6}"), "5,6");
  EXPECT_EQ(joined_alternatives("\\boxed{5} or this one. $\\boxed{6}$"), "5,6");
  EXPECT_EQ(joined_alternatives("\\boxed{5} \\boxed{5}"), "");
  EXPECT_EQ(joined_alternatives("\\boxed{\\frac{1}{2}}"), "");
}

TEST(Commitment, Objections) {
  for (const char* fine : {"It is 5.",
                           "x = 5",
                           "x => 5",
                           "-> 5",
                           "#### 5",
                           "there are 12 of them, so 5",
                           "<b> 5</b>",
                           "2 and then $5$",
                           "It is **5**",
                           "sum: 3+4 = 7",
                           "a total of $5$ dollars",
                           "To find it: 5",
                           "You need at least 5.",
                           "It is 5, but who knows",
                           "I don't think it is 4, so 5",
                           "No doubt it is 5",
                           "1, 2, ...\n\n$5$",
                           "5 km",
                           "5m",
                           "5 - which is odd",
                           "5-year-old",
                           "Cost: 5",
                           "n = 5",
                           "2 + 3 = 5",
                           "- 5",
                           "Team b - 5"}) {
    EXPECT_EQ(first_objection(fine).reason, "") << fine;
  }
  for (const char* bad : {"x > 5",
                          "x \\ge $5$",
                          "\u2264 5",
                          "x != 5",
                          "\u00b1 5",
                          "4 or 5",
                          "4 or $5$",
                          "1, 2, 3",
                          "1 to 5",
                          "from 1 through 5",
                          "The answer is $4$; 5 is not",
                          "What is $5$",
                          "Compute $5$.",
                          "is it 5?",
                          "x is at least 5",
                          "more than 5",
                          "minus 5",
                          "x = 4 or x = 5",
                          "4, maybe 5",
                          "3 4 5",
                          "Is the answer 5?",
                          "it is 5x",
                          "it is 5\u00b2",
                          "it is 5\u221a2",
                          "it is 5 - y",
                          "it is 5/6?",
                          "it is 5:30",
                          "it is 5+",
                          "it is 5 per cent",
                          "6.02e3",
                          "n + 5",
                          "log 5",
                          "the square root of 5",
                          "2x = 5",
                          "x\u00b2 = 5",
                          "5!"}) {
    EXPECT_NE(first_objection(bad).reason, "") << bad;
    EXPECT_FALSE(first_objection(bad).denied) << bad;
  }
  for (const char* denied :
       {"not 5", "It is not $5$", "it isn't **5**", "cannot be 5", "not equal to \\(5\\)", "rather than 5",
        "5 is wrong", "$5$ isn't it", "anything but 5", "The wrong answer is 5", "The answer is 5, but it should be 6",
        "I don't think it is 5", "It is not the case that it is $5$"}) {
    EXPECT_TRUE(first_objection(denied).denied) << denied;
  }
}

}  // namespace
}  // namespace hone
