#include "models/text/post_processor.h"

#include <optional>

#include <nlohmann/json.hpp>

#include "models/text/json_fields.h"

namespace hone::text {
namespace {

using nlohmann::json;

void append(std::vector<int32_t>& ids, const std::vector<int32_t>& more) {
  ids.insert(ids.end(), more.begin(), more.end());
}

std::vector<int32_t> special_ids(const json& object, const std::string& id, const std::string& place) {
  std::vector<int32_t> ids;
  const json& entry = member(member(object, "special_tokens", place), id, place + ".special_tokens");
  for (const json& value : list_member(entry, "ids", place)) ids.push_back(read_id(value, place));
  return ids;
}

PostProcessor read_template(const json& object, const std::string& place) {
  PostProcessor result;
  bool text_seen = false;
  for (const json& part : list_member(object, "single", place)) {
    if (part.contains("SpecialToken")) {
      const std::string id = text_member(part["SpecialToken"], "id", place);
      append(text_seen ? result.after : result.before, special_ids(object, id, place));
    } else if (text_member(member(part, "Sequence", place), "id", place) != "A" || text_seen) {
      refuse(place, "the template for a single text must hold the sequence A once");
    } else {
      text_seen = true;
    }
  }
  if (!text_seen) refuse(place, "the template for a single text must hold the sequence A once");
  return result;
}

void add_part(const json& object, const std::string& place, int depth, std::optional<PostProcessor>& result) {
  const std::string type = text_member(object, "type", place);
  if (type == "Sequence") {
    return for_each_part(object, "processors", place, depth,
                         [&](const json& part, const std::string& where) { add_part(part, where, depth + 1, result); });
  }
  if (type == "ByteLevel") return;
  if (type != "TemplateProcessing") refuse_type(place, type, "TemplateProcessing, ByteLevel, Sequence, null");
  if (result) refuse(place, "a second template in a Sequence is not supported; make one of them");
  result = read_template(object, place);
}

}  // namespace

PostProcessor read_post_processor(const json& object, const std::string& place) {
  std::optional<PostProcessor> result;
  if (!object.is_null()) add_part(object, place, 0, result);
  return result.value_or(PostProcessor{});
}

}  // namespace hone::text
