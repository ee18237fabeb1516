#include "models/text/bpe.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <functional>
#include <stdexcept>

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "models/text/json_fields.h"
#include "models/text/unicode.h"

namespace hone::text {
namespace {

using nlohmann::json;

constexpr size_t kMaxPieceBytes = size_t{1} << 31;  // symbols are counted in 32 bits

uint64_t pair_key(int32_t left, int32_t right) {
  return uint64_t{static_cast<uint32_t>(left)} << 32 | static_cast<uint32_t>(right);
}

std::pair<std::string, std::string> split_merge(const json& entry, const std::string& place) {
  if (entry.is_array() && entry.size() == 2 && entry[0].is_string() && entry[1].is_string()) {
    return {entry[0].get<std::string>(), entry[1].get<std::string>()};
  }
  const std::string line = entry.is_string() ? entry.get<std::string>() : "";
  const size_t blank = line.find(' ');
  if (blank == std::string::npos || line.find(' ', blank + 1) != std::string::npos) {
    refuse(place, "a merge is a string of two tokens with a blank between them or a list of two tokens");
  }
  return {line.substr(0, blank), line.substr(blank + 1)};
}

/// What pieces gave before: a text meets the same words again and again. Of fixed size; a newer piece replaces an older
/// one that falls on its place.
class PieceCache {
 public:
  static constexpr size_t kMaxPieceSize = 27;

  explicit PieceCache(size_t text_bytes) : entries_(std::bit_ceil(std::clamp<size_t>(text_bytes / 8, 16, 1 << 15))) {}

  struct Entry {
    uint32_t begin = 0, count = 0;  // its ids among those of the text
    uint8_t size = 0;
    char piece[kMaxPieceSize] = {};

    bool is(std::string_view text) const { return size == text.size() && std::memcmp(piece, text.data(), size) == 0; }
    void set(std::string_view text, size_t first_id, size_t past_last_id) {
      begin = static_cast<uint32_t>(first_id);
      count = static_cast<uint32_t>(past_last_id - first_id);
      size = static_cast<uint8_t>(text.size());
      std::memcpy(piece, text.data(), text.size());
    }
  };
  /// The place of a piece of at most kMaxPieceSize bytes.
  Entry& at(std::string_view piece) { return entries_[std::hash<std::string_view>()(piece) & (entries_.size() - 1)]; }

 private:
  std::vector<Entry> entries_;
};

}  // namespace

void Bpe::PairTable::reserve(size_t pairs) {
  const size_t size = std::bit_ceil(std::max<size_t>(2 * pairs, 16));
  slots_.assign(size, Slot{});
  shift_ = 64 - std::countr_zero(size);
}

size_t Bpe::PairTable::slot_of(uint64_t pair) const {
  size_t slot = (pair * 0x9e3779b97f4a7c15u) >> shift_;
  while (slots_[slot].pair != pair && slots_[slot].pair != kFree) slot = (slot + 1) & (slots_.size() - 1);
  return slot;
}

void Bpe::PairTable::set(int32_t left, int32_t right, uint32_t rank) {
  const uint64_t pair = pair_key(left, right);
  slots_[slot_of(pair)] = {pair, rank};
}

uint32_t Bpe::PairTable::find(int32_t left, int32_t right) const {
  const Slot& slot = slots_[slot_of(pair_key(left, right))];
  return slot.pair == kFree ? kNoRank : slot.rank;
}

/// The symbols of one piece at a time, and what to merge next.
class Bpe::Encoder final : public PieceEncoder {
 public:
  Encoder(const Bpe& bpe, size_t text_bytes) : bpe_(bpe), cache_(text_bytes) {}

  bool append_ids(std::string_view piece, std::vector<int32_t>& ids) override {
    if (piece.size() > PieceCache::kMaxPieceSize) {
      encode(piece, ids);
      return true;
    }
    PieceCache::Entry& known = cache_.at(piece);
    const size_t begin = ids.size();
    if (known.is(piece)) {
      ids.resize(begin + known.count);
      std::copy_n(ids.begin() + known.begin, known.count, ids.begin() + static_cast<ptrdiff_t>(begin));
    } else {
      encode(piece, ids);
      if (ids.size() <= UINT32_MAX) known.set(piece, begin, ids.size());
    }
    return true;
  }

 private:
  struct Symbol {
    int32_t id, previous, next;  // -1: merged away; none
  };

  void encode(std::string_view piece, std::vector<int32_t>& ids) {
    if (bpe_.ignore_merges_) {
      const Vocabulary& whole = bpe_.takes_bytes_ ? bpe_.by_bytes_ : bpe_.vocabulary_;
      if (const auto found = whole.find(piece); found != whole.end()) return ids.push_back(found->second);
    }
    read_symbols(piece);
    merge_all();
    for (const Symbol& symbol : symbols_) {
      if (symbol.id >= 0) ids.push_back(symbol.id);
    }
  }

  void read_symbols(std::string_view piece) {
    if (piece.size() >= kMaxPieceBytes) {
      throw std::invalid_argument(
          fmt::format("a piece of the text has {} bytes, at most {} can be encoded; cut the text", piece.size(),
                      kMaxPieceBytes - 1));
    }
    symbols_.clear();
    unknown_ = false;
    bpe_.takes_bytes_ ? read_bytes(piece) : read_characters(piece);
    if (unknown_) add(bpe_.unk_id_);
  }
  void read_bytes(std::string_view piece) {
    for (const char c : piece) {
      const auto byte = static_cast<unsigned char>(c);
      if (const int32_t id = bpe_.byte_ids_[byte]; id >= 0) {
        add_known(id);
      } else {
        add_without_token(bpe_.byte_characters_[byte]);
      }
    }
  }
  void read_characters(std::string_view piece) {
    for (size_t at = 0, next = 0; at < piece.size(); at = next) {
      next = at + character_size(piece[at]);
      const std::string_view character = piece.substr(at, next - at);
      const bool plain = (at == 0 || bpe_.prefix_.empty()) && (next < piece.size() || bpe_.suffix_.empty());
      if (plain) {
        add_character(character);
      } else {
        add_character(
            fmt::format("{}{}{}", at == 0 ? "" : bpe_.prefix_, character, next < piece.size() ? "" : bpe_.suffix_));
      }
    }
  }
  void add_character(std::string_view text) {
    if (const int32_t id = bpe_.id_of(text); id >= 0) {
      add_known(id);
    } else {
      add_without_token(text);
    }
  }
  void add(int32_t id) {
    const auto size = static_cast<int32_t>(symbols_.size());
    if (size > 0) symbols_.back().next = size;
    symbols_.push_back({id, size - 1, -1});
  }
  void add_known(int32_t id) {
    if (unknown_) add(bpe_.unk_id_);
    unknown_ = false;
    add(id);
  }
  /// An unknown token is held back until it is known whether it goes on; bytes do not end it (as in `tokenizers`).
  void add_without_token(std::string_view text) {
    if (bpe_.byte_fallback_ && add_bytes(text)) return;
    if (!bpe_.has_unk_) return;
    if (bpe_.unk_id_ < 0) {
      throw std::invalid_argument(fmt::format("{} has no token, and the unk_token {} is not in the vocabulary",
                                              excerpt(text), excerpt(bpe_.unk_token_)));
    }
    if (unknown_ && !bpe_.fuse_unk_) add(bpe_.unk_id_);
    unknown_ = true;
  }
  bool add_bytes(std::string_view text) {
    fallback_.clear();
    for (const char byte : text) {
      fallback_.push_back(bpe_.id_of(fmt::format("<0x{:02X}>", static_cast<unsigned char>(byte))));
      if (fallback_.back() < 0) return false;
    }
    for (const int32_t id : fallback_) add(id);
    return true;
  }

  /// The heap holds (rank << 32 | symbol): the lowest merge first, of equal ones the leftmost.
  void merge_all() {
    for (size_t i = 0; i + 1 < symbols_.size(); ++i) push(static_cast<int32_t>(i));
    while (!heap_.empty()) {
      std::ranges::pop_heap(heap_, std::greater());
      const uint64_t top = heap_.back();
      heap_.pop_back();
      merge(bpe_.merges_[top >> 32], static_cast<int32_t>(top & 0xffffffffu));
    }
  }
  void push(int32_t at) {
    const Symbol& symbol = symbols_[at];
    const uint32_t rank = bpe_.ranks_.find(symbol.id, symbols_[symbol.next].id);
    if (rank == kNoRank) return;
    heap_.push_back(uint64_t{rank} << 32 | static_cast<uint32_t>(at));
    std::ranges::push_heap(heap_, std::greater());
  }
  /// Merges the pair at `at` unless another merge has changed it since it was put into the heap.
  void merge(const Merge& pair, int32_t at) {
    Symbol& left = symbols_[at];
    if (left.id != pair.left || left.next < 0 || symbols_[left.next].id != pair.right) return;
    Symbol& right = symbols_[left.next];
    left.id = pair.merged;
    left.next = right.next;
    right.id = -1;
    if (left.next >= 0) {
      symbols_[left.next].previous = at;
      push(at);
    }
    if (left.previous >= 0) push(left.previous);
  }

  const Bpe& bpe_;
  PieceCache cache_;
  std::vector<Symbol> symbols_;
  std::vector<uint64_t> heap_;
  std::vector<int32_t> fallback_;
  bool unknown_ = false;  // an unknown token is held back
};

Bpe::Bpe(const json& object, const std::string& place, bool takes_bytes)
    : vocabulary_(read_vocabulary(object, place)),
      ignore_merges_(flag_member(object, "ignore_merges", false, place)),
      byte_fallback_(flag_member(object, "byte_fallback", false, place)),
      fuse_unk_(flag_member(object, "fuse_unk", false, place)),
      has_unk_(!optional_member(object, "unk_token", place).is_null()),
      prefix_(optional_text_member(object, "continuing_subword_prefix", place)),
      suffix_(optional_text_member(object, "end_of_word_suffix", place)),
      unk_token_(optional_text_member(object, "unk_token", place)) {
  const json& dropout = optional_member(object, "dropout", place);
  if (!dropout.is_null() && dropout != 0.0) refuse(place, "dropout is not supported; set it to null");
  unk_id_ = has_unk_ ? id_of(unk_token_) : -1;
  read_merges(object, place);
  takes_bytes_ = takes_bytes && can_take_bytes();
  for (int byte = 0; byte < 256; ++byte) {
    byte_characters_[byte] = byte_to_character(static_cast<unsigned char>(byte));
    byte_ids_[byte] = id_of(byte_characters_[byte]);
  }
  if (!takes_bytes_ || !ignore_merges_) return;
  for (const auto& [token, id] : vocabulary_) {
    if (std::string bytes; from_byte_characters(token, bytes)) by_bytes_.emplace(std::move(bytes), id);
  }
}

int32_t Bpe::id_of(std::string_view token) const {
  const auto found = vocabulary_.find(token);
  return found == vocabulary_.end() ? -1 : found->second;
}

void Bpe::read_merges(const json& object, const std::string& place) {
  const json& entries = list_member(object, "merges", place);
  ranks_.reserve(entries.size());
  for (const json& entry : entries) {
    if (entry.is_string() && entry.get_ref<const std::string&>().starts_with("#version")) continue;
    const Merge merge = read_merge(entry, fmt::format("{}.merges[{}]", place, merges_.size()));
    ranks_.set(merge.left, merge.right, static_cast<uint32_t>(merges_.size()));  // of equal pairs the last counts
    merges_.push_back(merge);
  }
}

Bpe::Merge Bpe::read_merge(const json& entry, const std::string& place) const {
  const auto [left, right] = split_merge(entry, place);
  const auto id = [&](const std::string& token) {
    const int32_t found = id_of(token);
    if (found < 0)
      refuse(place, fmt::format("{} is not in the vocabulary; add it or leave the merge out", excerpt(token)));
    return found;
  };
  if (right.size() < prefix_.size()) refuse(place, "its second token is shorter than the continuing_subword_prefix");
  return {id(left), id(right), id(left + right.substr(prefix_.size()))};
}

std::unique_ptr<PieceEncoder> Bpe::start(size_t text_bytes) const {
  return std::make_unique<Encoder>(*this, text_bytes);
}

}  // namespace hone::text
