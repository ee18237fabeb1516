// Finds stop strings in text that comes in pieces.
//
//   StopMatcher stop({"</answer>", "User:"});
//   stop.append("4</ans");  // false; stop.safe() == 1: "</ans" may yet become a stop string
//   stop.append("wer> ok"); // true; stop.text() == "4"
//
// The stop string whose last byte comes first ends the text (of several that end there, the one that begins first), so
// the result does not depend on how the text was cut. The text ends before it, as OpenAI's API has it. No torch.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace hone {

class StopMatcher {
 public:
  /// Throws std::invalid_argument for an empty stop string.
  explicit StopMatcher(std::vector<std::string> stops);

  /// Adds text; true once a stop string is complete. Text after it is dropped.
  bool append(std::string_view piece);
  bool is_stopped() const { return is_stopped_; }
  /// All text so far, without the stop string and what followed it.
  const std::string& text() const { return text_; }
  /// How many bytes of text() no stop string can take back: what a stream may show. All of it after the last piece.
  size_t safe() const;

 private:
  std::vector<std::string> stops_;
  size_t longest_ = 0;
  std::string text_;
  bool is_stopped_ = false;
};

}  // namespace hone
