// text <-> token ids, out of a tokenizer.json as PyPI `tokenizers` writes it, with the same ids.
//
// Loads: model WordLevel; added_tokens (longest match first, found before pre-tokenization; lstrip and rstrip);
// pre_tokenizer null, Split (Regex or String, every behavior), Sequence; post_processor null or
// TemplateProcessing; decoder null, Fuse, Sequence of them; no normalizer. Everything else is refused by name;
// `truncation` and `padding` are ignored, as transformers does.
// Proven by tests/golden/tokenizer_wordlevel.json, which tests/reference/tokenizer_golden.py makes.
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
  /// unk_token, or when the text is not UTF-8. `add_special_tokens` runs the post-processor.
  std::vector<int32_t> encode(std::string_view text, bool add_special_tokens = true) const;
  /// Throws std::invalid_argument for an id that names no token.
  std::string decode(std::span<const int32_t> ids, bool skip_special_tokens = false) const;

  std::optional<int32_t> token_to_id(std::string_view token) const;
  /// Throws std::invalid_argument for an id that names no token.
  std::string_view id_to_token(int32_t id) const;
  /// The largest id + 1, added tokens included: what the model's vocab_size must reach.
  int32_t vocab_size() const;
  /// Whether skip_special_tokens drops it.
  bool is_special(int32_t id) const;
  /// The text it was loaded from, for writing it beside a model.
  const std::string& json() const;

 private:
  struct Impl;
  explicit Tokenizer(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}
  std::shared_ptr<const Impl> impl_;
};

}  // namespace hone
