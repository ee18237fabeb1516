#include <algorithm>
#include <vector>

#include "rewards/math/extract.h"
#include "rewards/math/scan.h"

namespace hone {
namespace {

constexpr size_t kNone = std::string_view::npos;
constexpr std::string_view kBoxed = "\\boxed", kFbox = "\\fbox";

std::string_view stripped(std::string_view text) {
  const size_t begin = skip_space(text, 0);
  size_t end = text.size();
  while (end > begin) {
    const size_t last = previous_char(text, end);
    if (space_at(text, last) == 0) break;
    end = last;
  }
  return text.substr(begin, end - begin);
}

/// Where the group that opens at `open` closes before `end`; npos when it does not.
size_t closing_brace(std::string_view text, size_t open, size_t end) {
  size_t depth = 0;
  for (size_t i = open; i < end; ++i) {
    if (text[i] == '{') ++depth;
    if (text[i] == '}' && --depth == 0) return i;
  }
  return kNone;
}

bool is_word_char(char c) {
  return is_ascii_digit(c) || (ascii_lower(c) >= 'a' && ascii_lower(c) <= 'z') || c == '_' ||
         static_cast<unsigned char>(c) >= 0x80;
}

bool has_whole_word(std::string_view text, std::string_view word) {
  for (size_t at = text.find(word); at != kNone; at = text.find(word, at + 1)) {
    const size_t end = at + word.size();
    if ((at == 0 || !is_word_char(text[at - 1])) && (end == text.size() || !is_word_char(text[end]))) return true;
  }
  return false;
}

bool has_separator(std::string_view text) {
  return text.find_first_of(",;") != kNone || has_whole_word(text, "and") || has_whole_word(text, "or");
}

/// Whether a box belongs to the answer together with the box that follows it.
bool belongs(std::string_view box, std::string_view next_box, std::string_view between) {
  constexpr size_t kClose = 10, kNear = 70;
  const size_t distance = count_chars(between.substr(0, 4 * kNear));
  return distance < kClose || (box != next_box && distance < kNear && has_separator(between));
}

/// The last \boxed or \fbox that ends before a position, from right to left. Each is looked for once.
class BoxesFromRight {
 public:
  explicit BoxesFromRight(std::string_view text) : text_(text) {}

  struct Command {
    size_t begin = kNone, end = kNone;
  };
  Command last_before(size_t end) {
    const size_t boxed = last(kBoxed, boxed_, end), fbox = last(kFbox, fbox_, end);
    if (boxed == kNone && fbox == kNone) return {};
    const bool is_boxed = fbox == kNone || (boxed != kNone && boxed > fbox);
    return is_boxed ? Command{boxed, boxed + kBoxed.size()} : Command{fbox, fbox + kFbox.size()};
  }

 private:
  struct Known {
    size_t at = 0;
    bool searched = false;
  };
  size_t last(std::string_view command, Known& known, size_t end) {
    if (!known.searched || (known.at != kNone && known.at + command.size() > end)) {
      known = {end < command.size() ? kNone : text_.rfind(command, end - command.size()), true};
    }
    return known.at;
  }
  std::string_view text_;
  Known boxed_, fbox_;
};

std::vector<std::string_view> boxes_from_right(std::string_view text, bool all) {
  std::vector<std::string_view> found;
  BoxesFromRight commands(text);
  size_t end = text.size(), later_begin = kNone;
  for (auto command = commands.last_before(end); command.begin != kNone; command = commands.last_before(end)) {
    const size_t open = skip_space(text.substr(0, end), command.end);
    if (open >= end) break;
    const size_t close = text[open] == '{' ? closing_brace(text, open, end) : kNone;
    if (close == kNone) {  // not closed: what follows, but only for the last box
      if (found.empty()) found.push_back(text.substr(open));
      break;
    }
    const auto box = stripped(text.substr(open + 1, close - open - 1));
    const auto next_box = found.empty() ? std::string_view() : found.back();
    if (!all && later_begin != kNone) {
      if (!belongs(box, next_box, text.substr(close + 1, later_begin - close - 1))) break;
    }
    if (found.empty() || next_box != box) found.push_back(box);
    end = later_begin = command.begin;
  }
  return found;
}

}  // namespace

std::string unbox(std::string_view text, bool all) {
  if (text.find("box") == kNone) return std::string(text);
  const auto boxes = boxes_from_right(text, all);
  if (boxes.empty()) return std::string(text);
  std::string joined(boxes.back());
  for (size_t i = boxes.size() - 1; i-- > 0;) {
    joined += ',';
    joined += boxes[i];
  }
  return joined;
}

}  // namespace hone
