// text <-> token ids, out of a tokenizer.json as PyPI `tokenizers` writes it, with the same ids and the same text.
//
// Loads (what each part knows stands at the head of its file in models/text/):
//   added_tokens    longest match first, before anything else; all flags          added_tokens.h
//   normalizer      NFC NFD NFKC NFKD Lowercase Strip Replace Prepend ByteLevel    normalizer.h
//   pre_tokenizer   Split ByteLevel Digits Metaspace Whitespace..                  pre_tokenizer.h
//   model           BPE (byte-level or of characters), WordLevel                   token_model.h, bpe.h
//   post_processor  TemplateProcessing ByteLevel                                   post_processor.h
//   decoder         ByteLevel ByteFallback Fuse Metaspace Replace Strip            decoder.h
// and Sequences of them. Everything else is refused by name; `truncation` and `padding` are ignored, as transformers
// does. Proven by tests/golden/tokenizer_*.json, which tests/reference/tokenizer_golden.py makes, and by
// tests/python/tokenizers_parity_test.py.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace hone {

/// Immutable after load and safe to use from any thread; a copy shares the tables.
class Tokenizer {
 public:
  /// Throw std::runtime_error naming the file, the place in it and what is supported.
  static Tokenizer from_file(const std::filesystem::path& path);
  static Tokenizer from_json(std::string_view json, std::string origin);

  /// Throws std::invalid_argument naming the text and its byte position when a piece has no token and the model no
  /// unk_token, or when the text is not UTF-8; std::runtime_error when a pattern of the file takes too many steps on
  /// it. BPE without an unk_token leaves characters out that have no token. `add_special_tokens` runs the
  /// post-processor. Time is near linear in the text for the pre-tokenizers in use, memory linear.
  std::vector<int32_t> encode(std::string_view text, bool add_special_tokens = true) const;
  /// Bytes that are not UTF-8 become U+FFFD. Throws std::invalid_argument for an id that names no token.
  std::string decode(std::span<const int32_t> ids, bool skip_special_tokens = false) const;

  std::optional<int32_t> token_to_id(std::string_view token) const;
  /// The token as the file writes it. Throws std::invalid_argument for an id that names no token.
  std::string_view id_to_token(int32_t id) const;
  /// The bytes that it stands for in the middle of a text; a part of a character may be all there is. Throws as above.
  std::string id_to_bytes(int32_t id) const;
  /// The largest id + 1, added tokens included: what the model's vocab_size must reach.
  int32_t vocab_size() const;
  /// Whether skip_special_tokens drops it.
  bool is_special(int32_t id) const;
  /// The text it was loaded from, for writing it beside a model.
  const std::string& json() const;

 private:
  friend class StreamDecoder;
  struct Impl;
  explicit Tokenizer(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}
  std::shared_ptr<const Impl> impl_;
};

/// decode() while the ids come in: the pieces, put together, are what it gives for all ids, and each is whole UTF-8
/// characters. A piece is "" while a later token could still change the text. For one thread.
class StreamDecoder {
 public:
  explicit StreamDecoder(Tokenizer tokenizer, bool skip_special_tokens = false);
  ~StreamDecoder();
  StreamDecoder(StreamDecoder&&) noexcept;
  StreamDecoder& operator=(StreamDecoder&&) noexcept;

  /// Throws std::invalid_argument for an id that names no token; the stream is then as it was.
  std::string push(int32_t id);
  /// What is left. Nothing may be pushed afterwards.
  std::string finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace hone
