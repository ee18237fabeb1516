#include "rewards/code_block.h"

#include <algorithm>
#include <array>
#include <vector>

#include "rewards/answer.h"

namespace hone {
namespace {

struct Fence {
  size_t length = 0;  ///< 0: the line is none
  char mark = '`';
  std::string_view tag;  ///< what stands behind it
};

Fence fence_of(std::string_view line) {
  line = trim(line);
  if (line.empty() || (line[0] != '`' && line[0] != '~')) return {};
  const char mark = line[0];
  const size_t length = std::min(line.find_first_not_of(mark), line.size());
  const std::string_view tag = trim(line.substr(length));
  if (length < 3 || tag.find(mark) != std::string_view::npos) return {};
  return {length, mark, tag};
}

bool closes(const Fence& fence, const Fence& open) {
  return fence.mark == open.mark && fence.length >= open.length && fence.tag.empty();
}

struct Blocks {
  std::vector<CodeBlock> closed;
  std::optional<CodeBlock> open;  ///< reaches to the end of the text
};

Blocks fenced_blocks(std::string_view text) {
  Blocks blocks;
  Fence open;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size() - 1);
    const std::string_view line = text.substr(at, end + 1 - at);
    at = end + 1;
    const Fence fence = fence_of(line);
    if (!blocks.open) {
      if (fence.length == 0) continue;
      open = fence;
      blocks.open = CodeBlock{"", language_named(fence.tag.substr(0, fence.tag.find_first_of(" \t{:,")))};
    } else if (fence.length > 0 && closes(fence, open)) {
      blocks.closed.push_back(*std::exchange(blocks.open, std::nullopt));
    } else {
      blocks.open->text += line;
    }
  }
  return blocks;
}

const CodeBlock& best_of(const std::vector<CodeBlock>& blocks, std::optional<sandbox::Language> wanted) {
  const auto last = [&](auto fits) { return std::find_if(blocks.rbegin(), blocks.rend(), fits); };
  auto found = last([&](const CodeBlock& b) { return b.language && (!wanted || b.language == wanted); });
  if (found == blocks.rend()) found = last([](const CodeBlock& b) { return !b.language; });
  return found == blocks.rend() ? blocks.back() : *found;
}

std::string_view after_thoughts(std::string_view completion) {
  constexpr std::string_view kEnd = "</think>";
  const size_t at = completion.rfind(kEnd);
  return at == std::string_view::npos ? completion : completion.substr(at + kEnd.size());
}

bool is_indented(std::string_view line) { return line.starts_with(' ') || line.starts_with('\t'); }

/// What begins indented goes on with the prompt's function, and ends where that does.
std::string_view without_what_follows(std::string_view text) {
  const size_t first = text.find_first_not_of("\r\n");
  if (first == std::string_view::npos || !is_indented(text.substr(first))) return text;
  for (size_t at = text.find('\n', first); at != std::string_view::npos; at = text.find('\n', at + 1)) {
    const std::string_view rest = text.substr(at + 1);
    if (!rest.empty() && !is_indented(rest) && rest[0] != '\n' && rest[0] != '\r') return text.substr(0, at + 1);
  }
  return text;
}

}  // namespace

std::optional<sandbox::Language> language_named(std::string_view tag) {
  std::string name(tag);
  std::ranges::transform(name, name.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c; });
  constexpr std::array<std::string_view, 3> kPython{"python", "py", "python3"}, kCpp{"cpp", "c++", "cc"};
  if (std::ranges::find(kPython, name) != kPython.end()) return sandbox::Language::kPython;
  if (std::ranges::find(kCpp, name) != kCpp.end()) return sandbox::Language::kCpp;
  return {};
}

std::optional<CodeBlock> find_code(std::string_view completion, FinishReason reason,
                                   std::optional<sandbox::Language> wanted) {
  const std::string_view text = after_thoughts(completion);
  Blocks blocks = fenced_blocks(text);
  if (blocks.open) {
    if (reason == FinishReason::kLength) return {};
    blocks.closed.push_back(std::move(*blocks.open));
  }
  if (!blocks.closed.empty()) return best_of(blocks.closed, wanted);
  const auto answers = answer_blocks(text);
  const std::string_view program = answers.empty() ? without_what_follows(text) : answers.back();
  if (trim(program).empty()) return {};
  return CodeBlock{std::string(program), {}};
}

}  // namespace hone
