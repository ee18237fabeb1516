// Byte-pair encoding as PyPI `tokenizers` does it: a piece's characters become symbols (bytes and the unknown token for
// those that have none), then the pair with the lowest merge, leftmost first, is merged until no pair has one.
// Time is n log n in the length of a piece.
//
// Reads vocab, merges ("a b" or ["a", "b"]), unk_token, fuse_unk, byte_fallback, ignore_merges,
// continuing_subword_prefix, end_of_word_suffix; dropout only when it is 0. A character without a token, a byte
// fallback and an unk_token is left out.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "models/text/token_model.h"

namespace hone::text {

class Bpe final : public TokenModel {
 public:
  /// Throws std::runtime_error naming the place. With `takes_bytes`, if can_take_bytes(), pieces are bytes.
  Bpe(const nlohmann::json& object, const std::string& place, bool takes_bytes);

  const Vocabulary& vocabulary() const override { return vocabulary_; }
  bool can_take_bytes() const override { return prefix_.empty() && suffix_.empty(); }
  std::unique_ptr<PieceEncoder> start(size_t text_bytes) const override;

 private:
  class Encoder;
  struct Merge {
    int32_t left, right, merged;
  };
  /// From (left, right) to the place of the merge in the list, which is its rank.
  class PairTable {
   public:
    void reserve(size_t pairs);
    void set(int32_t left, int32_t right, uint32_t rank);
    /// kNoRank when the pair has no merge.
    uint32_t find(int32_t left, int32_t right) const;

   private:
    struct Slot {
      uint64_t pair = kFree;
      uint32_t rank = 0;
    };
    static constexpr uint64_t kFree = ~uint64_t{0};
    size_t slot_of(uint64_t pair) const;

    std::vector<Slot> slots_;
    int shift_ = 0;
  };
  static constexpr uint32_t kNoRank = ~uint32_t{0};

  void read_merges(const nlohmann::json& object, const std::string& place);
  Merge read_merge(const nlohmann::json& entry, const std::string& place) const;
  int32_t id_of(std::string_view token) const;  // -1 when there is none

  Vocabulary vocabulary_;
  Vocabulary by_bytes_;  // with ignore_merges and bytes: the tokens by the bytes they stand for
  bool takes_bytes_ = false, ignore_merges_ = false, byte_fallback_ = false, fuse_unk_ = false, has_unk_ = false;
  std::string prefix_, suffix_, unk_token_;
  int32_t unk_id_ = -1;
  std::array<int32_t, 256> byte_ids_;  // with bytes: the token of a byte's character
  std::array<std::string, 256> byte_characters_;
  std::vector<Merge> merges_;
  PairTable ranks_;
};

}  // namespace hone::text
