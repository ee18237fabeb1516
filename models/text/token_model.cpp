#include "models/text/token_model.h"

#include <optional>

#include <nlohmann/json.hpp>

#include "models/text/bpe.h"
#include "models/text/json_fields.h"
#include "models/text/unicode.h"

namespace hone::text {
namespace {

using nlohmann::json;

/// A piece is a token of the vocabulary or the unknown one.
class WordLevel final : public TokenModel {
 public:
  WordLevel(const json& object, const std::string& place) : vocabulary_(read_vocabulary(object, place)) {
    const auto unk = vocabulary_.find(optional_text_member(object, "unk_token", place));
    if (unk != vocabulary_.end()) unk_id_ = unk->second;
  }

  const Vocabulary& vocabulary() const override { return vocabulary_; }
  std::unique_ptr<PieceEncoder> start(size_t) const override { return std::make_unique<Encoder>(*this); }

 private:
  class Encoder final : public PieceEncoder {
   public:
    explicit Encoder(const WordLevel& model) : model_(model) {}
    bool append_ids(std::string_view piece, std::vector<int32_t>& ids) override {
      const auto found = model_.vocabulary_.find(piece);
      if (found == model_.vocabulary_.end() && !model_.unk_id_) return false;
      ids.push_back(found == model_.vocabulary_.end() ? *model_.unk_id_ : found->second);
      return true;
    }

   private:
    const WordLevel& model_;
  };

  Vocabulary vocabulary_;
  std::optional<int32_t> unk_id_;
};

/// Files of the first versions do not name the type.
std::string type_of(const json& object, const std::string& place) {
  return !object.contains("type") && object.contains("merges") ? "BPE" : text_member(object, "type", place);
}

}  // namespace

Vocabulary read_vocabulary(const json& object, const std::string& place) {
  const json& entries = member(object, "vocab", place);
  if (!entries.is_object()) refuse(place, "vocab must be a JSON object");
  Vocabulary vocabulary;
  vocabulary.reserve(entries.size());
  for (const auto& [token, id] : entries.items()) {
    // the place is written out only for a message
    const bool good = id.is_number_integer() && id >= 0 && id <= kMaxTokenId;
    vocabulary.emplace(token, good ? id.get<int32_t>() : read_id(id, place + ".vocab: " + excerpt(token)));
  }
  return vocabulary;
}

std::unique_ptr<TokenModel> read_token_model(const json& object, const std::string& place, bool takes_bytes) {
  const std::string type = type_of(object, place);
  if (type == "WordLevel") return std::make_unique<WordLevel>(object, place);
  if (type == "BPE") return std::make_unique<Bpe>(object, place, takes_bytes);
  refuse_type(place, type, "BPE, WordLevel");
}

}  // namespace hone::text
