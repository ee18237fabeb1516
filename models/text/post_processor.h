// The post-processor of a tokenizer.json: the ids that stand around those of the text. Reads null, TemplateProcessing,
// ByteLevel (which moves offsets only), Sequence.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

namespace hone::text {

struct PostProcessor {
  std::vector<int32_t> before, after;
};

PostProcessor read_post_processor(const nlohmann::json& object, const std::string& place);

}  // namespace hone::text
