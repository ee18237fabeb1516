#include "models/tokenizer.h"

#include <algorithm>
#include <functional>
#include <optional>
#include <stdexcept>
#include <unordered_map>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "models/atomic_file.h"
#include "models/text/added_tokens.h"
#include "models/text/decoder.h"
#include "models/text/json_fields.h"
#include "models/text/normalizer.h"
#include "models/text/post_processor.h"
#include "models/text/pre_tokenizer.h"
#include "models/text/token_model.h"
#include "models/text/unicode.h"

namespace hone {
namespace {

using text::AddedToken;
using text::refuse;

constexpr uintmax_t kMaxFileBytes = uintmax_t{1} << 28;  // the largest in use have 35 MB

std::string too_large(uintmax_t bytes) {
  return fmt::format("it has {} bytes, a tokenizer.json of at most {} is read; is it the right file?", bytes,
                     kMaxFileBytes);
}

nlohmann::json parse(std::string_view source, const std::string& origin) {
  if (source.size() > kMaxFileBytes) refuse(origin, too_large(source.size()));
  try {
    nlohmann::json root = nlohmann::json::parse(source);
    if (root.is_object()) return root;
  } catch (const nlohmann::json::exception& error) {
    const std::string reason = error.what();  // "[json.exception.parse_error.101] parse error at line 1, column 2: .."
    refuse(origin, fmt::format("it is not JSON ({}); fetch or write the file again",
                               text::to_valid_utf8(reason.substr(std::min(reason.find("] ") + 2, reason.size())))));
  }
  refuse(origin, "it is not a JSON object; fetch or write the file again");
}

void check_utf8(std::string_view text) {
  for (size_t at = 0; at < text.size();) {
    const text::Utf8Step step = text::utf8_step(text.substr(at));
    if (step.kind != text::Utf8::kCharacter) {
      throw std::invalid_argument(fmt::format("the text to encode is not UTF-8 at byte {} (0x{:02x})", at,
                                              static_cast<unsigned char>(text[at])));
    }
    at += step.size;
  }
}

/// Where `part` stands in `whole`; nothing when a normalizer or pre-tokenizer has made it.
std::optional<size_t> position_in(std::string_view whole, std::string_view part) {
  const std::less<const char*> before;
  if (before(part.data(), whole.data()) || !before(part.data(), whole.data() + whole.size())) return std::nullopt;
  return part.data() - whole.data();
}

}  // namespace

struct Tokenizer::Impl {
  std::string origin, source;
  text::Normalizer normalizer;
  text::PreTokenizer pre_tokenizer;
  std::unique_ptr<const text::TokenModel> model;
  text::PostProcessor post_processor;
  text::Decoder decoder;
  text::AddedTokenMatcher plain, normalized;  // the plain ones are looked for first, in the text as it is
  text::Vocabulary added;
  std::unordered_multimap<std::string, int32_t> patterns;  // what is looked for, with the ids
  std::vector<const std::string*> tokens;  // by id, keys of the vocabulary and the patterns; null: no token
  std::vector<bool> special;

  Impl(std::string_view json, std::string name) : origin(std::move(name)), source(json) { read(parse(source, origin)); }

  void read(const nlohmann::json& root) {
    const auto part = [&](const char* key) -> const nlohmann::json& {
      return text::optional_member(root, key, origin);
    };
    const nlohmann::json& model_part = text::member(root, "model", origin);
    normalizer = text::Normalizer(part("normalizer"), origin + ": normalizer");
    pre_tokenizer = text::PreTokenizer(part("pre_tokenizer"), origin + ": pre_tokenizer");
    const bool bytes = pre_tokenizer.ends_in_byte_level();
    model = text::read_token_model(model_part, origin + ": model", bytes);
    if (bytes && model->can_take_bytes()) pre_tokenizer.leave_bytes();
    post_processor = text::read_post_processor(part("post_processor"), origin + ": post_processor");
    decoder = text::Decoder(part("decoder"), origin + ": decoder");
    for (const auto& [token, id] : model->vocabulary()) name_id(id, token);
    add_tokens(text::read_added_tokens(root, origin));
    check_post_processor();
  }

  void name_id(int32_t id, const std::string& token) {
    const auto index = static_cast<size_t>(id);
    if (index >= tokens.size()) {
      tokens.resize(std::max(index + 1, tokens.size()));
      special.resize(tokens.size());
    }
    if (tokens[index] && *tokens[index] != token) {
      refuse(origin, fmt::format("the id {} belongs to both {} and {}", id, text::excerpt(*tokens[index]),
                                 text::excerpt(token)));
    }
    tokens[index] = &token;
  }

  void add_tokens(std::vector<AddedToken> entries) {
    std::erase_if(entries, [](const AddedToken& token) { return token.content.empty(); });
    auto next = static_cast<int32_t>(model->vocabulary().size());
    for (const AddedToken& token : entries) {
      next = std::max(next, check_id(token, next) + 1);
      if (!added.emplace(token.content, token.id).second) {
        refuse(origin, fmt::format("the added token {} stands there twice", text::excerpt(token.content)));
      }
    }
    std::ranges::sort(entries, {}, &AddedToken::id);  // of two that normalise to the same text, the lower id is found
    for (const AddedToken& token : entries) add_token(token);
  }

  /// The token's id, which must be the one that `tokenizers` gives it.
  int32_t check_id(const AddedToken& token, int32_t next) const {
    const auto known = model->vocabulary().find(token.content);
    if (known != model->vocabulary().end() && known->second != token.id) {
      refuse(origin, fmt::format("the added token {} has id {}, in the vocabulary it has {}",
                                 text::excerpt(token.content), token.id, known->second));
    }
    if (known == model->vocabulary().end() && token.id != next) {
      refuse(origin, fmt::format("the added token {} has id {}, by the rules of tokenizers it gets {}; number added "
                                 "tokens on from the size of the vocabulary",
                                 text::excerpt(token.content), token.id, next));
    }
    return token.id;
  }

  /// Makes it findable, and readable: decoding gives what was looked for, and that is no special token's name where
  /// the normalizer changes it.
  void add_token(const AddedToken& token) {
    const auto& [pattern, id] =
        *patterns.emplace(token.normalized ? normalizer(token.content) : token.content, token.id);
    if (pattern.empty()) {
      refuse(origin, fmt::format("the normalizer leaves nothing of the added token {}; set its normalized to false",
                                 text::excerpt(token.content)));
    }
    (token.normalized ? normalized : plain).add(token, pattern);
    const auto index = static_cast<size_t>(id);
    if (index < tokens.size() && tokens[index] && *tokens[index] == token.content) tokens[index] = nullptr;
    name_id(id, pattern);
    special[index] = token.special && pattern == token.content;
  }

  void check_post_processor() const {
    for (const auto* ids : {&post_processor.before, &post_processor.after}) {
      for (const int32_t id : *ids) {
        if (!has(id)) refuse(origin + ": post_processor", fmt::format("the id {} names no token", id));
      }
    }
  }

  bool has(int32_t id) const {
    return id >= 0 && static_cast<size_t>(id) < tokens.size() && tokens[static_cast<size_t>(id)];
  }

  const std::string& token(int32_t id) const {
    if (has(id)) return *tokens[static_cast<size_t>(id)];
    throw std::invalid_argument(fmt::format("{}: the id {} names no token; ids run from 0 to {}", origin, id,
                                            static_cast<int64_t>(tokens.size()) - 1));
  }

  std::vector<int32_t> encode(std::string_view whole, bool add_special_tokens) const {
    std::vector<int32_t> ids;
    if (add_special_tokens) ids = post_processor.before;
    const auto encoder = model->start(whole.size());
    const text::PieceSink add_piece = [&](text::Piece piece) {
      if (!encoder->append_ids(piece.text, ids)) refuse_piece(piece.text, whole);
    };
    for (const text::Segment& segment : plain.split(whole)) {
      if (segment.id) {
        ids.push_back(*segment.id);
      } else {
        encode_segment({segment.text, segment.text.data() == whole.data()}, add_piece, ids);
      }
    }
    if (add_special_tokens) ids.insert(ids.end(), post_processor.after.begin(), post_processor.after.end());
    return ids;
  }

  /// A segment that holds no plain added token.
  void encode_segment(text::Piece segment, const text::PieceSink& add_piece, std::vector<int32_t>& ids) const {
    std::string changed;
    if (!normalizer.is_identity()) segment.text = changed = normalizer(segment.text);
    for (const text::Segment& part : normalized.split(segment.text)) {
      if (part.id) {
        ids.push_back(*part.id);
      } else {
        pre_tokenizer.split({part.text, segment.begins_text && part.text.data() == segment.text.data()}, add_piece);
      }
    }
  }

  [[noreturn]] void refuse_piece(std::string_view piece, std::string_view whole) const {
    const auto position = position_in(whole, piece);
    throw std::invalid_argument(
        fmt::format("{}: the text has no token for {}{} and the model has no unk_token; add one to the vocabulary, or "
                    "leave that text out",
                    origin, text::excerpt(piece), position ? fmt::format(" at byte {}", *position) : ""));
  }
};

Tokenizer Tokenizer::from_file(const std::filesystem::path& path) {
  std::error_code unknown;
  if (const auto size = std::filesystem::file_size(path, unknown); !unknown && size > kMaxFileBytes) {
    refuse(path.string(), too_large(size));
  }
  return from_json(read_file(path), path.string());
}

Tokenizer Tokenizer::from_json(std::string_view json, std::string origin) {
  return Tokenizer(std::make_shared<const Impl>(json, std::move(origin)));
}

std::vector<int32_t> Tokenizer::encode(std::string_view text, bool add_special_tokens) const {
  check_utf8(text);
  return impl_->encode(text, add_special_tokens);
}

std::string Tokenizer::decode(std::span<const int32_t> ids, bool skip_special_tokens) const {
  StreamDecoder stream(*this, skip_special_tokens);
  std::string text;
  for (const int32_t id : ids) text += stream.push(id);
  return text + stream.finish();
}

std::optional<int32_t> Tokenizer::token_to_id(std::string_view token) const {
  for (const text::Vocabulary* vocabulary : {&impl_->added, &impl_->model->vocabulary()}) {
    if (const auto found = vocabulary->find(token); found != vocabulary->end()) return found->second;
  }
  return std::nullopt;
}

std::string_view Tokenizer::id_to_token(int32_t id) const { return impl_->token(id); }

std::string Tokenizer::id_to_bytes(int32_t id) const { return impl_->decoder.bytes(impl_->token(id)); }

int32_t Tokenizer::vocab_size() const { return static_cast<int32_t>(impl_->tokens.size()); }

bool Tokenizer::is_special(int32_t id) const { return impl_->has(id) && impl_->special[static_cast<size_t>(id)]; }

const std::string& Tokenizer::json() const { return impl_->source; }

struct StreamDecoder::State {
  Tokenizer tokenizer;
  bool skip_special_tokens;
  text::Decoder decoder;
};

StreamDecoder::StreamDecoder(Tokenizer tokenizer, bool skip_special_tokens) {
  const text::Decoder& decoder = tokenizer.impl_->decoder;
  state_ = std::make_unique<State>(State{tokenizer, skip_special_tokens, decoder});
}
StreamDecoder::~StreamDecoder() = default;
StreamDecoder::StreamDecoder(StreamDecoder&&) noexcept = default;
StreamDecoder& StreamDecoder::operator=(StreamDecoder&&) noexcept = default;

std::string StreamDecoder::push(int32_t id) {
  const std::string_view token = state_->tokenizer.id_to_token(id);
  if (state_->skip_special_tokens && state_->tokenizer.is_special(id)) return "";
  return state_->decoder.feed(token);
}

std::string StreamDecoder::finish() { return state_->decoder.finish(); }

}  // namespace hone
