// The model of a tokenizer.json: a piece of text to ids. Reads WordLevel and BPE.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include <nlohmann/json_fwd.hpp>

namespace hone::text {

struct TextHash : std::hash<std::string_view> {
  using is_transparent = void;
};
using Vocabulary = std::unordered_map<std::string, int32_t, TextHash, std::equal_to<>>;

/// Turns the pieces of one text into ids; what it remembers ends with it. For one thread.
class PieceEncoder {
 public:
  virtual ~PieceEncoder() = default;
  /// Appends the ids of `piece`; false when the piece has none and the model no unk_token for it. REQUIRES: `ids` is
  /// the same list for all pieces, and nothing is taken from it in between: what is there is copied for a known piece.
  virtual bool append_ids(std::string_view piece, std::vector<int32_t>& ids) = 0;
};

/// Immutable; any thread may use it.
class TokenModel {
 public:
  virtual ~TokenModel() = default;
  virtual const Vocabulary& vocabulary() const = 0;
  /// For a text of about `text_bytes` bytes. The model must outlive it.
  virtual std::unique_ptr<PieceEncoder> start(size_t text_bytes) const = 0;
  /// Whether pieces may be bytes where the vocabulary has GPT-2's characters for them; the model then takes only such.
  virtual bool can_take_bytes() const { return false; }
};

/// `takes_bytes`: pieces are bytes, if the model can take them.
std::unique_ptr<TokenModel> read_token_model(const nlohmann::json& object, const std::string& place, bool takes_bytes);

/// object["vocab"]. Throws std::runtime_error naming the place.
Vocabulary read_vocabulary(const nlohmann::json& object, const std::string& place);

}  // namespace hone::text
