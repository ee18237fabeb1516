#include "models/tokenizer.h"

#include <algorithm>
#include <array>
#include <map>
#include <stdexcept>
#include <unordered_map>
#include <variant>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>

#include "models/atomic_file.h"
#include "models/tokenizer_regex.h"

namespace hone {
namespace {

using nlohmann::json;
using Pieces = std::vector<std::string_view>;  // parts of the text that is encoded

constexpr int64_t kMaxId = (1 << 24) - 1;  // ids index tables

// ---- Reading: every function gets the place of its JSON value for messages. ----

[[noreturn]] void refuse(const std::string& place, const std::string& what) {
  throw std::runtime_error(fmt::format("{}: {}", place, what));
}

[[noreturn]] void refuse_type(const std::string& place, const std::string& found, std::string_view supported) {
  refuse(place, fmt::format("type {} is not supported yet; supported: {}", found, supported));
}

const json& member(const json& object, const std::string& key, const std::string& place) {
  if (!object.is_object()) refuse(place, "a JSON object belongs there");
  const auto found = object.find(key);
  if (found == object.end()) refuse(place, fmt::format("the key {} is missing", key));
  return *found;
}

std::string text_member(const json& object, const std::string& key, const std::string& place) {
  const json& value = member(object, key, place);
  if (!value.is_string()) refuse(place, fmt::format("{} must be a string", key));
  return value.get<std::string>();
}

bool flag_member(const json& object, const std::string& key, const std::string& place) {
  if (!object.contains(key)) return false;
  const json& value = member(object, key, place);
  if (!value.is_boolean()) refuse(place, fmt::format("{} must be true or false", key));
  return value.get<bool>();
}

int32_t read_id(const json& value, const std::string& place) {
  if (!value.is_number_integer() || value < 0 || value > kMaxId) {
    refuse(place, fmt::format("found the id {}, an integer from 0 to {} belongs there", value.dump(), kMaxId));
  }
  return value.get<int32_t>();
}

const json& list_member(const json& object, const std::string& key, const std::string& place) {
  const json& value = member(object, key, place);
  if (!value.is_array()) refuse(place, fmt::format("{} must be a list", key));
  return value;
}

// ---- Model: a piece of text -> ids. ----

struct StringHash : std::hash<std::string_view> {
  using is_transparent = void;
};
using Vocabulary = std::unordered_map<std::string, int32_t, StringHash, std::equal_to<>>;

struct WordLevel {
  Vocabulary vocabulary;
  std::string unk_token;
  std::optional<int32_t> unk_id;
};
using Model = std::variant<WordLevel>;

Model read_word_level(const json& object, const std::string& place) {
  WordLevel model;
  const json& vocabulary = member(object, "vocab", place);
  if (!vocabulary.is_object()) refuse(place, "vocab must be a JSON object");
  for (const auto& [token, id] : vocabulary.items()) {
    model.vocabulary.emplace(token, read_id(id, place + ".vocab: \"" + token + '"'));
  }
  if (object.contains("unk_token")) model.unk_token = text_member(object, "unk_token", place);
  if (const auto unk = model.vocabulary.find(model.unk_token); unk != model.vocabulary.end())
    model.unk_id = unk->second;
  return model;
}

Model read_model(const json& object, const std::string& place) {
  const std::string type = text_member(object, "type", place);
  if (type == "WordLevel") return read_word_level(object, place);
  refuse_type(place, type, "WordLevel");
}

/// Appends the ids of `piece`; false when it has none.
bool append_ids(const WordLevel& model, std::string_view piece, std::vector<int32_t>& ids) {
  const auto found = model.vocabulary.find(piece);
  if (found == model.vocabulary.end() && !model.unk_id) return false;
  ids.push_back(found == model.vocabulary.end() ? *model.unk_id : found->second);
  return true;
}

const Vocabulary& vocabulary_of(const Model& model) {
  return std::visit([](const auto& m) -> const Vocabulary& { return m.vocabulary; }, model);
}

// ---- Pre-tokenizer: a text without added tokens -> pieces. ----

enum class SplitBehavior { kRemoved, kIsolated, kMergedWithPrevious, kMergedWithNext, kContiguous };

struct Split {
  TokenizerRegex regex;
  SplitBehavior behavior;
  bool invert;
};
struct PreTokenizerSequence;
using PreTokenizer = std::variant<std::monostate, Split, std::shared_ptr<const PreTokenizerSequence>>;
struct PreTokenizerSequence {
  std::vector<PreTokenizer> parts;
};

SplitBehavior read_behavior(const json& object, const std::string& place) {
  const std::string word = text_member(object, "behavior", place);
  if (word == "Removed") return SplitBehavior::kRemoved;
  if (word == "Isolated") return SplitBehavior::kIsolated;
  if (word == "MergedWithPrevious") return SplitBehavior::kMergedWithPrevious;
  if (word == "MergedWithNext") return SplitBehavior::kMergedWithNext;
  if (word == "Contiguous") return SplitBehavior::kContiguous;
  refuse(place, fmt::format("the behavior {} is unknown", word));
}

TokenizerRegex read_pattern(const json& object, const std::string& place) {
  const json& pattern = member(object, "pattern", place);
  try {
    if (pattern.contains("String")) return TokenizerRegex::literal(text_member(pattern, "String", place));
    return TokenizerRegex(text_member(pattern, "Regex", place));
  } catch (const std::invalid_argument& error) {
    refuse(place, error.what());
  }
}

PreTokenizer read_split(const json& object, const std::string& place) {
  return Split{read_pattern(object, place), read_behavior(object, place), flag_member(object, "invert", place)};
}

PreTokenizer read_pre_tokenizer(const json& object, const std::string& place);

PreTokenizer read_pre_tokenizer_sequence(const json& object, const std::string& place) {
  PreTokenizerSequence sequence;
  for (const json& part : list_member(object, "pretokenizers", place)) {
    sequence.parts.push_back(
        read_pre_tokenizer(part, fmt::format("{}.pretokenizers[{}]", place, sequence.parts.size())));
  }
  return std::make_shared<const PreTokenizerSequence>(std::move(sequence));
}

PreTokenizer read_pre_tokenizer(const json& object, const std::string& place) {
  if (object.is_null()) return std::monostate{};
  const std::string type = text_member(object, "type", place);
  if (type == "Split") return read_split(object, place);
  if (type == "Sequence") return read_pre_tokenizer_sequence(object, place);
  refuse_type(place, type, "Split, Sequence, null");
}

/// A stretch of the text that the pattern matched, or one between two matches.
struct Stretch {
  size_t begin, end;
  bool is_match;
};

std::vector<Stretch> stretches(const Split& split, std::string_view text) {
  std::vector<Stretch> result;
  size_t last = 0;
  for (const auto& [begin, end] : split.regex.find_all(text)) {
    if (begin != last) result.push_back({last, begin, split.invert});
    result.push_back({begin, end, !split.invert});
    last = end;
  }
  if (last != text.size()) result.push_back({last, text.size(), split.invert});
  return result;
}

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

std::vector<Stretch> apply_behavior(SplitBehavior behavior, std::vector<Stretch> parts) {
  switch (behavior) {
    case SplitBehavior::kIsolated:
      return parts;
    case SplitBehavior::kRemoved:
      std::erase_if(parts, [](const Stretch& part) { return part.is_match; });
      return parts;
    case SplitBehavior::kMergedWithPrevious:
      return merged_with_previous(parts);
    case SplitBehavior::kMergedWithNext:
      return merged_with_next(parts);
    case SplitBehavior::kContiguous:
      return contiguous(parts);
  }
  return parts;
}

Pieces split_text(std::monostate, std::string_view text) { return {text}; }

Pieces split_text(const Split& split, std::string_view text) {
  Pieces pieces;
  for (const Stretch& part : apply_behavior(split.behavior, stretches(split, text))) {
    if (part.begin != part.end) pieces.push_back(text.substr(part.begin, part.end - part.begin));
  }
  return pieces;
}

Pieces split_text(const std::shared_ptr<const PreTokenizerSequence>& sequence, std::string_view text) {
  Pieces pieces = {text};
  for (const PreTokenizer& part : sequence->parts) {
    Pieces next;
    for (const std::string_view piece : pieces) {
      const Pieces split = std::visit([&](const auto& p) { return split_text(p, piece); }, part);
      next.insert(next.end(), split.begin(), split.end());
    }
    pieces = std::move(next);
  }
  return pieces;
}

// ---- Post-processor: ids of the text -> ids with special tokens around. ----

struct Template {
  std::vector<int32_t> before, after;
};
using PostProcessor = std::variant<std::monostate, Template>;

std::vector<int32_t> special_ids(const json& object, const std::string& id, const std::string& place) {
  std::vector<int32_t> ids;
  const json& entry = member(member(object, "special_tokens", place), id, place + ".special_tokens");
  for (const json& value : list_member(entry, "ids", place)) ids.push_back(read_id(value, place));
  return ids;
}

PostProcessor read_template(const json& object, const std::string& place) {
  Template result;
  bool text_seen = false;
  for (const json& part : list_member(object, "single", place)) {
    if (part.contains("SpecialToken")) {
      const std::string id = text_member(part["SpecialToken"], "id", place);
      auto& side = text_seen ? result.after : result.before;
      const std::vector<int32_t> ids = special_ids(object, id, place);
      side.insert(side.end(), ids.begin(), ids.end());
    } else if (text_member(member(part, "Sequence", place), "id", place) != "A" || text_seen) {
      refuse(place, "the template for a single text must hold the sequence A once");
    } else {
      text_seen = true;
    }
  }
  if (!text_seen) refuse(place, "the template for a single text must hold the sequence A once");
  return result;
}

PostProcessor read_post_processor(const json& object, const std::string& place) {
  if (object.is_null()) return std::monostate{};
  const std::string type = text_member(object, "type", place);
  if (type == "TemplateProcessing") return read_template(object, place);
  refuse_type(place, type, "TemplateProcessing, null");
}

// ---- Decoder: tokens -> text. ----

struct Fuse {};
struct DecoderSequence;
using Decoder = std::variant<std::monostate, Fuse, std::shared_ptr<const DecoderSequence>>;
struct DecoderSequence {
  std::vector<Decoder> parts;
};

Decoder read_decoder(const json& object, const std::string& place) {
  if (object.is_null()) return std::monostate{};
  const std::string type = text_member(object, "type", place);
  if (type == "Fuse") return Fuse{};
  if (type != "Sequence") refuse_type(place, type, "Fuse, Sequence, null");
  DecoderSequence sequence;
  for (const json& part : list_member(object, "decoders", place)) {
    sequence.parts.push_back(read_decoder(part, fmt::format("{}.decoders[{}]", place, sequence.parts.size())));
  }
  return std::make_shared<const DecoderSequence>(std::move(sequence));
}

std::string decode_tokens(std::monostate, const Pieces& tokens) { return fmt::format("{}", fmt::join(tokens, " ")); }
std::string decode_tokens(Fuse, const Pieces& tokens) { return fmt::format("{}", fmt::join(tokens, "")); }
/// Every part so far fuses, so a chain of them does too.
std::string decode_tokens(const std::shared_ptr<const DecoderSequence>&, const Pieces& tokens) {
  return decode_tokens(Fuse{}, tokens);
}

// ---- Added tokens: found in the raw text, before anything else. ----

struct AddedToken {
  int32_t id = 0;
  std::string content;
  bool special = false, normalized = false, single_word = false, lstrip = false, rstrip = false;
};

AddedToken read_added_token(const json& object, const std::string& place) {
  AddedToken token;
  token.id = read_id(member(object, "id", place), place);
  token.content = text_member(object, "content", place);
  token.special = flag_member(object, "special", place);
  token.normalized = flag_member(object, "normalized", place);
  token.single_word = flag_member(object, "single_word", place);
  token.lstrip = flag_member(object, "lstrip", place);
  token.rstrip = flag_member(object, "rstrip", place);
  if (token.single_word) {
    refuse(place, fmt::format("single_word of \"{}\" is not supported yet; set it to false", token.content));
  }
  return token;
}

std::vector<AddedToken> read_added_tokens(const json& root, const std::string& origin) {
  std::vector<AddedToken> tokens;
  if (!root.contains("added_tokens")) return tokens;
  for (const json& entry : list_member(root, "added_tokens", origin)) {
    tokens.push_back(read_added_token(entry, fmt::format("{}: added_tokens[{}]", origin, tokens.size())));
  }
  return tokens;
}

/// Finds the leftmost, there the longest, of some strings.
class Matcher {
 public:
  void add(const AddedToken& token) {
    if (token.content.empty()) return;
    auto& bucket = by_first_byte_[static_cast<unsigned char>(token.content.front())];
    bucket.push_back(token);
    std::stable_sort(bucket.begin(), bucket.end(),
                     [](const auto& a, const auto& b) { return a.content.size() > b.content.size(); });
  }
  /// The token that begins at `text[at]`, or null.
  const AddedToken* match(std::string_view text, size_t at) const {
    for (const AddedToken& token : by_first_byte_[static_cast<unsigned char>(text[at])]) {
      if (text.substr(at).starts_with(token.content)) return &token;
    }
    return nullptr;
  }

 private:
  std::array<std::vector<AddedToken>, 256> by_first_byte_;
};

/// A part of the text: an added token, or text that still has to be split.
struct Segment {
  std::string_view text;
  std::optional<int32_t> id;
};

size_t spaces_before(const TokenizerRegex& spaces_at_end, std::string_view text) {
  const auto found = spaces_at_end.find_all(text);
  return found.empty() ? 0 : text.size() - found.front().first;
}

struct Stripper {
  TokenizerRegex leading{R"(\A\s+)"}, trailing{R"(\s+\z)"};
};

std::vector<Segment> extract(const Matcher& matcher, const Stripper& strip, std::string_view text) {
  std::vector<Segment> segments;
  size_t done = 0;
  for (size_t at = 0; at < text.size();) {
    const AddedToken* token = matcher.match(text, at);
    if (!token) {
      ++at;
      continue;
    }
    size_t begin = at, end = at + token->content.size();
    at = end;
    if (token->lstrip) begin = std::max(done, begin - spaces_before(strip.trailing, text.substr(0, begin)));
    if (token->rstrip) {
      const auto found = strip.leading.find_all(text.substr(end));
      if (!found.empty()) end += found.front().second;
    }
    if (begin > done) segments.push_back({text.substr(done, begin - done), std::nullopt});
    segments.push_back({text.substr(begin, end - begin), token->id});
    done = end;
  }
  if (done < text.size()) segments.push_back({text.substr(done), std::nullopt});
  return segments;
}

// ---- UTF-8. ----

/// Bytes of the valid character at the front, 0 when there is none (overlong forms, surrogates, too large: none).
size_t character_length(std::string_view text) {
  const auto byte = [&](size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u; };
  const auto continues = [&](size_t i) { return (byte(i) & 0xc0) == 0x80; };
  const unsigned first = byte(0), second = byte(1);
  if (first < 0x80) return 1;
  if (first >= 0xc2 && first <= 0xdf && continues(1)) return 2;
  if ((first & 0xf0) == 0xe0 && continues(1) && continues(2)) {
    const bool overlong = first == 0xe0 && second < 0xa0, surrogate = first == 0xed && second > 0x9f;
    return overlong || surrogate ? 0 : 3;
  }
  if (first >= 0xf0 && first <= 0xf4 && continues(1) && continues(2) && continues(3)) {
    const bool overlong = first == 0xf0 && second < 0x90, too_large = first == 0xf4 && second > 0x8f;
    return overlong || too_large ? 0 : 4;
  }
  return 0;
}

void check_utf8(std::string_view text) {
  for (size_t at = 0; at < text.size();) {
    const size_t length = character_length(text.substr(at));
    if (length == 0) {
      throw std::invalid_argument(fmt::format("the text to encode is not UTF-8 at byte {} (0x{:02x})", at,
                                              static_cast<unsigned char>(text[at])));
    }
    at += length;
  }
}

std::string excerpt(std::string_view text) {
  size_t end = 0;
  while (end < text.size() && end < 40) end += std::max<size_t>(1, character_length(text.substr(end)));
  return json(std::string(text.substr(0, end))).dump() + (end < text.size() ? "..." : "");
}

}  // namespace

struct Tokenizer::Impl {
  std::string origin, source;
  Model model;
  PreTokenizer pre_tokenizer;
  PostProcessor post_processor;
  Decoder decoder;
  Matcher plain, normalized;  // HF looks for the tokens with normalized = false first, in the whole text
  Stripper strip;
  Vocabulary added;
  std::vector<std::string> tokens;  // by id
  std::vector<bool> known, special;

  Impl(std::string_view text, std::string name) : origin(std::move(name)), source(text) {
    const nlohmann::json root = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
    if (!root.is_object()) refuse(origin, "it is not a JSON object; fetch or write the file again");
    read(root);
  }

  void read(const nlohmann::json& root) {
    const auto part = [&](const char* key) { return root.contains(key) ? root[key] : nlohmann::json(nullptr); };
    if (const nlohmann::json normalizer = part("normalizer"); !normalizer.is_null()) {
      refuse_type(origin + ": normalizer", text_member(normalizer, "type", origin + ": normalizer"), "null");
    }
    model = read_model(member(root, "model", origin), origin + ": model");
    pre_tokenizer = read_pre_tokenizer(part("pre_tokenizer"), origin + ": pre_tokenizer");
    post_processor = read_post_processor(part("post_processor"), origin + ": post_processor");
    decoder = read_decoder(part("decoder"), origin + ": decoder");
    for (const auto& [token, id] : vocabulary_of(model)) name_id(id, token);
    for (const AddedToken& token : read_added_tokens(root, origin)) add_token(token);
    check_template();
  }

  void name_id(int32_t id, const std::string& token) {
    const auto index = static_cast<size_t>(id);
    if (index >= tokens.size()) {
      tokens.resize(index + 1);
      known.resize(index + 1);
      special.resize(index + 1);
    }
    if (known[index] && tokens[index] != token) {
      refuse(origin, fmt::format("the id {} belongs to both \"{}\" and \"{}\"", id, tokens[index], token));
    }
    known[index] = true;
    tokens[index] = token;
  }

  void add_token(const AddedToken& token) {
    const Vocabulary& vocabulary = vocabulary_of(model);
    const auto other = vocabulary.find(token.content);
    if (other != vocabulary.end() && other->second != token.id) {
      refuse(origin, fmt::format("the added token \"{}\" has id {}, in the vocabulary it has {}", token.content,
                                 token.id, other->second));
    }
    if (!added.emplace(token.content, token.id).second) {
      refuse(origin, fmt::format("the added token \"{}\" stands there twice", token.content));
    }
    name_id(token.id, token.content);
    special[static_cast<size_t>(token.id)] = token.special;
    (token.normalized ? normalized : plain).add(token);
  }

  void check_template() const {
    const auto* processor = std::get_if<Template>(&post_processor);
    if (!processor) return;
    for (const auto* ids : {&processor->before, &processor->after}) {
      for (const int32_t id : *ids) {
        if (!has(id)) refuse(origin + ": post_processor", fmt::format("the id {} names no token", id));
      }
    }
  }

  bool has(int32_t id) const {
    return id >= 0 && static_cast<size_t>(id) < tokens.size() && known[static_cast<size_t>(id)];
  }

  void require(int32_t id) const {
    if (has(id)) return;
    throw std::invalid_argument(fmt::format("{}: the id {} names no token; ids run from 0 to {}", origin, id,
                                            static_cast<int64_t>(tokens.size()) - 1));
  }

  /// Appends the ids of a text without added tokens; `whole` is for messages.
  void encode_plain(std::string_view text, std::string_view whole, std::vector<int32_t>& ids) const {
    for (const std::string_view piece : std::visit([&](const auto& p) { return split_text(p, text); }, pre_tokenizer)) {
      if (std::visit([&](const auto& m) { return append_ids(m, piece, ids); }, model)) continue;
      throw std::invalid_argument(
          fmt::format("{}: the text has no token for {} at byte {} and the model has no unk_token; add one to the "
                      "vocabulary, or leave that text out",
                      origin, excerpt(piece), piece.data() - whole.data()));
    }
  }

  std::vector<int32_t> encode(std::string_view text) const {
    std::vector<int32_t> ids;
    for (const Segment& outer : extract(plain, strip, text)) {
      if (outer.id) {
        ids.push_back(*outer.id);
        continue;
      }
      for (const Segment& inner : extract(normalized, strip, outer.text)) {
        inner.id ? ids.push_back(*inner.id) : encode_plain(inner.text, text, ids);
      }
    }
    return ids;
  }
};

Tokenizer Tokenizer::from_file(const std::filesystem::path& path) { return from_json(read_file(path), path.string()); }

Tokenizer Tokenizer::from_json(std::string_view json, std::string origin) {
  return Tokenizer(std::make_shared<const Impl>(json, std::move(origin)));
}

std::vector<int32_t> Tokenizer::encode(std::string_view text, bool add_special_tokens) const {
  check_utf8(text);
  std::vector<int32_t> ids = impl_->encode(text);
  const auto* processor = std::get_if<Template>(&impl_->post_processor);
  if (!add_special_tokens || !processor) return ids;
  ids.insert(ids.begin(), processor->before.begin(), processor->before.end());
  ids.insert(ids.end(), processor->after.begin(), processor->after.end());
  return ids;
}

std::string Tokenizer::decode(std::span<const int32_t> ids, bool skip_special_tokens) const {
  Pieces tokens;
  for (const int32_t id : ids) {
    const std::string_view token = id_to_token(id);
    if (!skip_special_tokens || !is_special(id)) tokens.push_back(token);
  }
  return std::visit([&](const auto& decoder) { return decode_tokens(decoder, tokens); }, impl_->decoder);
}

std::optional<int32_t> Tokenizer::token_to_id(std::string_view token) const {
  for (const Vocabulary* vocabulary : {&impl_->added, &vocabulary_of(impl_->model)}) {
    if (const auto found = vocabulary->find(token); found != vocabulary->end()) return found->second;
  }
  return std::nullopt;
}

std::string_view Tokenizer::id_to_token(int32_t id) const {
  impl_->require(id);
  return impl_->tokens[static_cast<size_t>(id)];
}

int32_t Tokenizer::vocab_size() const { return static_cast<int32_t>(impl_->tokens.size()); }

bool Tokenizer::is_special(int32_t id) const { return impl_->has(id) && impl_->special[static_cast<size_t>(id)]; }

const std::string& Tokenizer::json() const { return impl_->source; }

}  // namespace hone
