#include "rewards/format.h"

#include <array>

#include <fmt/core.h>

namespace hone {
namespace {

constexpr std::array<std::string_view, 4> kTags{"<think>", "</think>", "<answer>", "</answer>"};
constexpr size_t kExcerptBytes = 80;

/// Removes `token` from the front of `text`; false when it is not there.
bool eat(std::string_view& text, std::string_view token) {
  if (!text.starts_with(token)) return false;
  text.remove_prefix(token.size());
  return true;
}

/// Removes and returns what stands before the first of the four tags.
std::string_view eat_until_tag(std::string_view& text) {
  size_t end = text.find('<');
  const auto tag_at = [&](size_t at) {
    for (const auto tag : kTags) {
      if (text.substr(at).starts_with(tag)) return true;
    }
    return false;
  };
  while (end != std::string_view::npos && !tag_at(end)) end = text.find('<', end + 1);
  const auto content = text.substr(0, end);
  text.remove_prefix(content.size());
  return content;
}

FormatMatch problem(std::string sentence) { return {false, {}, {}, std::move(sentence)}; }

FormatMatch expected(std::string_view wanted, std::string_view place, std::string_view rest) {
  if (rest.empty()) return problem(fmt::format("ends where {} is expected {}", wanted, place));
  return problem(fmt::format("'{}' stands where {} is expected {}", excerpt(rest), wanted, place));
}

FormatMatch match_text(std::string_view rest) {
  FormatMatch match{true, {}, {}, {}};
  if (!eat(rest, "<think>")) return expected("<think>", "at the start", rest);
  match.think = eat_until_tag(rest);
  if (!eat(rest, "</think>")) return expected("</think>", "after the thoughts", rest);
  if (!eat(rest, "<answer>")) return expected("<answer>", "directly after </think>", rest);
  match.answer = eat_until_tag(rest);
  if (match.answer.empty()) return expected("an answer", "after <answer>", rest);
  if (!eat(rest, "</answer>")) return expected("</answer>", "after the answer", rest);
  if (!rest.empty())
    return problem(fmt::format("'{}' follows </answer>, where the completion must end", excerpt(rest)));
  return match;
}

Score score_format(const Rollout& rollout) {
  const auto match = match_format(rollout.text, rollout.finish_reason);
  return match.ok ? Score::correct("has the exact format and the end token") : Score::wrong(match.problem);
}

Score score_think_format(std::string_view text) {
  if (!text.starts_with("<think>")) return Score::wrong(expected("<think>", "at the start", text).problem);
  if (text.find("<think>", 1) != std::string_view::npos) return Score::wrong("opens <think> twice");
  if (text.find("</think>") == std::string_view::npos) return Score::wrong("never closes <think>");
  return Score::correct("begins with <think> .. </think>");
}

}  // namespace

FormatMatch match_format(std::string_view completion, FinishReason reason) {
  if (reason == FinishReason::kLength) return problem("cut at the length limit, without an end token");
  if (reason == FinishReason::kStop) return problem("stopped by a stop string, without an end token");
  return match_text(completion);
}

RewardFn format_reward() {
  return [](const Prompt&, std::span<const Rollout> rollouts) {
    std::vector<Score> scores;
    for (const auto& rollout : rollouts) scores.push_back(score_format(rollout));
    return scores;
  };
}

RewardFn think_format_reward() {
  return [](const Prompt&, std::span<const Rollout> rollouts) {
    std::vector<Score> scores;
    for (const auto& rollout : rollouts) scores.push_back(score_think_format(rollout.text));
    return scores;
  };
}

std::string excerpt(std::string_view text) {
  std::string shown;
  for (const char c : text.substr(0, kExcerptBytes)) {
    const auto byte = static_cast<unsigned char>(c);
    shown += c == '\n' || c == '\t' || c == '\r' ? ' ' : byte < 32 || byte > 126 ? '?' : c;
  }
  return text.size() > kExcerptBytes ? shown + ".." : shown;
}

}  // namespace hone
