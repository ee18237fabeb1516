// The added tokens of a tokenizer.json: found in the text before anything else splits it.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "models/text/normalizer.h"

namespace hone::text {

struct AddedToken {
  int32_t id = 0;
  std::string content;
  bool special = false;                 ///< left out by decode(skip_special_tokens)
  bool normalized = false;              ///< looked for in the normalised text, by its normalised content
  bool single_word = false;             ///< not beside a word character
  bool lstrip = false, rstrip = false;  ///< takes the white space on that side with it
};

std::vector<AddedToken> read_added_tokens(const nlohmann::json& root, const std::string& origin);

/// A part of a text: an added token, or text that still has to be split.
struct Segment {
  std::string_view text;
  std::optional<int32_t> id;
};

/// Finds the leftmost, there the longest, of some tokens. Immutable once filled.
class AddedTokenMatcher {
 public:
  /// `pattern` is what to look for. Of two equal ones the first counts. REQUIRES: not empty.
  void add(AddedToken token, std::string_view pattern);
  /// `text` in segments, from left to right, none of them empty. REQUIRES: valid UTF-8.
  std::vector<Segment> split(std::string_view text) const;

 private:
  struct Match {
    const AddedToken* token = nullptr;
    size_t size = 0;
  };
  Match match_at(std::string_view text, size_t at) const;

  struct Node {
    int32_t token = -1;  // index into tokens_ of the one that ends here
  };
  std::vector<AddedToken> tokens_;
  std::vector<Node> nodes_ = {Node{}};
  std::array<bool, 256> begins_{};                // by the first byte
  std::unordered_map<uint64_t, uint32_t> edges_;  // (node << 8 | byte) to the next node
};

}  // namespace hone::text
