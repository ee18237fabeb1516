#include "models/text/added_tokens.h"

#include <algorithm>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "models/text/json_fields.h"
#include "models/text/unicode.h"

namespace hone::text {
namespace {

using nlohmann::json;

constexpr size_t kMaxContentBytes = 1024;  // a search takes time in proportion to it

AddedToken read_added_token(const json& object, const std::string& place) {
  AddedToken token;
  token.id = read_id(member(object, "id", place), place);
  token.content = text_member(object, "content", place);
  token.special = flag_member(object, "special", false, place);
  token.normalized = flag_member(object, "normalized", false, place);
  token.single_word = flag_member(object, "single_word", false, place);
  token.lstrip = flag_member(object, "lstrip", false, place);
  token.rstrip = flag_member(object, "rstrip", false, place);
  if (token.content.size() > kMaxContentBytes) {
    refuse(place, fmt::format("its content has {} bytes, at most {} are read", token.content.size(), kMaxContentBytes));
  }
  return token;
}

bool is_within_word(std::string_view text, size_t begin, size_t end) {
  const bool before = begin > 0 && is_word(code_point(text.substr(previous_character(text, begin))));
  return before || (end < text.size() && is_word(code_point(text.substr(end))));
}

size_t skip_space_back(std::string_view text, size_t begin, size_t stop) {
  while (begin > stop) {
    const size_t previous = previous_character(text, begin);
    if (!is_white_space(code_point(text.substr(previous)))) break;
    begin = previous;
  }
  return begin;
}

size_t skip_space(std::string_view text, size_t end) {
  while (end < text.size() && is_white_space(code_point(text.substr(end)))) end += character_size(text[end]);
  return end;
}

}  // namespace

std::vector<AddedToken> read_added_tokens(const json& root, const std::string& origin) {
  std::vector<AddedToken> tokens;
  if (optional_member(root, "added_tokens", origin).is_null()) return tokens;
  for (const json& entry : list_member(root, "added_tokens", origin)) {
    tokens.push_back(read_added_token(entry, fmt::format("{}: added_tokens[{}]", origin, tokens.size())));
  }
  return tokens;
}

void AddedTokenMatcher::add(AddedToken token, std::string_view pattern) {
  uint32_t node = 0;
  for (const char byte : pattern) {
    const uint64_t key = uint64_t{node} << 8 | static_cast<unsigned char>(byte);
    const auto [edge, is_new] = edges_.try_emplace(key, static_cast<uint32_t>(nodes_.size()));
    if (is_new) nodes_.emplace_back();
    node = edge->second;
  }
  if (nodes_[node].token >= 0) return;
  nodes_[node].token = static_cast<int32_t>(tokens_.size());
  begins_[static_cast<unsigned char>(pattern.front())] = true;
  tokens_.push_back(std::move(token));
}

AddedTokenMatcher::Match AddedTokenMatcher::match_at(std::string_view text, size_t at) const {
  Match match;
  if (!begins_[static_cast<unsigned char>(text[at])]) return match;
  uint32_t node = 0;
  for (size_t i = at; i < text.size(); ++i) {
    const auto edge = edges_.find(uint64_t{node} << 8 | static_cast<unsigned char>(text[i]));
    if (edge == edges_.end()) break;
    node = edge->second;
    if (nodes_[node].token >= 0) match = {&tokens_[static_cast<size_t>(nodes_[node].token)], i + 1 - at};
  }
  return match;
}

std::vector<Segment> AddedTokenMatcher::split(std::string_view text) const {
  std::vector<Segment> segments;
  size_t done = 0;
  for (size_t at = 0; at < text.size() && !tokens_.empty();) {
    const Match match = match_at(text, at);
    if (!match.token) {
      ++at;
      continue;
    }
    size_t begin = at, end = at + match.size;
    at = end;
    if (match.token->single_word && is_within_word(text, begin, end)) continue;
    // text before `done` belongs to the token before, which may have taken white space that this one matches; looking
    // at that again would take quadratic time
    if (match.token->lstrip) begin = std::max(skip_space_back(text, begin, done), done);
    if (match.token->rstrip) end = skip_space(text, std::max(end, done));
    if (begin >= end) continue;  // nothing is left for it
    if (begin > done) segments.push_back({text.substr(done, begin - done), std::nullopt});
    segments.push_back({text.substr(begin, end - begin), match.token->id});
    done = end;
  }
  if (done < text.size()) segments.push_back({text.substr(done), std::nullopt});
  return segments;
}

}  // namespace hone::text
