#include "models/text/json_fields.h"

#include <stdexcept>

#include <fmt/format.h>

#include "models/text/unicode.h"

namespace hone::text {

using nlohmann::json;

void refuse(const std::string& place, const std::string& what) {
  throw std::runtime_error(fmt::format("{}: {}", place, what));
}

void refuse_type(const std::string& place, const std::string& name, std::string_view supported) {
  refuse(place, fmt::format("type {} is not supported yet; supported: {}", excerpt(name), supported));
}

const json& optional_member(const json& object, const std::string& key, const std::string& place) {
  static const json null;
  if (!object.is_object()) refuse(place, "a JSON object belongs there");
  const auto found = object.find(key);
  return found == object.end() ? null : *found;
}

const json& member(const json& object, const std::string& key, const std::string& place) {
  if (!object.is_object()) refuse(place, "a JSON object belongs there");
  const auto found = object.find(key);
  if (found == object.end()) refuse(place, fmt::format("the key {} is missing", key));
  return *found;
}

const json& list_member(const json& object, const std::string& key, const std::string& place) {
  const json& value = member(object, key, place);
  if (!value.is_array()) refuse(place, fmt::format("{} must be a list", key));
  return value;
}

std::string text_member(const json& object, const std::string& key, const std::string& place) {
  const json& value = member(object, key, place);
  if (!value.is_string()) refuse(place, fmt::format("{} must be a string", key));
  return value.get<std::string>();
}

std::string optional_text_member(const json& object, const std::string& key, const std::string& place) {
  return optional_member(object, key, place).is_null() ? "" : text_member(object, key, place);
}

char32_t character_member(const json& object, const std::string& key, const std::string& place) {
  const std::string text = text_member(object, key, place);
  if (text.empty() || utf8_step(text).size != text.size()) refuse(place, fmt::format("{} must be one character", key));
  return code_point(text);
}

bool flag_member(const json& object, const std::string& key, const std::string& place) {
  const json& value = member(object, key, place);
  if (!value.is_boolean()) refuse(place, fmt::format("{} must be true or false", key));
  return value.get<bool>();
}

bool flag_member(const json& object, const std::string& key, bool missing, const std::string& place) {
  return optional_member(object, key, place).is_null() ? missing : flag_member(object, key, place);
}

size_t count_member(const json& object, const std::string& key, const std::string& place) {
  const json& value = member(object, key, place);
  if (!value.is_number_integer() || value < 0) refuse(place, fmt::format("{} must be an integer from 0", key));
  return value.get<size_t>();
}

int32_t read_id(const json& value, const std::string& place) {
  if (!value.is_number_integer() || value < 0 || value > kMaxTokenId) {
    refuse(place, fmt::format("found the id {}, an integer from 0 to {} belongs there",
                              value.is_number() ? value.dump() : value.type_name(), kMaxTokenId));
  }
  return value.get<int32_t>();
}

}  // namespace hone::text
