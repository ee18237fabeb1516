#include "models/text/pre_tokenizer.h"

#include <algorithm>
#include <concepts>
#include <optional>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "models/text/json_fields.h"
#include "models/text/pattern.h"
#include "models/text/unicode.h"

namespace hone::text {
namespace {

using nlohmann::json;

constexpr std::string_view kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

enum class Behavior { kRemoved, kIsolated, kMergedWithPrevious, kMergedWithNext, kContiguous };

Behavior read_behavior(const json& object, const std::string& place) {
  const std::string word = text_member(object, "behavior", place);
  if (word == "Removed") return Behavior::kRemoved;
  if (word == "Isolated") return Behavior::kIsolated;
  if (word == "MergedWithPrevious") return Behavior::kMergedWithPrevious;
  if (word == "MergedWithNext") return Behavior::kMergedWithNext;
  if (word == "Contiguous") return Behavior::kContiguous;
  refuse(place, fmt::format("the behavior {} is unknown; it is Removed, Isolated, MergedWithPrevious, MergedWithNext "
                            "or Contiguous",
                            excerpt(word)));
}

/// A stretch of the text that the pattern matched, or one between two matches.
struct Stretch {
  size_t begin, end;
  bool is_match;
};

/// A match joins the stretch before it; the second of two matches in a row begins a piece of its own.
std::vector<Stretch> merged_with_previous(const std::vector<Stretch>& parts) {
  std::vector<Stretch> merged;
  bool after_match = false;
  for (const Stretch& part : parts) {
    if (part.is_match && !after_match && !merged.empty()) {
      merged.back().end = part.end;
    } else {
      merged.push_back(part);
    }
    after_match = part.is_match;
  }
  return merged;
}

std::vector<Stretch> merged_with_next(const std::vector<Stretch>& parts) {
  std::vector<Stretch> merged;  // from right to left
  bool after_match = false;
  for (auto part = parts.rbegin(); part != parts.rend(); ++part) {
    if (part->is_match && !after_match && !merged.empty()) {
      merged.back().begin = part->begin;
    } else {
      merged.push_back(*part);
    }
    after_match = part->is_match;
  }
  std::reverse(merged.begin(), merged.end());
  return merged;
}

std::vector<Stretch> contiguous(const std::vector<Stretch>& parts) {
  std::vector<Stretch> merged;
  for (const Stretch& part : parts) {
    if (!merged.empty() && merged.back().is_match == part.is_match) {
      merged.back().end = part.end;
    } else {
      merged.push_back(part);
    }
  }
  return merged;
}

std::vector<Stretch> merged(Behavior behavior, std::vector<Stretch> parts) {
  switch (behavior) {
    case Behavior::kMergedWithPrevious:
      return merged_with_previous(parts);
    case Behavior::kMergedWithNext:
      return merged_with_next(parts);
    case Behavior::kContiguous:
      return contiguous(parts);
    default:
      return parts;
  }
}

/// Hands stretches over as pieces, at once where the behavior allows it.
class Splitter {
 public:
  Splitter(Piece piece, Behavior behavior, bool invert, const PieceSink& sink)
      : piece_(piece), behavior_(behavior), invert_(invert), sink_(sink) {}

  /// The next match. REQUIRES: not before the last one.
  void match(size_t begin, size_t end) {
    if (begin != done_) add({done_, begin, invert_});
    add({begin, end, !invert_});
    done_ = end;
  }
  void finish() {
    if (done_ != piece_.text.size()) add({done_, piece_.text.size(), invert_});
    for (const Stretch& part : merged(behavior_, std::move(kept_))) emit(part);
  }

 private:
  void add(Stretch part) {
    if (behavior_ == Behavior::kIsolated) return emit(part);
    if (behavior_ != Behavior::kRemoved) return kept_.push_back(part);
    if (!part.is_match) emit(part);
  }
  void emit(Stretch part) {
    if (part.begin == part.end) return;
    sink_({piece_.text.substr(part.begin, part.end - part.begin), piece_.begins_text && part.begin == 0});
  }

  Piece piece_;
  Behavior behavior_;
  bool invert_;
  const PieceSink& sink_;
  size_t done_ = 0;
  std::vector<Stretch> kept_;
};

class Split final : public PreTokenizerStep {
 public:
  Split(TokenizerRegex pattern, Behavior behavior, bool invert)
      : pattern_(std::move(pattern)), behavior_(behavior), invert_(invert) {}

  void split(Piece piece, const PieceSink& sink) const override {
    Splitter splitter(piece, behavior_, invert_, sink);
    pattern_.for_each(piece.text, [&](size_t begin, size_t end) { splitter.match(begin, end); });
    splitter.finish();
  }

 private:
  TokenizerRegex pattern_;
  Behavior behavior_;
  bool invert_;
};

/// Every character for which `test` holds is a match of its own.
template <std::predicate<char32_t> Test>
class CharacterSplit final : public PreTokenizerStep {
 public:
  CharacterSplit(Behavior behavior, Test test) : behavior_(behavior), test_(std::move(test)) {}

  void split(Piece piece, const PieceSink& sink) const override {
    Splitter splitter(piece, behavior_, false, sink);
    for (size_t at = 0; at < piece.text.size();) {
      const size_t next = at + character_size(piece.text[at]);
      if (test_(code_point(piece.text.substr(at)))) splitter.match(at, next);
      at = next;
    }
    splitter.finish();
  }

 private:
  Behavior behavior_;
  Test test_;
};

template <std::predicate<char32_t> Test>
std::shared_ptr<PreTokenizerStep> split_at(Behavior behavior, Test test) {
  return std::make_shared<CharacterSplit<Test>>(behavior, std::move(test));
}

/// Words and runs of other characters, without the white space between them: \w+|[^\w\s]+.
class Whitespace final : public PreTokenizerStep {
 public:
  void split(Piece piece, const PieceSink& sink) const override {
    Kind kind = Kind::kSpace;
    size_t begin = 0;
    const auto end_run = [&](size_t end, Kind next) {
      if (kind != Kind::kSpace) sink({piece.text.substr(begin, end - begin), piece.begins_text && begin == 0});
      begin = end;
      kind = next;
    };
    for (size_t at = 0; at < piece.text.size(); at += character_size(piece.text[at])) {
      const Kind next = kind_of(code_point(piece.text.substr(at)));
      if (next != kind) end_run(at, next);
    }
    end_run(piece.text.size(), Kind::kSpace);
  }

 private:
  enum class Kind { kSpace, kWord, kOther };
  static Kind kind_of(char32_t c) { return is_word(c) ? Kind::kWord : is_white_space(c) ? Kind::kSpace : Kind::kOther; }
};

class FixedLength final : public PreTokenizerStep {
 public:
  explicit FixedLength(size_t length) : length_(length) {}

  void split(Piece piece, const PieceSink& sink) const override {
    for (size_t begin = 0, end = 0; begin < piece.text.size(); begin = end) {
      for (size_t i = 0; i < length_ && end < piece.text.size(); ++i) end += character_size(piece.text[end]);
      sink({piece.text.substr(begin, end - begin), piece.begins_text && begin == 0});
    }
  }

 private:
  size_t length_;
};

enum class Prepend { kAlways, kFirst, kNever };

/// Writes blanks as a visible character, puts one in front, splits before each.
class Metaspace final : public PreTokenizerStep {
 public:
  Metaspace(char32_t replacement, Prepend prepend, bool splits) : prepend_(prepend), splits_(splits) {
    append_utf8(mark_, replacement);
  }

  void split(Piece piece, const PieceSink& sink) const override {
    const std::string marked = with_marks(piece);
    const Piece all = {marked, piece.begins_text};
    if (!splits_) return sink(all);
    Splitter splitter(all, Behavior::kMergedWithNext, false, sink);
    for (size_t at = marked.find(mark_); at != std::string::npos; at = marked.find(mark_, at + mark_.size())) {
      splitter.match(at, at + mark_.size());
    }
    splitter.finish();
  }

 private:
  std::string with_marks(Piece piece) const {
    std::string marked;
    for (const char c : piece.text) {
      if (c == ' ') {
        marked += mark_;
      } else {
        marked += c;
      }
    }
    const bool prepends = prepend_ == Prepend::kAlways || (prepend_ == Prepend::kFirst && piece.begins_text);
    return prepends && !marked.starts_with(mark_) ? mark_ + marked : marked;
  }

  std::string mark_;
  Prepend prepend_;
  bool splits_;
};

std::shared_ptr<PreTokenizerStep> read_metaspace(const json& object, const std::string& place) {
  const std::string scheme = optional_text_member(object, "prepend_scheme", place);
  if (!scheme.empty() && scheme != "always" && scheme != "first" && scheme != "never") {
    refuse(place, fmt::format("the prepend_scheme {} is unknown; it is always, first or never", excerpt(scheme)));
  }
  if (!flag_member(object, "add_prefix_space", true, place) && scheme != "never") {
    refuse(place, "add_prefix_space false contradicts the prepend_scheme; set prepend_scheme to never");
  }
  const Prepend prepend = scheme == "never" ? Prepend::kNever : scheme == "first" ? Prepend::kFirst : Prepend::kAlways;
  return std::make_shared<Metaspace>(character_member(object, "replacement", place), prepend,
                                     flag_member(object, "split", true, place));
}

std::shared_ptr<PreTokenizerStep> read_split(const json& object, const std::string& place) {
  return std::make_shared<Split>(read_pattern(object, place), read_behavior(object, place),
                                 flag_member(object, "invert", false, place));
}

std::shared_ptr<PreTokenizerStep> read_digits(const json& object, const std::string& place) {
  const bool individual = flag_member(object, "individual_digits", place);
  return split_at(individual ? Behavior::kIsolated : Behavior::kContiguous, is_numeric);
}

std::shared_ptr<PreTokenizerStep> read_fixed_length(const json& object, const std::string& place) {
  const size_t length = count_member(object, "length", place);
  if (length == 0) refuse(place, "length must be at least 1");
  return std::make_shared<FixedLength>(length);
}

std::shared_ptr<PreTokenizerStep> read_step(const json& object, const std::string& place) {
  const std::string type = text_member(object, "type", place);
  if (type == "Split") return read_split(object, place);
  if (type == "Digits") return read_digits(object, place);
  if (type == "Metaspace") return read_metaspace(object, place);
  if (type == "Whitespace") return std::make_shared<Whitespace>();
  if (type == "WhitespaceSplit") return split_at(Behavior::kRemoved, is_white_space);
  if (type == "FixedLength") return read_fixed_length(object, place);
  if (type == "CharDelimiterSplit") {
    const char32_t delimiter = character_member(object, "delimiter", place);
    return split_at(Behavior::kRemoved, [delimiter](char32_t c) { return c == delimiter; });
  }
  refuse_type(place, type,
              "Split, ByteLevel, Digits, Metaspace, Whitespace, WhitespaceSplit, CharDelimiterSplit, FixedLength, "
              "Sequence, null");
}

}  // namespace

/// Splits as GPT-2 does, then writes every byte as a character.
class ByteLevel final : public PreTokenizerStep {
 public:
  ByteLevel(const json& object, const std::string& place)
      : adds_space_(flag_member(object, "add_prefix_space", place)) {
    if (flag_member(object, "use_regex", true, place)) pattern_.emplace(kGpt2Pattern);
  }

  void split(Piece piece, const PieceSink& sink) const override {
    std::string spaced;
    if (adds_space_ && !piece.text.starts_with(' ')) {
      spaced = " " + std::string(piece.text);
      piece.text = spaced;
    }
    if (!pattern_) return emit(piece, sink);
    const PieceSink with_characters = [&](Piece p) { emit(p, sink); };
    Splitter splitter(piece, Behavior::kIsolated, false, leaves_bytes_ ? sink : with_characters);
    pattern_->for_each(piece.text, [&](size_t begin, size_t end) { splitter.match(begin, end); });
    splitter.finish();
  }

  void leave_bytes() { leaves_bytes_ = true; }

 private:
  void emit(Piece piece, const PieceSink& sink) const {
    if (leaves_bytes_) return sink(piece);
    const std::string characters = to_byte_characters(piece.text);
    sink({characters, piece.begins_text});
  }

  bool adds_space_;
  bool leaves_bytes_ = false;
  std::optional<TokenizerRegex> pattern_;
};

PreTokenizer::PreTokenizer(const json& object, const std::string& place) {
  if (!object.is_null()) read(object, place, 0);
}

void PreTokenizer::read(const json& object, const std::string& place, int depth) {
  const std::string type = text_member(object, "type", place);
  if (type == "Sequence") {
    return for_each_part(object, "pretokenizers", place, depth,
                         [&](const json& part, const std::string& where) { read(part, where, depth + 1); });
  }
  byte_level_ = nullptr;
  if (type == "ByteLevel") {
    const auto step = std::make_shared<ByteLevel>(object, place);
    byte_level_ = step.get();
    steps_.push_back(step);
  } else {
    steps_.push_back(read_step(object, place));
  }
}

void PreTokenizer::leave_bytes() { byte_level_->leave_bytes(); }

void PreTokenizer::run(size_t step, Piece piece, const PieceSink& sink) const {
  if (piece.text.empty()) return;
  if (step == steps_.size()) return sink(piece);
  if (step + 1 == steps_.size()) return steps_[step]->split(piece, sink);
  steps_[step]->split(piece, [&](Piece part) { run(step + 1, part, sink); });
}

}  // namespace hone::text
