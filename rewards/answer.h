// Where a completion's answer stands, for rewards that compare an answer with a column.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace hone {

/// The contents of the <answer>..</answer> blocks after the last </think> (in the whole completion when it has none),
/// each without outer white space. A block ends at the first </answer>; one that is never closed is no block.
std::vector<std::string_view> answer_blocks(std::string_view completion);

/// Without leading and trailing white space (ASCII).
std::string_view trim(std::string_view text);

/// The row's gold answer: column `answer`, else `solution`; a string, trimmed, or an integer in decimal. Empty when
/// both are missing, null or blank. Throws std::runtime_error naming the column for another type.
std::optional<std::string> gold_answer(const std::string& columns);

}  // namespace hone
