// Typed access to the JSON of a tokenizer.json. Every function gets the place of its value for messages
// ("tokenizer.json: model.vocab") and throws std::runtime_error naming it, what was found and what belongs there.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json.hpp>

namespace hone::text {

inline constexpr int32_t kMaxTokenId = (1 << 22) - 1;  ///< ids index tables; the largest vocabularies have 2^18 tokens
inline constexpr int kMaxSequenceDepth = 8;            ///< of Sequences within Sequences

[[noreturn]] void refuse(const std::string& place, const std::string& what);
/// `name` is a type, `supported` the list of those that are.
[[noreturn]] void refuse_type(const std::string& place, const std::string& name, std::string_view supported);

const nlohmann::json& member(const nlohmann::json& object, const std::string& key, const std::string& place);
/// Null when the key is missing.
const nlohmann::json& optional_member(const nlohmann::json& object, const std::string& key, const std::string& place);
const nlohmann::json& list_member(const nlohmann::json& object, const std::string& key, const std::string& place);
std::string text_member(const nlohmann::json& object, const std::string& key, const std::string& place);
/// "" when the key is missing or null.
std::string optional_text_member(const nlohmann::json& object, const std::string& key, const std::string& place);
/// One code point.
char32_t character_member(const nlohmann::json& object, const std::string& key, const std::string& place);
bool flag_member(const nlohmann::json& object, const std::string& key, const std::string& place);
bool flag_member(const nlohmann::json& object, const std::string& key, bool missing, const std::string& place);
size_t count_member(const nlohmann::json& object, const std::string& key, const std::string& place);
int32_t read_id(const nlohmann::json& value, const std::string& place);

/// Calls read(part, place of the part) for every part of a Sequence's list `key`.
template <class Read>
void for_each_part(const nlohmann::json& object, const std::string& key, const std::string& place, int depth,
                   const Read& read) {
  if (depth > kMaxSequenceDepth) refuse(place, "Sequences are nested too deeply; at most 8 levels are read");
  size_t i = 0;
  for (const nlohmann::json& part : list_member(object, key, place)) {
    read(part, place + "." + key + "[" + std::to_string(i++) + "]");
  }
}

}  // namespace hone::text
