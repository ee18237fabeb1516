// Template text to tokens as jinja2 cuts it with trim_blocks and lstrip_blocks on (and a final line break dropped).
#pragma once

#include <deque>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "models/text/jinja_value.h"

namespace hone::jinja {

enum class TokenKind {
  kData,
  kBlockBegin,
  kBlockEnd,
  kVariableBegin,
  kVariableEnd,
  kName,
  kText,
  kInteger,
  kFloat,
  kOperator,
  kEnd
};

struct Token {
  TokenKind kind = TokenKind::kEnd;
  std::string text;  ///< data, name, operator, or the value of a text literal
  int line = 1;
  Value number;  ///< of kInteger and kFloat

  bool is_operator(std::string_view op) const { return kind == TokenKind::kOperator && text == op; }
  bool is_name(std::string_view name) const { return kind == TokenKind::kName && text == name; }
  /// How jinja2 calls it in messages.
  std::string describe() const;
};

/// Hands out one token after the other, so that an error in the text comes after those of the tokens before it.
class Lexer {
 public:
  explicit Lexer(std::string_view source);
  /// Throws Error of kind kSyntax.
  Token next();

 private:
  enum class State { kRoot, kBlock, kVariable, kComment, kRaw };

  void scan();
  void scan_root();
  void scan_comment();
  void scan_raw();
  void scan_tag();
  bool scan_tag_end();
  bool scan_number();
  bool scan_name();
  bool scan_text();
  bool scan_operator();
  void emit_data(std::string_view text, char sign, bool is_variable);
  void emit(TokenKind kind, std::string text);
  void move_to(size_t end);
  size_t skip_space(size_t at) const;
  std::optional<size_t> match_tag_end(size_t at, std::string_view close, bool may_keep, bool trims) const;
  bool starts(size_t at, std::string_view text) const { return source_.compare(at, text.size(), text) == 0; }
  [[noreturn]] void fail(const std::string& message) const;

  std::string source_;
  size_t at_ = 0;
  int line_ = 1;
  int last_line_ = 1;  ///< of the token handed out last: jinja2 reports the end of the template there
  State state_ = State::kRoot;
  bool line_starting_ = true;
  std::vector<char> closers_;  ///< of the open parentheses of this tag
  std::deque<Token> ready_;
};

}  // namespace hone::jinja
