// The decoder of a tokenizer.json: tokens back to text, one token at a time. Reads null, ByteLevel, ByteFallback, Fuse,
// Metaspace, Replace, Strip, Sequence.
//
// There is one implementation for a whole text and for a stream: a chain of stages through which each token goes as far
// as it can. A stage hands on only what no later token can change, and whole UTF-8 characters only.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "models/tokenizer_regex.h"

namespace hone::text {

/// A part of a token between two stages: stages that join tokens hand one token on in many parts.
struct TokenPart {
  std::string_view text;
  bool begins = true, ends = true;  ///< of the token
};
using PartSink = std::function<void(TokenPart)>;

/// Collects the parts of a token, for stages that need to see all of it.
class WholeToken {
 public:
  /// Whether `part` ends the token; it is then all of it, until the next call.
  bool complete(TokenPart& part);

 private:
  std::string text_;
};

/// Without a decoder tokens are joined by blanks.
struct JoinStage {
  bool begun = false;
  void feed(TokenPart part, const PartSink& sink);
  void finish(const PartSink&) {}
  std::string bytes(std::string token) const { return token; }
};
/// All tokens become one.
struct FuseStage {
  bool begun = false;
  void feed(TokenPart part, const PartSink& sink);
  void finish(const PartSink& sink);
  std::string bytes(std::string token) const { return token; }
};
/// Characters of GPT-2's alphabet to bytes, these as one token of UTF-8 with U+FFFD for what is none.
struct ByteLevelStage {
  WholeToken whole;
  std::string pending;  // bytes of a character that is not complete
  FuseStage fuse;
  void feed(TokenPart part, const PartSink& sink);
  void finish(const PartSink& sink);
  std::string bytes(std::string token) const;
};
/// A run of tokens like <0xE2> to the text of these bytes, or to one U+FFFD each when they are no UTF-8.
struct ByteFallbackStage {
  WholeToken whole;
  std::string run;
  void feed(TokenPart part, const PartSink& sink);
  void finish(const PartSink& sink);
  std::string bytes(std::string token) const;
};
/// The mark to blanks; in the first token it is left out, unless no mark was put in front.
struct MetaspaceStage {
  std::string mark;
  bool drops_first = true;
  size_t begun = 0;
  void feed(TokenPart part, const PartSink& sink);
  void finish(const PartSink&) {}
  std::string bytes(std::string token) const;
};
struct ReplaceStage {
  TokenizerRegex pattern;
  std::string content;
  WholeToken whole;
  void feed(TokenPart part, const PartSink& sink);
  void finish(const PartSink&) {}
  std::string bytes(std::string token) const;
};
/// Takes up to `start` and `stop` times `content` from the ends of each token.
struct StripStage {
  std::string content;
  size_t start = 0, stop = 0;
  size_t left = 0;  // how many may still be taken from the front of this token
  WholeToken whole;
  void feed(TokenPart part, const PartSink& sink);
  void finish(const PartSink&) {}
  std::string bytes(std::string token) const { return token; }
};

/// A copy of one that has been fed nothing begins a new text.
class Decoder {
 public:
  Decoder() = default;
  Decoder(const nlohmann::json& object, const std::string& place);

  /// What `token` settles of the text. REQUIRES: valid UTF-8.
  std::string feed(std::string_view token);
  /// The rest of the text. Nothing may be fed afterwards.
  std::string finish();
  /// The bytes that a token in the middle of a text stands for.
  std::string bytes(std::string token) const;

 private:
  using Stage =
      std::variant<JoinStage, FuseStage, ByteLevelStage, ByteFallbackStage, MetaspaceStage, ReplaceStage, StripStage>;
  static Stage read_stage(const nlohmann::json& object, const std::string& place);
  void read(const nlohmann::json& object, const std::string& place, int depth);
  void pass(size_t stage, TokenPart part, std::string& out);

  std::vector<Stage> stages_;
};

}  // namespace hone::text
