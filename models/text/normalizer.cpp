#include "models/text/normalizer.h"

#include <nlohmann/json.hpp>

#include "models/text/json_fields.h"
#include "models/text/pattern.h"
#include "models/text/unicode.h"

namespace hone::text {
namespace {

using nlohmann::json;
using Step = std::function<std::string(std::string_view)>;

std::string lowered(std::string_view text) {
  std::string out;
  for (; !text.empty(); text.remove_prefix(character_size(text.front()))) {
    const char32_t c = code_point(text);
    if (c == 0x130) {
      out += "i\u0307";  // the one character whose lower case has two
    } else {
      append_utf8(out, lower_case(c));
    }
  }
  return out;
}

std::string strip(std::string_view text, bool left, bool right) {
  while (left && !text.empty() && is_white_space(code_point(text))) text.remove_prefix(character_size(text.front()));
  while (right && !text.empty()) {
    const size_t last = previous_character(text, text.size());
    if (!is_white_space(code_point(text.substr(last)))) break;
    text = text.substr(0, last);
  }
  return std::string(text);
}

Step read_strip(const json& object, const std::string& place) {
  return [left = flag_member(object, "strip_left", place), right = flag_member(object, "strip_right", place)](
             std::string_view text) { return strip(text, left, right); };
}

Step read_replace(const json& object, const std::string& place) {
  return [pattern = read_pattern(object, place), content = text_member(object, "content", place)](
             std::string_view text) { return pattern.replace_all(text, content); };
}

Step read_prepend(const json& object, const std::string& place) {
  return [prefix = text_member(object, "prepend", place)](std::string_view text) {
    return text.empty() ? std::string() : prefix + std::string(text);
  };
}

Step normal_form(NormalForm form) {
  return [form](std::string_view text) { return normalize(text, form); };
}

Step read_step(const json& object, const std::string& place) {
  const std::string type = text_member(object, "type", place);
  if (type == "NFC") return normal_form(NormalForm::kNfc);
  if (type == "NFD") return normal_form(NormalForm::kNfd);
  if (type == "NFKC") return normal_form(NormalForm::kNfkc);
  if (type == "NFKD") return normal_form(NormalForm::kNfkd);
  if (type == "Lowercase") return lowered;
  if (type == "ByteLevel") return to_byte_characters;
  if (type == "Strip") return read_strip(object, place);
  if (type == "Replace") return read_replace(object, place);
  if (type == "Prepend") return read_prepend(object, place);
  refuse_type(place, type, "NFC, NFD, NFKC, NFKD, Lowercase, Strip, Replace, Prepend, ByteLevel, Sequence, null");
}

}  // namespace

Normalizer::Normalizer(const json& object, const std::string& place) {
  if (!object.is_null()) read(object, place, 0);
}

void Normalizer::read(const json& object, const std::string& place, int depth) {
  if (text_member(object, "type", place) != "Sequence") return steps_.push_back(read_step(object, place));
  for_each_part(object, "normalizers", place, depth,
                [&](const json& part, const std::string& where) { read(part, where, depth + 1); });
}

std::string Normalizer::operator()(std::string_view text) const {
  std::string result(text);
  for (const auto& step : steps_) result = step(result);
  return result;
}

}  // namespace hone::text
