// How the verbs print numbers and text as JSON.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace hone {

/// Nine significant digits, so that a float32 reads back exactly; null for what is not finite.
std::string json_list(std::span<const float> values);
std::string json_list(std::span<const double> values);
std::string json_list(std::span<const int32_t> values);
std::string json_list(std::span<const int64_t> values);
/// In quotes; bytes that are not UTF-8 become U+FFFD.
std::string json_text(const std::string& text);

/// Rows under a header in aligned columns, two spaces apart; a cell is cut at 60 characters, a line break shown as \n.
std::string table(const std::vector<std::string>& header, const std::vector<std::vector<std::string>>& rows);

}  // namespace hone
