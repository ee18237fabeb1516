// The pre-tokenizer of a tokenizer.json: a text without added tokens to the pieces that the model turns into ids. Reads
// null, Split (every behavior), ByteLevel, Digits, Metaspace, Whitespace, WhitespaceSplit, CharDelimiterSplit,
// FixedLength, Sequence.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

namespace hone::text {

struct Piece {
  std::string_view text;     ///< not empty; lives as long as the call that hands it over
  bool begins_text = false;  ///< it stands where the user's text begins
};
using PieceSink = std::function<void(Piece)>;

/// One step: a piece to smaller or other pieces, from left to right.
class PreTokenizerStep {
 public:
  virtual ~PreTokenizerStep() = default;
  virtual void split(Piece piece, const PieceSink& sink) const = 0;
};

/// Immutable; any thread may call it.
class PreTokenizer {
 public:
  PreTokenizer() = default;
  PreTokenizer(const nlohmann::json& object, const std::string& place);

  /// Whether the last step writes bytes as the characters of GPT-2's alphabet.
  bool ends_in_byte_level() const { return byte_level_ != nullptr; }
  /// Lets that step hand over the bytes themselves, for a model that knows them. REQUIRES: ends_in_byte_level().
  void leave_bytes();

  void split(Piece piece, const PieceSink& sink) const { run(0, piece, sink); }

 private:
  void read(const nlohmann::json& object, const std::string& place, int depth);
  void run(size_t step, Piece piece, const PieceSink& sink) const;

  std::vector<std::shared_ptr<PreTokenizerStep>> steps_;
  class ByteLevel* byte_level_ = nullptr;  // the last step, when it is one
};

}  // namespace hone::text
