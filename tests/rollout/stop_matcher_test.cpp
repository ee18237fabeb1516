#include "rollout/stop_matcher.h"

#include <random>
#include <stdexcept>

#include <gtest/gtest.h>

namespace hone {
namespace {

// The definition: look at every prefix of the whole text for one that ends in a stop string.
std::pair<std::string, bool> slow(const std::string& text, const std::vector<std::string>& stops) {
  for (size_t end = 1; end <= text.size(); ++end) {
    size_t longest = 0;
    for (const std::string& s : stops) {
      if (text.substr(0, end).ends_with(s)) longest = std::max(longest, s.size());
    }
    if (longest) return {text.substr(0, end - longest), true};
  }
  return {text, false};
}

TEST(StopMatcher, EqualsTheDefinitionHoweverTheTextIsCut) {
  std::mt19937 random(3);
  const auto word = [&](size_t longest) {
    std::string out(1 + random() % longest, ' ');
    for (char& c : out) c = static_cast<char>('a' + random() % 3);
    return out;
  };
  int stopped = 0;
  for (int round = 0; round < 20000; ++round) {
    std::vector<std::string> stops(random() % 4);
    for (std::string& s : stops) s = word(5);
    const std::string text = word(30);
    StopMatcher matcher(stops);
    size_t shown = 0;
    for (size_t at = 0; at < text.size() && !matcher.is_stopped();) {
      const size_t n = 1 + random() % 6;
      matcher.append(text.substr(at, n));
      at += n;
      ASSERT_GE(matcher.safe(), shown) << "what was shown is never taken back";
      ASSERT_LE(matcher.safe(), matcher.text().size());
      shown = matcher.safe();
    }
    const auto [expected, is_stopped] = slow(text, stops);
    ASSERT_EQ(matcher.text(), expected) << text;
    ASSERT_EQ(matcher.is_stopped(), is_stopped);
    stopped += is_stopped;
  }
  EXPECT_GT(stopped, 5000);
  EXPECT_LT(stopped, 19000);
}

TEST(StopMatcher, HoldsBackOnlyWhatMayBecomeAStopString) {
  StopMatcher matcher({"</answer>", "User:"});
  EXPECT_FALSE(matcher.append("4</ans"));
  EXPECT_EQ(matcher.safe(), 1u);
  EXPECT_FALSE(matcher.append("x Us"));
  EXPECT_EQ(matcher.safe(), 8u);
  EXPECT_TRUE(matcher.append("er: hi"));
  EXPECT_EQ(matcher.text(), "4</ansx ");
  EXPECT_TRUE(matcher.append("more")) << "nothing is added behind the end";
  EXPECT_EQ(matcher.text(), "4</ansx ");
}

TEST(StopMatcher, WithoutStopStringsEverythingIsSafe) {
  StopMatcher matcher({});
  EXPECT_FALSE(matcher.append("abc"));
  EXPECT_EQ(matcher.safe(), 3u);
  EXPECT_THROW(StopMatcher({"a", ""}), std::invalid_argument);
}

}  // namespace
}  // namespace hone
