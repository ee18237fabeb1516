// What a person may have meant by a word that is not known.
#pragma once

#include <string>
#include <vector>

namespace hone {

/// "did you mean 'max_steps'?" for the nearest of `known` by edit distance; when none is near, "known are: a, b, c".
std::string did_you_mean(const std::string& word, const std::vector<std::string>& known);

}  // namespace hone
